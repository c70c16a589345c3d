"""Longest-prefix match: nested CIDR prefixes flattened into disjoint ranges, and two tables to look them up in.

Each prefix has a number, which stands for a rule. :func:`flatten` walks over the prefixes in ascending order and
writes down where the number of the longest prefix changes:

    prefixes                 range starts at    number
    10.0.0.0/8    0          10.0.0.0           0
    10.1.0.0/16   1          10.1.0.0           1
                             10.2.0.0           0
                             11.0.0.0           NO_RULE

The number of an address is then that of the last range that starts at or below it, found by one bisect: O(log n),
whatever the prefix lengths. There are at most two ranges to a prefix, and one before the first.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Generator, Iterator
from heapq import merge
from typing import Final, Generic, TypeVar

NUMBER_BITS: Final = 32
"""The width of a number in a key."""

NO_RULE: Final = -1
"""The number of a range that no prefix covers."""

_KEYS_PER_STEP: Final = 16
_KEYS_PER_RUN: Final = 512
"""Flattened and sorted between two yields, in 20 to 60 µs."""

T = TypeVar("T")


def flatten(
    size: int,
    keys: list[int],
    append: Callable[[int, int], None],
    *,
    single: Callable[[bytes, int], None] | None = None,
    repeated: Callable[[int, int], None] | None = None,
) -> Generator[None, None, None]:
    """Turn the prefixes of one address family into ranges, in steps of 20 to 60 µs. Empties `keys`.

    Args:
        size: bytes of an address.
        keys: a prefix each, as ``(first << 8 | length) << NUMBER_BITS | number``, in any order. Ascending keys have
            a prefix before those that it contains, and the lower of two numbers of one prefix first.
        append: called with each range's first address and number, in ascending order.
        single: called with each single address, packed, and its number; without it they become ranges.
        repeated: called for a prefix that has several numbers, with the lowest, which it keeps, and another.
    """
    bits = 8 * size
    start, number, appended = 0, NO_RULE, NO_RULE
    # The prefixes that contain the current address, as (last address, number), the shortest at the bottom. Prefixes
    # are nested or disjoint, so that the top is both the longest one and the first to end.
    stack: list[tuple[int, int]] = []

    def begin(at: int, new: int) -> None:
        nonlocal start, number, appended
        if at > start and number != appended:
            append(start, number)
            appended = number
        start, number = at, new

    def close_before(at: int) -> None:
        while stack and stack[-1][0] < at:
            last, _ = stack.pop()
            begin(last + 1, stack[-1][1] if stack else NO_RULE)

    latest, kept = -1, NO_RULE
    ascending = yield from _sort(keys)
    for step, key in enumerate(ascending):
        if not step % _KEYS_PER_STEP:
            yield
        prefix, new = key >> NUMBER_BITS, key & (1 << NUMBER_BITS) - 1
        if prefix == latest:
            if repeated is not None:
                repeated(kept, new)
            continue
        latest, kept = prefix, new
        first, length = prefix >> 8, prefix & 0xFF
        if single is not None and length == bits:
            single(first.to_bytes(size, "big"), new)
            continue
        close_before(first)
        stack.append((first | (1 << bits - length) - 1, new))
        begin(first, new)
    close_before(1 << bits)
    begin(1 << bits, NO_RULE)


def _sort(keys: list[int]) -> Generator[None, None, Iterator[int]]:
    """Merge sort in steps: runs are sorted here, and merged while the caller iterates.

    A key leaves the list for its run, and its run when it is yielded, so that keys are freed one by one.
    """
    runs = []
    while keys:
        run = keys[-_KEYS_PER_RUN:]
        del keys[-_KEYS_PER_RUN:]
        run.sort(reverse=True)
        runs.append(_drain(run))
        yield
    return merge(*runs)


def _drain(run: list[int]) -> Iterator[int]:
    while run:
        yield run.pop()


class ShortTable(Generic[T]):
    """Ranges as objects, for a few thousand prefixes: ``values[bisect_right(starts, packed)]``, 0.2 to 0.3 µs.

    The caller writes that line itself, because a method would cost half as much again.

    Attributes:
        starts: packed first addresses.
        values: what the ranges' numbers stand for; None for `NO_RULE`.
    """

    # Invariant: starts ascends without repeats, and has one element less than values. values[i] belongs to the range
    # from starts[i - 1] to just below starts[i]; values[0] to the addresses below all prefixes, so it is None.

    __slots__ = ("_size", "_value", "starts", "values")

    def __init__(self, size: int, value: Callable[[int], T]) -> None:
        """Make an empty table.

        Args:
            size: bytes of an address.
            value: gives what a number stands for; called once a range.
        """
        self._size = size
        self._value = value
        self.starts: list[bytes] = []
        self.values: list[T | None] = [None]

    def append(self, start: int, number: int) -> None:
        """Add the next range, for :func:`flatten`."""
        self.starts.append(start.to_bytes(self._size, "big"))
        self.values.append(None if number == NO_RULE else self._value(number))


class LongTable(Generic[T]):
    """Ranges as integers in arrays, for many thousand prefixes: 0.4 to 0.8 µs for IPv4, 0.5 to 1.4 µs for IPv6.

    100,000 prefixes as objects would occupy the garbage collector for 130 ms, and take 25 ms to free when the next
    snapshot replaces them. Arrays cost neither, and a tenth of the memory. A bisect over the whole of a long table is
    a cache miss at every step, so a first level by the leading two bytes of an address (256 KiB) narrows it down.
    """

    # Invariant, after close(): _heads has 2**16 + 1 elements, and the ranges that start with the two bytes `head` are
    # those from _heads[head] to just below _heads[head + 1]. _tails has the rest of each start: of 4 bytes the last
    # 2; of 16 bytes the first 8, and _lows the last 8 (_lows is empty for IPv4). _numbers[i] belongs to the range from
    # start i - 1 to just below start i, as in ShortTable, and so has one element more than _tails.

    __slots__ = ("_heads", "_lows", "_numbers", "_size", "_tails", "_value")

    def __init__(self, size: int, value: Callable[[int], T]) -> None:
        """Make an empty table.

        Args:
            size: bytes of an address, 4 or 16.
            value: gives what a number stands for; called by each :meth:`find` that has a number to return.
        """
        self._size = size
        self._value = value
        self._heads = array("I")
        self._tails = array("H" if size == 4 else "Q")
        self._lows = array("Q")
        self._numbers = array("i", [NO_RULE])

    def append(self, start: int, number: int) -> None:
        """Add the next range, for :func:`flatten`."""
        self._fill_heads(start >> 8 * self._size - 16)
        if self._size == 4:
            self._tails.append(start & 0xFFFF)
        else:
            self._tails.append(start >> 64)
            self._lows.append(start & 0xFFFF_FFFF_FFFF_FFFF)
        self._numbers.append(number)

    def close(self) -> None:
        """Complete the first level, after the last range."""
        self._fill_heads(1 << 16)

    def _fill_heads(self, head: int) -> None:
        missing = head + 1 - len(self._heads)
        if missing > 0:
            self._heads += array("I", [len(self._tails)]) * missing

    def find(self, source: bytes) -> T | None:
        """Return what the number of a packed address stands for; None for `NO_RULE`."""
        head = source[0] << 8 | source[1]
        begin, end = self._heads[head], self._heads[head + 1]
        tails = self._tails
        if len(source) == 4:
            at = bisect_right(tails, source[2] << 8 | source[3], begin, end)
        else:
            tail = int.from_bytes(source[:8], "big")
            at = bisect_right(tails, tail, begin, end)
            if at > begin and tails[at - 1] == tail:  # some ranges start within this /64
                begin = bisect_left(tails, tail, begin, at)
                at = bisect_right(self._lows, int.from_bytes(source[8:], "big"), begin, at)
        number = self._numbers[at]
        return None if number == NO_RULE else self._value(number)
