"""Text to an exact set and CIDR prefixes, once; then a match is a dict look-up and one bisect.

Seed, layer four: rule text is never read on the hot path. The prefixes of one address family are flattened into
neighbouring ranges, each with the one rule that is most specific there, so that the longest prefix is found
without trying lengths: O(log n), 0.4 to 1.1 µs up to 100,000 prefixes; from a long table, a rule costs half as
much again to name.

100,000 prefixes take 0.4 s to compile, so it can be done in steps (:func:`compile_rules`), none of which touches
them all: nothing is sorted, moved or freed in one go.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator
from heapq import merge
from itertools import chain
from typing import Final, NamedTuple

from ..errors import MAX_FAULTS, RulesError
from .prefixes import cover, read_span

LONG_TABLE: Final = 4096
"""Prefixes of one family from which they are kept as numbers, behind a first level of a quarter of a megabyte."""

ENTRIES_PER_STEP: Final = 8
KEYS_PER_STEP: Final = 16
KEYS_PER_RUN: Final = 512
"""Read, flattened and sorted between two yields; each takes 20 to 60 µs."""

NOBODY: Final = -1
"""The number of no entry: nothing holds this range."""

_GOOD: Final = -1
_UNREADABLE: Final = -2
"""States of an entry; any other is the number of the entry that accepts what this one rejects."""

_NUMBER_BITS: Final = 32
_new = tuple.__new__  # a third of the price of Rule(...)


class Rule(NamedTuple):
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

    __slots__ = ("__weakref__", "_exact", "_tables", "accepted", "rejected")

    def __init__(self, accept: Iterable[str] = (), reject: Iterable[str] = ()) -> None:
        """Compile entries: ``192.0.2.7``, ``10.0.0.0/8``, ``192.0.2.10-192.0.2.20``, ``2001:db8::/32``, ``unix``.

        Host bits are dropped, mapped IPv6 becomes IPv4, a range becomes the prefixes that cover it.

        Raises:
            RulesError: quotes the entries that cannot be read, or are both accepted and rejected.
        """
        for _ in self._compile(accept, reject):
            pass

    def match(self, source: bytes) -> Rule | None:
        """Give the most specific rule that holds a packed address, or None. Never raises for 0, 4 or 16 bytes."""
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
                raise RulesError([f"{verb}={listed!r} must be a list of entries: write [{listed!r}]"])
        entries = _Entries(tuple(accept), tuple(reject))
        self.accepted, self.rejected = len(entries.accept), len(entries.reject)
        self._exact: dict[bytes, Rule] = {}
        self._tables: dict[int, tuple[list[bytes], list[Rule | None], _LongTable | None]] = {}
        keys = yield from entries.read()
        for size, found in keys.items():
            if size and len(found) >= LONG_TABLE:
                long = _LongTable(size, entries)
                yield from _flatten(size, found, entries, long.append)
                long.close()
                self._tables[size] = [], [], long
            else:
                short = _ShortTable(size, entries)
                yield from _flatten(size, found, entries, short.append, self._exact)
                self._tables[size] = short.starts, short.rules, None
        yield from entries.check()


def compile_rules(accept: Iterable[str], reject: Iterable[str]) -> Generator[None, None, SourceRules]:
    """Compile as :class:`SourceRules` does, in steps of about 50 µs, however many entries there are.

    Args:
        accept: the entries; a tuple is kept as it is, anything else is copied in the first step.
        reject: the same.

    Returns:
        The rules, when the generator ends.

    Raises:
        RulesError: lists the first faulty entries and counts the others, once all of them have been looked at.
    """
    rules = SourceRules()
    yield from rules._compile(accept, reject)
    return rules


class _Entries:
    """What the user wrote, by number: accepted entries first, then rejected ones."""

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
        """Give the prefixes of all entries, by the size of their addresses, as keys.

        A key is a prefix's first address, its length and its entry's number, from high bits to low. So whatever
        holds others sorts before them, and of equal prefixes the one that was written first.
        """
        keys: dict[int, list[int]] = {0: [], 4: [], 16: []}
        done = 0
        for number, entry in enumerate(chain(self.accept, self.reject)):
            try:
                first, last, size = read_span(entry)
            except (AttributeError, LookupError, TypeError, ValueError):
                self._note(number, _UNREADABLE)
                yield
                continue
            for prefix, prefix_size in cover(first, last, size):
                keys[prefix_size].append(prefix << _NUMBER_BITS | number)
                done += 1
                if not done % ENTRIES_PER_STEP:
                    yield
        return keys

    def compare(self, number: int, later: int) -> None:
        """Look at two entries with a prefix in common."""
        if number < len(self.accept) <= later:
            self._note(later, number)

    def check(self) -> Generator[None, None, None]:
        """Raise what was noted, if anything was, in the order of the entries."""
        if not self._faulty:
            return
        faults: list[str] = []
        for number, state in enumerate(self._state):
            if state != _GOOD:
                faults.append(self._fault(number, state))
                if len(faults) == MAX_FAULTS:
                    break
            if not number % KEYS_PER_STEP:
                yield
        raise RulesError(faults, self._faulty - len(faults))

    def _note(self, number: int, state: int) -> None:
        """Note that an entry is faulty, by a number: texts are for those that are told, and there may be many."""
        if self._state[number] == _GOOD:
            self._state[number] = state
            self._faulty += 1

    def _fault(self, number: int, state: int) -> str:
        accept, text = self.rule(number)
        where = f"accept[{number}]" if accept else f"reject[{number - len(self.accept)}]"
        if state == _UNREADABLE:
            return f"{where} = {text!r} is not an address, a prefix (10.0.0.0/8) or a range (10.0.0.1-10.0.0.9)"
        return f"{where} = {text!r} is both accepted and rejected (as {self.accept[state]!r})"


def _flatten(
    size: int,
    keys: list[int],
    entries: _Entries,
    append: Callable[[int, int], None],
    exact: dict[bytes, Rule] | None = None,
) -> Generator[None, None, None]:
    """Turn nested prefixes into neighbouring ranges: ``append(start, number)`` each, upwards. Takes the keys away.

    Prefixes either nest or are apart, so sorted by (first address, length) a stack of open ones is enough. Single
    addresses go to `exact`, if there is one.
    """
    bits = 8 * size
    start, number, number_before = 0, NOBODY, NOBODY
    open_prefixes: list[tuple[int, int]] = []

    def begin(at: int, new: int) -> None:
        nonlocal start, number, number_before
        if at > start and number != number_before:
            append(start, number)
            number_before = number
        start, number = at, new

    def close_before(at: int) -> None:
        while open_prefixes and open_prefixes[-1][0] < at:
            last, _ = open_prefixes.pop()
            begin(last + 1, open_prefixes[-1][1] if open_prefixes else NOBODY)

    latest, writer = -1, NOBODY
    ascending = yield from _sort(keys)
    for step, key in enumerate(ascending):
        if not step % KEYS_PER_STEP:
            yield
        prefix, entry = key >> _NUMBER_BITS, key & (1 << _NUMBER_BITS) - 1
        if prefix == latest:
            entries.compare(writer, entry)
            continue
        latest, writer = prefix, entry
        first, length = prefix >> 8, prefix & 0xFF
        if exact is not None and length == bits:
            exact[first.to_bytes(size, "big")] = entries.rule(entry)
            continue
        close_before(first)
        open_prefixes.append((first | (1 << bits - length) - 1, entry))
        begin(first, entry)
    close_before(1 << bits)
    begin(1 << bits, NOBODY)


def _sort(keys: list[int]) -> Generator[None, None, Iterator[int]]:
    """Give the keys in ascending order: runs are sorted now, and merged as they are asked for.

    Keys leave the list for the runs, and the runs when they are given, so that they are freed one by one.
    """
    runs = []
    while keys:
        run = keys[-KEYS_PER_RUN:]
        del keys[-KEYS_PER_RUN:]
        run.sort(reverse=True)
        runs.append(_drain(run))
        yield
    return merge(*runs)


def _drain(run: list[int]) -> Iterator[int]:
    while run:
        yield run.pop()


class _ShortTable:
    """Ranges as objects: ``rules[i]`` holds from ``starts[i - 1]`` on."""

    __slots__ = ("_entries", "_size", "rules", "starts")

    def __init__(self, size: int, entries: _Entries) -> None:
        self._size = size
        self._entries = entries
        self.starts: list[bytes] = []
        self.rules: list[Rule | None] = [None]

    def append(self, start: int, number: int) -> None:
        self.starts.append(start.to_bytes(self._size, "big"))
        self.rules.append(None if number == NOBODY else self._entries.rule(number))


class _LongTable:
    """Ranges as numbers: entry ``numbers[i]`` holds from start ``i - 1`` on.

    100,000 prefixes as objects keep the garbage collector busy for 130 ms, and take 25 ms to free when the next
    snapshot replaces them; arrays take neither, and a tenth of the memory.

    A bisect all over a long table is one cache miss a step, so there is a first level by the leading two bytes:
    the ranges of ``head`` begin at ``heads[head]``. `tails` has what is left of a start of 4 bytes; of 16 bytes it
    has the first 8, and `lows` the last 8.
    """

    __slots__ = ("_entries", "_heads", "_lows", "_numbers", "_size", "_tails")

    def __init__(self, size: int, entries: _Entries) -> None:
        self._size = size
        self._entries = entries
        self._heads = array("I")
        self._tails = array("H" if size == 4 else "Q")
        self._lows = array("Q")
        self._numbers = array("i", [NOBODY])

    def append(self, start: int, number: int) -> None:
        self._fill_heads(start >> 8 * self._size - 16)
        if self._size == 4:
            self._tails.append(start & 0xFFFF)
        else:
            self._tails.append(start >> 64)
            self._lows.append(start & 0xFFFF_FFFF_FFFF_FFFF)
        self._numbers.append(number)

    def close(self) -> None:
        self._fill_heads(1 << 16)

    def _fill_heads(self, head: int) -> None:
        missing = head + 1 - len(self._heads)
        if missing > 0:
            self._heads += array("I", [len(self._tails)]) * missing

    def find(self, source: bytes) -> Rule | None:
        head = source[0] << 8 | source[1]
        begin, end = self._heads[head], self._heads[head + 1]
        tails = self._tails
        if len(source) == 4:
            at = bisect_right(tails, source[2] << 8 | source[3], begin, end)
        else:
            tail = int.from_bytes(source[:8], "big")
            at = bisect_right(tails, tail, begin, end)
            if at > begin and tails[at - 1] == tail:  # ranges begin within this /64
                begin = bisect_left(tails, tail, begin, at)
                at = bisect_right(self._lows, int.from_bytes(source[8:], "big"), begin, at)
        number = self._numbers[at]
        return None if number == NOBODY else self._entries.rule(number)
