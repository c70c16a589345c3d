"""One decision of CrowdSec, read: its duration, its network and its ban."""

import re
import socket
from collections.abc import Collection
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from .bans import Ban, Network

MAX_WORDS: Final = 100
"""Letters of a scenario that are shown; the reason of a ban may be any text."""

_SECONDS: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_DURATION: Final = re.compile(r"(-?)(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+(?:\.[0-9]+)?)(s|ms|us|µs|μs|ns))?")
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
    if found is None or not text.endswith(("s", "m", "h")):
        raise ValueError("no duration")
    sign, hours, minutes, number, unit = found.groups()
    seconds = int(hours or 0) * 3600 + int(minutes or 0) * 60 + (float(number) * _SECONDS[unit] if number else 0.0)
    return -seconds if sign else seconds


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
    if not isinstance(decision, dict):
        return Ignored.SHAPE
    kind, scope, value = decision.get("type"), decision.get("scope"), decision.get("value")
    duration, scenario = decision.get("duration"), decision.get("scenario")
    if not (isinstance(kind, str) and isinstance(scope, str) and isinstance(value, str) and isinstance(duration, str)):
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
    return network, until, _words(kind, scenario[:MAX_WORDS] if isinstance(scenario, str) else "")


@lru_cache(1024)  # most bans have one of some hundred scenarios, and share its text
def _words(kind: str, scenario: str) -> str:
    """Write the detail of refusals."""
    if not scenario:
        return f"crowdsec: {kind}"
    return f"crowdsec: {kind} by {scenario if scenario.isprintable() else ascii(scenario)}"
