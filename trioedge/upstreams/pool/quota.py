"""A quota: a bounded number of units, granted first come, first served."""

from collections.abc import Generator, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Quota(Generic[K]):
    """Distributes `total` units among keys.

    A request for more than is left is granted in part; the rest follows in FIFO order as other keys return units.
    Unbounded: the caller limits the number of keys.
    """

    __slots__ = ("_granted", "_left", "_short", "_wanted")

    def __init__(self, total: int) -> None:
        """Start without grants.

        Args:
            total: the largest sum of all grants, at least 0.
        """
        # `_left` and the values of `_granted`, all above 0, add up to `total`. A key is in `_wanted` and in `_short`
        # while it has less than it wants; `_short` is in the order of the requests. While a key is short, `_left` is 0
        # once `ask` was iterated to its end.
        self._left = total
        self._wanted: dict[K, int] = {}
        self._granted: dict[K, int] = {}
        self._short: dict[K, None] = {}

    def __len__(self) -> int:
        """Keys that have less than they asked for."""
        return len(self._short)

    def granted(self, key: K) -> int:
        """Give the number of units that `key` has."""
        return self._granted.get(key, 0)

    def ask(self, key: K, wanted: int) -> Generator[K, None, None]:
        """Request `wanted` units for `key` in place of its former request; 0 returns all. A short key keeps its place.

        Does nothing until it is iterated.

        Yields:
            Each key whose grant has changed. The caller may pause in between, or stop; the next request then grants the
            units that are left.
        """
        before = self._granted.pop(key, 0)
        self._left += before
        self._wanted[key] = wanted
        if self._grant(key) != before:
            yield key
        while self._left and self._short:
            waiting = next(iter(self._short))
            self._left += self._granted.pop(waiting, 0)
            self._grant(waiting)
            yield waiting

    def _grant(self, key: K) -> int:
        """Grant `key`, which has nothing, its request or the rest, and return the number."""
        wanted = self._wanted[key]
        granted = min(wanted, self._left)
        self._left -= granted
        if granted:
            self._granted[key] = granted
        if granted == wanted:
            del self._wanted[key]
            self._short.pop(key, None)
        else:
            self._short[key] = None
        return granted
