"""What asking for a name comes to, and how the answers for IPv4 and IPv6 make one."""

from collections.abc import Sequence
from typing import TypeAlias

import attrs


@attrs.frozen(slots=True)
class Found:
    """A name has addresses.

    Attributes:
        hosts: IP addresses as text, at least one, the first choice first.
        seconds: the shortest time to live on the way to them, at least 0.
    """

    hosts: tuple[str, ...]
    seconds: float


@attrs.frozen(slots=True)
class Absent:
    """Who knows a name says that it has no address.

    Attributes:
        detail: in their words.
        seconds: how long that holds, by RFC 2308; at least 0.
    """

    detail: str
    seconds: float


@attrs.frozen(slots=True)
class Failed:
    """Nobody could say.

    Attributes:
        detail: why not.
    """

    detail: str


Lookup: TypeAlias = Found | Absent | Failed


def join(lookups: Sequence[Lookup]) -> Lookup:
    """Make one answer of at least one, the preferred family's first.

    Addresses of either are found, for the shorter of their times; a name is absent only if all say so.
    """
    found = [each for each in lookups if isinstance(each, Found)]
    if found:
        return Found(tuple(host for each in found for host in each.hosts), min(each.seconds for each in found))
    absent = [each for each in lookups if isinstance(each, Absent)]
    if len(absent) == len(lookups):
        return Absent(absent[0].detail, min(each.seconds for each in absent))
    return next(each for each in lookups if isinstance(each, Failed))


def take_turns(hosts: Sequence[str]) -> list[str]:
    """Let address families take turns, the first choice first (RFC 8305 section 4)."""
    first = [host for host in hosts if (":" in host) == (":" in hosts[0])]
    other = [host for host in hosts if (":" in host) != (":" in hosts[0])]
    turns: list[str] = []
    while first or other:
        turns += first[:1] + other[:1]
        del first[:1], other[:1]
    return turns
