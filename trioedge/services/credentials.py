"""How a client proves that it is a service's: what a snapshot says, and whether that can be."""

import base64
from typing import Final

import attrs

MAX_COST_LOG2: Final = 17
"""Of hashes made elsewhere: 128 MiB and some half a second."""

KEY_BYTES: Final = 32
SALT_BYTES: Final = 16


@attrs.frozen(slots=True)
class Credentials:
    """How a client proves that it is this service's.

    Attributes:
        password_hash: as `trioedge.hash_password` gives it; None lets nobody in by password.
    """

    password_hash: str | None = attrs.field(default=None, repr=False)


def check_hash(text: object) -> str:
    """Say what is wrong with a `password_hash`, or nothing. The hash itself is never quoted."""
    if isinstance(text, str):
        try:
            read_hash(text)
        except ValueError:
            pass
        else:
            return ""
    return "is not what `trioedge.hash_password` gives"


def read_hash(text: str) -> tuple[int, bytes, bytes]:
    """Give cost, salt and key of a hash.

    Raises:
        ValueError: it is not one.
    """
    scheme, cost, salt, key = text.split(":")
    if scheme != "scrypt" or not cost.isdecimal() or not 1 <= int(cost) <= MAX_COST_LOG2:
        raise ValueError
    parts = base64.b64decode(salt, validate=True), base64.b64decode(key, validate=True)
    if len(parts[0]) < SALT_BYTES or len(parts[1]) != KEY_BYTES:
        raise ValueError
    return int(cost), *parts
