"""What was found out and for how long it holds. What is stale stays at hand, for who would rather use it than wait."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class TtlCache(Generic[K, V]):
    """At most `capacity` values by key, each fresh until a time of its own; all in O(1).

    At capacity a new key takes the place of the one that was put longest ago. Where all values hold equally long, as
    they should in one cache, that is the one that expired or will expire first. Values that hold for longer than
    others belong in a cache of their own, for a flood of the others would push them out.
    """

    __slots__ = ("_capacity", "_entries")

    def __init__(self, capacity: int) -> None:
        """Remember nothing yet.

        Args:
            capacity: values remembered at most, at least 1.
        """
        self._capacity = capacity
        self._entries: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def __len__(self) -> int:
        """Values remembered, fresh and stale."""
        return len(self._entries)

    def get(self, key: K, now: float) -> V | None:
        """Give the value of `key` if it is fresh at `now` seconds, else None."""
        entry = self._entries.get(key)
        return entry[0] if entry is not None and now < entry[1] else None

    def look(self, key: K) -> tuple[V, float] | None:
        """Give the value of `key`, fresh or stale, and when it stops being fresh; None for an unknown key."""
        return self._entries.get(key)

    def put(self, key: K, value: V, fresh_until: float) -> None:
        """Remember a value of `key`, in place of any other, as fresh before `fresh_until` seconds."""
        if key in self._entries:
            self._entries.move_to_end(key)
        elif len(self._entries) >= self._capacity:
            self._entries.popitem(last=False)
        self._entries[key] = value, fresh_until
