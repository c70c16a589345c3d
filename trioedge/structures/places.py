"""Places of a bounded table, shared so that one group of keys cannot take them all.

A client that owns many addresses could fill a table of addresses, and strangers would be refused. So once a table is
half full, a group of keys may have only as many of the further places as are still free, times a weight (the dynamic
threshold of A. K. Choudhury and E. L. Hahne for shared packet buffers). A group that floods stops by itself while there
is room for others, and no key that has a place loses it: a key that could be pushed out would start afresh.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Final, TypeAlias

WEIGHTS: Final = (1, 2, 4)
"""How many times the free places a group may have, for the narrowest group of a key first. The groups of a key contain
each other, so a wider one must be allowed more. Alone, a narrow group can fill 3/4 of a table, and a wide one 9/10."""

Groups: TypeAlias = Callable[[Hashable], tuple[Hashable, ...]]
"""A function that gives the groups of a key, the narrowest first, at most three; none for a key that is its own."""


def no_groups(_: Hashable) -> tuple[Hashable, ...]:
    """Give no group: every key is its own."""
    return ()


class FairPlaces:
    """The places of a table with a bound. O(1); below half of the capacity it does nothing."""

    # `_groups` has the groups of each key that took one of the upper places, and `_taken` counts these keys by group.
    __slots__ = ("_capacity", "_groups", "_groups_of", "_half", "_taken", "_weights")

    def __init__(self, capacity: int, groups_of: Groups, weights: Sequence[int] = WEIGHTS) -> None:
        """Start empty.

        Args:
            capacity: the places of the table.
            groups_of: the groups of a key.
            weights: how many times the free places a group may have, for the narrowest first.
        """
        self._weights = weights
        self._capacity, self._half = capacity, capacity // 2
        self._groups_of = groups_of
        self._groups: dict[Hashable, tuple[Hashable, ...]] = {}
        self._taken: dict[Hashable, int] = {}

    def take(self, key: Hashable, size: int, of: Hashable = None) -> bool:
        """Take a place for a key that has none.

        Args:
            key: the key.
            size: keys that are in the table now.
            of: the object whose groups count; the key itself if None.

        Returns:
            False if the table is full, or if a group of the key has its share.
        """
        if size < self._half:
            return True
        groups = self._fitting(size, key if of is None else of)
        if groups is None:
            return False
        if groups:
            taken = self._taken
            self._groups[key] = groups
            for group in groups:
                taken[group] = taken.get(group, 0) + 1
        return True

    def fits(self, size: int, of: Hashable) -> bool:
        """Return whether :meth:`take` would find a place for a key with these groups."""
        return size < self._half or self._fitting(size, of) is not None

    def _fitting(self, size: int, of: Hashable) -> tuple[Hashable, ...] | None:
        """Return the groups of a key, or None if the table is full or one of them has its share."""
        free = self._capacity - size
        if free <= 0:
            return None
        groups = self._groups_of(of)
        for group, weight in zip(groups, self._weights, strict=False):
            if self._taken.get(group, 0) >= weight * free:
                return None
        return groups

    def give_back(self, key: Hashable) -> None:
        """Give back the place of a key; does nothing for one that took none of the upper places."""
        if not self._groups:
            return
        taken = self._taken
        for group in self._groups.pop(key, ()):
            left = taken[group] - 1
            if left:
                taken[group] = left
            else:
                del taken[group]
