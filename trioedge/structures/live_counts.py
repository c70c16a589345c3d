"""Counts of live sessions by key. A key is removed with its last session, so nothing has to expire."""

from collections.abc import Hashable
from enum import Enum


class CountAnswer(Enum):
    """The answer to one more session."""

    ENTERED = "entered"
    TOO_MANY = "too many"
    FULL = "full"


# A look-up in an Enum costs 60 ns.
ENTERED, TOO_MANY, FULL = CountAnswer.ENTERED, CountAnswer.TOO_MANY, CountAnswer.FULL


class LiveCounts:
    """Counts live sessions by key, at most `capacity` keys."""

    __slots__ = ("_capacity", "_counts")

    def __init__(self, capacity: int) -> None:
        """Start without keys.

        Args:
            capacity: the maximum of keys with a live session, at least 1.
        """
        self._capacity = capacity
        self._counts: dict[Hashable, int] = {}

    def __len__(self) -> int:
        """Keys with a live session."""
        return len(self._counts)

    def enter(self, key: Hashable, limit: int) -> CountAnswer:
        """Count one more session of `key`, or say why not. O(1), about 0.2 µs.

        Args:
            key: at capacity, a new one is FULL.
            limit: the maximum of live sessions of this key; may be another one each time.
        """
        counts = self._counts
        live = counts.get(key, 0)
        if live >= limit:
            return TOO_MANY
        if not live and len(counts) >= self._capacity:
            return FULL
        counts[key] = live + 1
        return ENTERED

    def leave(self, key: Hashable, _: object = None) -> None:
        """Count one session less, for one :meth:`enter` that was answered ENTERED. O(1).

        A clean-up passes its session, which is ignored.

        Raises:
            KeyError: `key` has no live session.
        """
        live = self._counts[key] - 1
        if live:
            self._counts[key] = live
        else:
            del self._counts[key]
