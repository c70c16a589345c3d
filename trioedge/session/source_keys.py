"""The functions that give a session's key in a limit by source or by peer."""

from collections.abc import Callable
from operator import attrgetter
from typing import TypeAlias

from ..addresses.source_prefix import cut
from .session import Session

KeyOf: TypeAlias = Callable[[Session], bytes]


def key_of(per: str, bits: int | None) -> KeyOf | None:
    """Return the function that gives the key of a session.

    Args:
        per: ``source`` or ``peer``, also with a length behind it; anything else is no key of an address.
        bits: the IPv6 prefix length of a finer key; None for the edge's keys, which a session has already.

    Returns:
        The function, some 40 ns with the edge's keys; None if `per` is no key of an address.
    """
    if per.startswith("source"):
        return (
            attrgetter("source_key")
            if bits is None
            else lambda session: _finer(session.source_bytes, session.source_key, bits)
        )
    if per.startswith("peer"):
        return (
            attrgetter("peer_key")
            if bits is None
            else lambda session: _finer(session.peer_bytes, session.peer_key, bits)
        )
    return None


def _finer(packed: bytes, key: bytes, bits: int) -> bytes:
    return cut(packed, bits) if len(packed) == 16 else key
