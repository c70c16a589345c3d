"""A queue in which every source has its turn: one that asks a hundred times delays its own, and no other.

| the queue | event | action |
| --- | --- | --- |
| has room | an item comes | put it behind those of its source |
| is full | an item of a source with at least two fewer than the largest comes | drop the largest's latest item |
| is full | any other item comes, which could only change places with one of them | drop it |
| any | an item is taken | take the first one of the source whose turn it is; the source goes behind the others |
"""

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items that wait, by source. O(1), but for the drop of an item, which looks at every source."""

    # No deque is empty, and `_size` is the sum of their lengths. The source whose turn it is comes first.
    __slots__ = ("_capacity", "_size", "_waiting")

    def __init__(self, capacity: int) -> None:
        """Start empty.

        Args:
            capacity: the maximum number of items, at least 1.
        """
        self._capacity = capacity
        self._waiting: OrderedDict[Hashable, deque[T]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, source: Hashable, item: T) -> T | None:
        """Add an item; return the item that was dropped for it, which may be itself, or None."""
        dropped = None
        if self._size >= self._capacity:
            largest = max(self._waiting, key=lambda each: len(self._waiting[each]))
            if len(self._waiting.get(source, ())) + 1 >= len(self._waiting[largest]):
                return item
            dropped = self._waiting[largest][-1]
            self.remove(largest, dropped)
        self._waiting.setdefault(source, deque()).append(item)
        self._size += 1
        return dropped

    def take(self) -> T | None:
        """Remove and return the next item; None if there is none."""
        if not self._waiting:
            return None
        source, items = self._waiting.popitem(last=False)
        item = items.popleft()
        if items:
            self._waiting[source] = items
        self._size -= 1
        return item

    def remove(self, source: Hashable, item: T) -> None:
        """Remove an item that waits no more; does nothing if it was taken or dropped."""
        items = self._waiting.get(source)
        if items is not None and item in items:
            items.remove(item)
            self._size -= 1
            if not items:
                del self._waiting[source]
