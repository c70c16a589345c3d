"""One decision of CrowdSec, read: its duration, its network and its ban."""

import re
import socket
import sys
from collections.abc import Collection
from enum import StrEnum
from typing import Any, Final

from .bans import Ban, Network

MAX_WORDS: Final = 100
"""Letters of a scenario that are shown; the reason of a ban may be any text."""

_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|m|s|us|µs|μs|ns)")
_DURATION: Final = re.compile(rf"([+-]?)((?:{_PART.pattern})+)")
_MAX_LETTERS: Final = 100

_MAPPED: Final = bytes(10) + b"\xff\xff"
_SCOPES: Final = frozenset({"ip", "range"})


class Ignored(StrEnum):
    """Why a decision is left out."""

    SCOPE = "scope"
    """It is about countries, networks of a provider, users: not about addresses."""
    TYPE = "type"
    """Its type is none of those that are refused."""
    VALUE = "value"
    """Its value is no address and no prefix."""
    SHAPE = "shape"
    """It is no decision: a field is missing, or of another type."""
    NUMBER = "number"
    """As many bans are in force as the stage keeps."""


def read_duration(text: str) -> float:
    """Read a duration as Go writes it, in seconds: ``3h59m57.9s``, ``-10.42614ms``, ``0s``.

    Raises:
        ValueError: it is none.
    """
    found = _DURATION.fullmatch(text) if len(text) <= _MAX_LETTERS else None
    if found is None:
        raise ValueError("no duration")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(found[2]))
    return -seconds if found[1] == "-" else seconds


def read_network(text: str) -> Network:
    """Read an address or a prefix: ``192.0.2.7``, ``198.51.100.0/24``, ``2001:db8::/32``.

    Host bits are dropped. Mapped IPv6 (``::ffff:192.0.2.7``) is IPv4, because a session's source is written so.

    Raises:
        ValueError: it is none.
    """
    host, slash, bits = text.partition("/")
    try:
        packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except (OSError, ValueError):  # a zero, and half a surrogate, are refused with other errors
        raise ValueError("no address") from None
    length = 8 * len(packed)
    if slash:
        if not (bits.isascii() and bits.isdecimal() and len(bits) < 4 and int(bits) <= length):
            raise ValueError("no prefix length")
        length = int(bits)
    if len(packed) == 16 and length >= 96 and packed.startswith(_MAPPED):
        packed, length = packed[12:], length - 96
    host_bits = 8 * len(packed) - length
    return (len(packed), host_bits, int.from_bytes(packed) >> host_bits) if host_bits else packed


def read_id(decision: Any) -> int | None:
    """Give the id of a decision; None if it has none."""
    found = decision.get("id") if isinstance(decision, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def read_ban(decision: Any, types: Collection[str], now: float) -> Ban | Ignored:
    """Read a decision of a stream as a ban. Takes some 3 µs.

    Args:
        decision: out of JSON, whatever it is.
        types: those that are refused, in lower case.
        now: seconds of the edge's clock, from which its duration counts.
    """
    match decision:
        case {"type": str(kind), "scope": str(scope), "value": str(value), "duration": str(duration)}:
            scenario = decision.get("scenario")
        case _:
            return Ignored.SHAPE
    if scope.lower() not in _SCOPES:
        return Ignored.SCOPE
    kind = kind.lower()
    if kind not in types:
        return Ignored.TYPE
    try:
        network = read_network(value)
    except ValueError:
        return Ignored.VALUE
    try:
        until = now + read_duration(duration)
    except ValueError:
        return Ignored.SHAPE
    words = f"crowdsec: {kind}"
    if isinstance(scenario, str) and scenario:
        shown = scenario[:MAX_WORDS]
        words += f" by {shown if shown.isprintable() else ascii(shown)}"
    return network, until, sys.intern(words)
