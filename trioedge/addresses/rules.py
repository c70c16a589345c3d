"""Source rules: lists of addresses that are accepted and rejected, compiled once and matched in a microsecond.

Entries are never parsed while a session waits. The most specific prefix wins: a single address is found by a dict
look-up, a prefix by one bisect (:mod:`.ranges`). A match is O(log n): 0.2 to 0.4 µs up to 4,096 prefixes; up to
100,000 prefixes 0.4 to 0.8 µs for IPv4 and 0.5 to 1.4 µs for IPv6.

100,000 prefixes take 0.4 s to compile, so :func:`compile_rules` does it in short steps: no step sorts, moves or frees
all of them.
"""

from array import array
from bisect import bisect_right
from collections.abc import Generator, Iterable
from itertools import chain
from typing import Final, NamedTuple

from ..errors import MAX_FAULTS, RulesError, quote
from .prefixes import cover, read_span
from .ranges import NUMBER_BITS, LongTable, ShortTable, flatten

LONG_TABLE: Final = 4096
"""Prefixes of one address family from which they are kept in a :class:`LongTable`."""

_ENTRIES_PER_STEP: Final = 8
"""Parsed between two yields, in 20 to 60 µs."""

_GOOD: Final = -1
_UNREADABLE: Final = -2
"""States of an entry. Any other state is the number of an accepted entry, and this one rejects the same."""

_new = tuple.__new__  # a third of the price of Rule(...)


class Rule(NamedTuple):
    """An entry, as a match returns it.

    Attributes:
        accept: True to accept, False to reject.
        text: the entry as the user wrote it.
    """

    accept: bool
    text: str


class SourceRules:
    """The addresses that a service accepts and rejects, compiled: ``rules.match(session.source_bytes)``.

    Attributes:
        accepted: number of entries that accept.
        rejected: number of entries that reject.
    """

    # Invariant: _tables has, by the size of an address, either a short table (its starts, its rules and None) or a
    # long one (two empty lists and the table). _exact has, by packed address, the single addresses of the families
    # whose table is short, and `unix` under b""; a long table has its single addresses itself.

    __slots__ = ("__weakref__", "_exact", "_tables", "accepted", "rejected")

    def __init__(self, accept: Iterable[str] = (), reject: Iterable[str] = ()) -> None:
        """Compile entries: ``192.0.2.7``, ``10.0.0.0/8``, ``192.0.2.10-192.0.2.20``, ``2001:db8::/32``, ``unix``.

        Host bits are dropped, mapped IPv6 becomes IPv4, a range becomes the prefixes that cover it.

        Raises:
            RulesError: quotes the entries that cannot be parsed, or are both accepted and rejected.
        """
        for _ in self._compile(accept, reject):
            pass

    def match(self, source: bytes) -> Rule | None:
        """Return the rule of the longest prefix that contains an address, or None. O(log n).

        Args:
            source: a packed address of 4 or 16 bytes, or none for a client on a local socket.

        Returns:
            A tuple: `accept`, which is True to accept and False to reject, and `text`, the entry as the user wrote it.
        """
        rule = self._exact.get(source)
        if rule is not None or not source:
            return rule
        starts, rules, long = self._tables[len(source)]
        if long is None:
            return rules[bisect_right(starts, source)]
        return long.find(source)

    def _compile(self, accept: Iterable[str], reject: Iterable[str]) -> Generator[None, None, None]:
        for verb, listed in (("accept", accept), ("reject", reject)):
            if isinstance(listed, str) or not isinstance(listed, Iterable):
                raise RulesError([f"{verb}={quote(listed)} must be a list of entries: write [{quote(listed)}]"])
        entries = _Entries(tuple(accept), tuple(reject))
        self.accepted, self.rejected = len(entries.accept), len(entries.reject)
        self._exact: dict[bytes, Rule] = {}
        self._tables: dict[int, tuple[list[bytes], list[Rule | None], LongTable[Rule] | None]] = {}

        def add_exact(source: bytes, number: int) -> None:
            self._exact[source] = entries.rule(number)

        keys = yield from entries.read()
        for size, found in keys.items():
            if size and len(found) >= LONG_TABLE:
                long = LongTable(size, entries.rule)
                yield from flatten(size, found, long.append, repeated=entries.compare)
                long.close()
                self._tables[size] = [], [], long
            else:
                short = ShortTable(size, entries.rule)
                yield from flatten(size, found, short.append, single=add_exact, repeated=entries.compare)
                self._tables[size] = short.starts, short.values, None
        yield from entries.check()


def compile_rules(accept: Iterable[str], reject: Iterable[str]) -> Generator[None, None, SourceRules]:
    """Compile as :class:`SourceRules` does, in steps of about 50 µs, however many entries there are.

    The first entry of a process that netaddr parses makes one longer step, its import: see :mod:`.prefixes`.

    Args:
        accept: the entries; a tuple is kept as it is, any other iterable is copied in the first step.
        reject: the same.

    Returns:
        The rules, when the generator ends.

    Raises:
        RulesError: lists the first faulty entries and counts the others, after all entries were checked.
    """
    rules = SourceRules()
    yield from rules._compile(accept, reject)
    return rules


class _Entries:
    """The entries that the user wrote, by number: accepted ones first, then rejected ones."""

    # Invariant: _state has one element for each entry, and _faulty is the number of those that are not _GOOD.

    __slots__ = ("_faulty", "_state", "accept", "reject")

    def __init__(self, accept: tuple[str, ...], reject: tuple[str, ...]) -> None:
        self.accept = accept
        self.reject = reject
        self._state = array("i", [_GOOD]) * (len(accept) + len(reject))
        self._faulty = 0

    def rule(self, number: int) -> Rule:
        rejected = number - len(self.accept)
        return _new(Rule, (True, self.accept[number]) if rejected < 0 else (False, self.reject[rejected]))

    def read(self) -> Generator[None, None, dict[int, list[int]]]:
        """Parse all entries; return the keys of their prefixes (see :func:`flatten`) by the size of an address."""
        keys: dict[int, list[int]] = {0: [], 4: [], 16: []}
        done = 0
        for number, entry in enumerate(chain(self.accept, self.reject)):
            try:
                first, last, size = read_span(entry)
            except ValueError:
                self._note(number, _UNREADABLE)
                yield
                continue
            for prefix, prefix_size in cover(first, last, size):
                keys[prefix_size].append(prefix << NUMBER_BITS | number)
                done += 1
                if not done % _ENTRIES_PER_STEP:
                    yield
        return keys

    def compare(self, number: int, later: int) -> None:
        """Note a fault if two entries that have a prefix in common disagree."""
        if number < len(self.accept) <= later:
            self._note(later, number)

    def check(self) -> Generator[None, None, None]:
        """Raise RulesError if a fault was noted, with the faults in the order of the entries."""
        if not self._faulty:
            return
        faults: list[str] = []
        for number, state in enumerate(self._state):
            if state != _GOOD:
                faults.append(self._fault(number, state))
                if len(faults) == MAX_FAULTS:
                    break
            if not number % _ENTRIES_PER_STEP:
                yield
        raise RulesError(faults, self._faulty - len(faults))

    def _note(self, number: int, state: int) -> None:
        """Note that an entry is faulty, as a number, because texts are made for the first 100 faults only."""
        if self._state[number] == _GOOD:
            self._state[number] = state
            self._faulty += 1

    def _fault(self, number: int, state: int) -> str:
        accept, text = self.rule(number)
        where = f"accept[{number}]" if accept else f"reject[{number - len(self.accept)}]"
        if state == _UNREADABLE:
            return f"{where} = {quote(text)} is not an address, a prefix (10.0.0.0/8) or a range (10.0.0.1-10.0.0.9)"
        return f"{where} = {quote(text)} is both accepted and rejected (as {quote(self.accept[state])})"
