"""Keys that mean the same in every process and after an exec: bytes of a key, and a keyed digest of them.

``hash()`` of a text differs between two runs of Python, so it is of no use here.
"""

import struct
from collections.abc import Callable, Hashable
from enum import Enum
from hashlib import blake2b
from typing import Final, Protocol, TypeAlias, TypeGuard

from ...errors import ConfigurationError, quote

Digest: TypeAlias = Callable[[Hashable], int]
"""A function that gives a key's number of 64 bits, whose highest bit is set: 0 and 1 are no key's."""

DIGEST_BYTES: Final = 8

_HIGHEST: Final = 1 << 63


class NamedKey(Protocol):
    """An object that is the same key as its name, as a service is."""

    @property
    def key_name(self) -> str:
        """The name, which no other object of its kind has at the same time."""


def is_named(key: object) -> TypeGuard[NamedKey]:
    """Tell whether the class of an object has the name of a :class:`NamedKey`."""
    return hasattr(type(key), "key_name")  # isinstance of a protocol takes 10 µs


def key_bytes(key: Hashable) -> bytes:
    """Give bytes that are the same for equal keys, in every process, and differ for keys that are not equal.

    As in a dict, ``1``, ``1.0`` and ``True`` are one key.

    Args:
        key: text, bytes, a number, None, a member of an enum, a :class:`NamedKey`, or a tuple of these.

    Raises:
        ConfigurationError: `key` is something else.
    """
    if isinstance(key, str):
        return b"s" + key.encode("utf-8", "surrogatepass")
    if isinstance(key, bytes):
        return b"b" + key
    if isinstance(key, int):
        return b"i%d" % key
    if isinstance(key, float):
        return b"i%d" % int(key) if key.is_integer() else b"f" + struct.pack("<d", key)
    if key is None:
        return b"n"
    if isinstance(key, tuple):
        parts = [key_bytes(each) for each in key]
        return b"t" + b"".join(b"%d:%b" % (len(part), part) for part in parts)
    if isinstance(key, Enum):
        return b"e" + f"{type(key).__module__}.{type(key).__qualname__}.{key.name}".encode()
    if is_named(key):
        return key_bytes(key.key_name)
    raise ConfigurationError(
        f"the key {quote(key)} is a {type(key).__name__}, which means nothing to other workers: "
        "use text, bytes, numbers or tuples of these, or context.gate(…, per='source') for a key of a source"
    )


def digest_of(owner: Hashable, salt: bytes) -> Digest:
    """Give the function that makes numbers of an owner's keys. About 1 µs a key.

    Args:
        owner: such as the name of an edge; two owners have different numbers for one key.
        salt: at most 64 secret bytes, so that no client can choose keys that meet in one bucket.
    """
    base = blake2b(key_bytes((owner,)), digest_size=DIGEST_BYTES, key=salt)

    def digest(key: Hashable) -> int:
        one = base.copy()
        one.update(key_bytes(key))
        return int.from_bytes(one.digest(), "little") | _HIGHEST

    return digest
