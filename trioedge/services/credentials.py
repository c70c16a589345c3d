"""The credentials of a service, and the check of a password hash that a control plane made."""

import base64
from typing import Final

import attrs

MAX_COST_LOG2: Final = 17
"""The largest cost of a hash that is accepted: 128 MiB and about half a second."""

KEY_BYTES: Final = 32
SALT_BYTES: Final = 16


@attrs.frozen(slots=True)
class Credentials:
    """How a client proves that it belongs to a service.

    Attributes:
        password_hash: as `trioedge.hash_password` returns it; None if no password is right.
    """

    password_hash: str | None = attrs.field(default=None, repr=False)


def check_hash(text: object) -> str:
    """Return what is wrong with a `password_hash`, or "". The hash itself is never quoted."""
    if isinstance(text, str):
        try:
            read_hash(text)
        except ValueError:
            pass
        else:
            return ""
    return "is not what `trioedge.hash_password` gives"


def read_hash(text: str) -> tuple[int, bytes, bytes]:
    """Return the cost (log2 of scrypt's n), the salt and the key of a hash.

    Raises:
        ValueError: the text is no hash, or one of a larger cost.
    """
    scheme, cost, salt, key = text.split(":")
    if scheme != "scrypt" or not cost.isdecimal() or not 1 <= int(cost) <= MAX_COST_LOG2:
        raise ValueError
    parts = base64.b64decode(salt, validate=True), base64.b64decode(key, validate=True)
    if len(parts[0]) < SALT_BYTES or len(parts[1]) != KEY_BYTES:
        raise ValueError
    return int(cost), *parts
