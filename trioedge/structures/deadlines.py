"""Coarse deadlines for many things at once: O(1) to set and to drop, nothing looked at before it is due.

A session has a connect deadline, then an idle one; most are dropped before they are due. Items due in the same
tick share a bucket, and a heap orders the buckets, so cost follows ticks, not items.
"""

import heapq
from math import ceil, inf
from typing import Generic, TypeVar

T = TypeVar("T")

NEVER = -1
"""The tick of what is due at infinity, and so not kept."""


class Deadlines(Generic[T]):
    """Items and when they are due, to the next multiple of `tick` seconds: never early, at most a tick late."""

    __slots__ = ("_buckets", "_heap", "_ticks_per_second")

    def __init__(self, tick: float) -> None:
        self._ticks_per_second = 1.0 / tick
        self._buckets: dict[int, set[T]] = {}
        self._heap: list[int] = []

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def add(self, item: T, due: float) -> int:
        """Have `item` expire at `due` seconds; the answer is its tick, for :meth:`discard`."""
        if due == inf:
            return NEVER
        tick = ceil(due * self._ticks_per_second)
        if tick / self._ticks_per_second < due:  # rounded; never early
            tick += 1
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = {item}
            heapq.heappush(self._heap, tick)
        else:
            bucket.add(item)
        return tick

    def discard(self, item: T, tick: int) -> None:
        """Drop `item` if it still stands at `tick`; a bucket left empty goes when its time comes."""
        bucket = self._buckets.get(tick)
        if bucket is not None:
            bucket.discard(item)

    def next_due(self) -> float:
        """When to look again, in seconds; infinity when nothing is set. May be early, for dropped items."""
        return self._heap[0] / self._ticks_per_second if self._heap else inf

    def take(self, now: float) -> T | None:
        """Take out and give one item that is due at `now`, or None: there may be more than a moment is enough for."""
        while self.next_due() <= now:
            bucket = self._buckets[self._heap[0]]
            if bucket:
                return bucket.pop()
            del self._buckets[heapq.heappop(self._heap)]
        return None
