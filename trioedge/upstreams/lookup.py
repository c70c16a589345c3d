"""The outcome of a DNS query, and how the outcomes for IPv4 and IPv6 are joined."""

from collections.abc import Sequence
from typing import TypeAlias

import attrs


@attrs.frozen(slots=True)
class Found:
    """The name has addresses.

    Attributes:
        hosts: IP addresses as text, at least one, the preferred one first.
        seconds: their time to live, the shortest of the records involved; at least 0.
    """

    hosts: tuple[str, ...]
    seconds: float


@attrs.frozen(slots=True)
class Absent:
    """The name has no address, according to the servers that are responsible for it.

    Attributes:
        detail: the reason, for people.
        seconds: the time to live of this answer (RFC 2308); at least 0.
    """

    detail: str
    seconds: float


@attrs.frozen(slots=True)
class Failed:
    """The query failed, so it is not known whether the name has an address.

    Attributes:
        detail: the reason, for people.
        answered: whether every server that was queried has answered, with an error. Then the name may still be found in
            another search domain.
    """

    detail: str
    answered: bool = False


Lookup: TypeAlias = Found | Absent | Failed


def join(lookups: Sequence[Lookup]) -> Lookup:
    """Join the outcomes of the queries for several address families.

    Args:
        lookups: one for each family, at least one, the preferred family first.

    Returns:
        All addresses, with the shortest of their times to live; if there are none, :class:`Absent` if every outcome is
        so, else the first failure.
    """
    found = [each for each in lookups if isinstance(each, Found)]
    if found:
        return Found(tuple(host for each in found for host in each.hosts), min(each.seconds for each in found))
    absent = [each for each in lookups if isinstance(each, Absent)]
    if len(absent) == len(lookups):
        return Absent(absent[0].detail, min(each.seconds for each in absent))
    return next(each for each in lookups if isinstance(each, Failed))


def join_searched(lookups: Sequence[Lookup]) -> Lookup:
    """Join the outcomes of the search domains, of which none has the name.

    Args:
        lookups: one for each domain, at least one, each :class:`Absent` or :class:`Failed`.

    Returns:
        The first failure, because the name may exist there; else :class:`Absent` for the shortest of the times.
    """
    for each in lookups:
        if isinstance(each, Failed):
            return each
    absent = [each for each in lookups if isinstance(each, Absent)]
    return Absent(", ".join(each.detail for each in absent), min(each.seconds for each in absent))


def take_turns(hosts: Sequence[str]) -> list[str]:
    """Interleave the address families, beginning with the family of the first address (RFC 8305 section 4)."""
    first = [host for host in hosts if (":" in host) == (":" in hosts[0])]
    other = [host for host in hosts if (":" in host) != (":" in hosts[0])]
    turns: list[str] = []
    while first or other:
        turns += first[:1] + other[:1]
        del first[:1], other[:1]
    return turns
