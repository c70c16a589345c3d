"""A timing wheel for many coarse deadlines: O(1) to set and to cancel, and no item is looked at before it is due.

A session has a connect timeout, then an idle timeout, and most are cancelled before they are due. Items due in the same
tick share a bucket, and a heap orders the buckets, so the cost grows with the number of ticks, not of items.
"""

import heapq
from math import ceil, inf
from typing import Final, Generic, TypeVar

T = TypeVar("T")

NEVER = -1
"""The tick of an item that is due at infinity. It is in no bucket."""


FEW_BUCKETS: Final = 64
"""So many buckets are kept without a look whether they are empty."""


class Deadlines(Generic[T]):
    """Items and when they are due, rounded up to a multiple of `tick` seconds: never early, at most a tick late.

    Unbounded: the caller limits the number of items. Empty buckets are removed when their tick has passed, or when the
    buckets are twice as many as after the last removal, so they never are the larger part for long.
    """

    __slots__ = ("_buckets", "_heap", "_sweep_at", "_ticks_per_second")

    def __init__(self, tick: float) -> None:
        """Start empty.

        Args:
            tick: the resolution in seconds, above 0.
        """
        self._ticks_per_second = 1.0 / tick
        # Both have the same ticks, each once; `_heap` is a binary heap of them.
        self._buckets: dict[int, set[T]] = {}
        self._heap: list[int] = []
        self._sweep_at = FEW_BUCKETS  # the number of buckets at which the empty ones are removed

    def add(self, item: T, due: float) -> int:
        """Set a deadline for `item` at `due` seconds, beside any other that it has.

        Returns:
            The tick that :meth:`discard` needs; :data:`NEVER` for a deadline at infinity, or so late that its tick is
            above every float.
        """
        ticks = due * self._ticks_per_second
        if ticks == inf:  # also for a finite `due` that has no tick
            return NEVER
        tick = ceil(ticks)
        if tick / self._ticks_per_second < due:  # the product was rounded down
            tick += 1
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = {item}
            heapq.heappush(self._heap, tick)
            if len(self._heap) > self._sweep_at:
                self._sweep()
        else:
            bucket.add(item)
        return tick

    def discard(self, item: T, tick: int) -> None:
        """Cancel the deadline that `item` has at `tick`; does nothing if there is none."""
        bucket = self._buckets.get(tick)
        if bucket is not None:
            bucket.discard(item)

    def _sweep(self) -> None:
        """Remove the empty buckets, whose ticks may be hours away; O(1) for each bucket that was added."""
        self._buckets = {tick: bucket for tick, bucket in self._buckets.items() if bucket}
        self._heap = list(self._buckets)
        heapq.heapify(self._heap)
        self._sweep_at = max(FEW_BUCKETS, 2 * len(self._heap))

    def next_due(self) -> float:
        """Give the time in seconds at which to call :meth:`take` again; infinity when no deadline is set.

        The time may be too early, after a cancelled deadline, but never too late.
        """
        return self._heap[0] / self._ticks_per_second if self._heap else inf

    def take(self, now: float) -> T | None:
        """Remove and give one item that is due at `now` seconds; None when there is none.

        One at a time, so that the caller can pause between two.
        """
        while self.next_due() <= now:
            bucket = self._buckets[self._heap[0]]
            if bucket:
                return bucket.pop()
            del self._buckets[heapq.heappop(self._heap)]
        return None
