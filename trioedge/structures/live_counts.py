"""Counts of live sessions by key. A key is removed with its last session, so nothing has to expire."""

from collections.abc import Hashable
from enum import Enum

from ..arguments import check_count
from .places import FairPlaces, Groups, no_groups


class CountAnswer(Enum):
    """The answer of :meth:`LiveCounts.enter`."""

    ENTERED = "entered"
    """The session is counted; call :meth:`LiveCounts.leave` when it ends."""
    TOO_MANY = "too many"
    """The key has as many live sessions as its limit. This one is not counted."""
    FULL = "full"
    """The key is new, and as many keys as the capacity have live sessions. This session is not counted."""


# A look-up in an Enum costs 60 ns.
ENTERED, TOO_MANY, FULL = CountAnswer.ENTERED, CountAnswer.TOO_MANY, CountAnswer.FULL


class LiveCounts:
    """Counts of live sessions by key; :meth:`EdgeContext.counter` makes one.

    A key is dropped with its last session. At capacity a new key is refused. Once half of it is used, keys of one wider
    prefix are refused while there is room for others: see :mod:`~trioedge.structures.places`. ``len(counts)`` is the
    number of keys that have a live session.
    """

    __slots__ = ("_counts", "_places")

    def __init__(self, capacity: int, groups: Groups = no_groups) -> None:
        """Start without keys.

        Args:
            capacity: the maximum of keys with a live session, at least 1.
            groups: the wider prefixes of a key, which share the places of a table that is more than half full.

        Raises:
            ConfigurationError: `capacity` is no whole number of at least 1.
        """
        check_count("LiveCounts", "capacity", capacity)
        self._counts: dict[Hashable, int] = {}
        self._places = FairPlaces(capacity, groups)

    def __len__(self) -> int:
        """Keys with a live session."""
        return len(self._counts)

    def enter(self, key: Hashable, limit: float) -> CountAnswer:
        """Count one more session of a key, or refuse it. O(1), about 0.2 µs; it never waits.

        Args:
            key: any hashable value, such as ``session.source_key``.
            limit: the maximum of live sessions of this key; may be another one each time.

        Returns:
            ``ENTERED``, ``TOO_MANY`` or ``FULL``. A session that entered is counted until :meth:`leave`.
        """
        counts = self._counts
        live = counts.get(key, 0)
        if live >= limit:
            return TOO_MANY
        if not live and not self._places.take(key, len(counts)):
            return FULL
        counts[key] = live + 1
        return ENTERED

    def leave(self, key: Hashable, _: object = None) -> None:
        """Count one session of a key less, once for each :meth:`enter` that was answered ``ENTERED``. O(1).

        ``session.defer(partial(counts.leave, key))`` calls it when the session ends, under the key that it entered by.

        Args:
            key: the key of that :meth:`enter`.
            _: the session that a clean-up passes; ignored.

        Raises:
            KeyError: `key` has no live session.
        """
        live = self._counts[key] - 1
        if live:
            self._counts[key] = live
        else:
            del self._counts[key]
            self._places.give_back(key)
