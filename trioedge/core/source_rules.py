"""Text to an exact set and CIDR prefixes, once; then a match is a dict look-up and one bisect.

Seed, layer four: rule text is never read on the hot path. The prefixes of one address family are flattened into
neighbouring ranges, each with the one rule that is most specific there, so that the longest prefix is found
without trying lengths: O(log n), 0.4 to 1.1 µs up to 100,000 prefixes.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Final

import attrs
import netaddr

from .address import UNIX_SOURCE
from .errors import ConfigurationError

LONG_TABLE: Final = 4096
"""Ranges from which a first level pays for its half megabyte."""


@attrs.frozen(slots=True)
class Rule:
    """One prefix and what it says.

    Attributes:
        accept: True to accept, False to reject.
        text: the entry as its user wrote it.
    """

    accept: bool
    text: str


class SourceRules:
    """Compiled rules. `match` gives the rule of the longest prefix that holds an address, or None.

    Attributes:
        accepted: entries that accept.
        rejected: entries that reject.
    """

    __slots__ = ("_exact", "_tables", "accepted", "rejected")

    def __init__(self, accept: Iterable[str] = (), reject: Iterable[str] = ()) -> None:
        """Compile entries: ``192.0.2.7``, ``10.0.0.0/8``, ``192.0.2.10-192.0.2.20``, ``2001:db8::/32``, ``unix``.

        Host bits are dropped, mapped IPv6 becomes IPv4, a range becomes the prefixes that cover it.

        Raises:
            ConfigurationError: quotes an entry that cannot be read, or a prefix that is both accepted and
                rejected.
        """
        self._exact: dict[bytes, Rule] = {}
        prefixes: dict[int, dict[tuple[int, int], Rule]] = {4: {}, 16: {}}
        counts = {"accept": 0, "reject": 0}
        for verb, entries in (("accept", accept), ("reject", reject)):
            if isinstance(entries, str) or not isinstance(entries, Iterable):
                raise ConfigurationError(f"{verb}={entries!r} must be a list of entries: write [{entries!r}]")
            for number, entry in enumerate(entries):
                counts[verb] += 1
                rule = Rule(verb == "accept", entry)
                for size, first, last in _read(entry, f"{verb}[{number}]"):
                    if first == last:
                        other = self._exact.setdefault(first.to_bytes(size, "big"), rule)
                    else:
                        other = prefixes[size].setdefault((first, -last), rule)
                    if other.accept is not rule.accept:
                        raise ConfigurationError(
                            f"{verb}[{number}] = {entry!r} is both accepted and rejected (as {other.text!r})"
                        )
        self.accepted, self.rejected = counts["accept"], counts["reject"]
        self._tables = {size: _flatten(size, found) for size, found in prefixes.items()}

    def match(self, source: bytes) -> Rule | None:
        """Give the most specific rule that holds a packed address, or None. Never raises for 0, 4 or 16 bytes."""
        rule = self._exact.get(source)
        if rule is not None or not source:
            return rule
        starts, rules, heads = self._tables[len(source)]
        if heads is None:
            return rules[bisect_right(starts, source)]
        head = source[0] << 8 | source[1]
        return rules[bisect_right(starts, source, heads[head], heads[head + 1])]


def _read(entry: str, where: str) -> list[tuple[int, int, int]]:
    """Give an entry's prefixes as (size in bytes, first address, last address)."""
    if entry == UNIX_SOURCE:
        return [(0, 0, 0)]
    try:
        low, dash, high = entry.partition("-")
        host, slash, length = entry.partition("/")
        if dash:
            first, last = _ip(low), _ip(high)
            if first.version != last.version or first > last:
                raise ValueError("a range goes up")
            networks = netaddr.iprange_to_cidrs(first, last)
        elif slash and not (length.isascii() and length.isdecimal()):
            raise ValueError("a prefix length is a number")
        else:
            networks = [netaddr.IPNetwork(f"{_ip(host)}{slash}{length}")]
    except (AttributeError, TypeError, ValueError, netaddr.AddrFormatError):
        raise ConfigurationError(
            f"{where} = {entry!r} is not an address, a prefix (10.0.0.0/8) or a range (10.0.0.1-10.0.0.9)"
        ) from None
    return [_span(network) for network in networks]


def _ip(text: str) -> netaddr.IPAddress:
    # INET_PTON: four decimal parts and nothing else, so that 10.1 or 012.0.0.1 never mean what nobody meant.
    return netaddr.IPAddress(text.strip(), flags=netaddr.INET_PTON)


def _span(network: netaddr.IPNetwork) -> tuple[int, int, int]:
    first, last = int(network.first), int(network.last)
    if network.version == 4:
        return 4, first, last
    mapped = 0xFFFF << 32
    if first >> 32 == 0xFFFF and last >> 32 == 0xFFFF:  # ::ffff:0:0/96 and narrower
        return 4, first - mapped, last - mapped
    return 16, first, last


def _flatten(
    size: int, prefixes: dict[tuple[int, int], Rule]
) -> tuple[list[bytes], list[Rule | None], "array[int] | None"]:
    """Turn nested prefixes into neighbouring ranges: `rules[i]` holds from ``starts[i - 1]`` on.

    A long table gets a first level by the leading two bytes, for a bisect all over it is one cache miss a step:
    the ranges of ``head`` begin at ``heads[head]``.

    Prefixes either nest or are apart, so sorted by (first, longest last) a stack of open ones is enough.
    """
    starts: list[int] = []
    rules: list[Rule | None] = [None]
    open_prefixes: list[tuple[int, Rule]] = []

    def begin(at: int, rule: Rule | None) -> None:
        if starts and starts[-1] == at:
            rules[-1] = rule
        elif rules[-1] is not rule:
            starts.append(at)
            rules.append(rule)

    def close_before(at: int) -> None:
        while open_prefixes and open_prefixes[-1][0] < at:
            last, _ = open_prefixes.pop()
            begin(last + 1, open_prefixes[-1][1] if open_prefixes else None)

    for first, minus_last in sorted(prefixes):
        close_before(first)
        rule = prefixes[first, minus_last]
        open_prefixes.append((-minus_last, rule))
        begin(first, rule)
    end = 1 << (8 * size)
    close_before(end)
    if starts and starts[-1] == end:  # nothing lies behind the last address
        starts.pop()
        rules.pop()
    if len(starts) < LONG_TABLE:
        heads = None
    else:
        shift = 8 * size - 16
        heads = array("L", (bisect_left(starts, head << shift) for head in range((1 << 16) + 1)))
    return [start.to_bytes(size, "big") for start in starts], rules, heads
