"""Names that wait for a query: whose turn it is, and how many queries may be under way.

| a name is | event | action |
| --- | --- | --- |
| waiting | a place is free, and it is the turn of its asker | its query begins; it takes a place |
| under way, with a place | :data:`PLACE_SECONDS` pass | the place is free for another name; the query goes on |
| under way | its query ends | it is forgotten, and a place that it has is free |

So names whose servers are silent delay others by a quarter of a second, and not until they have failed. Three more
rules keep one asker from delaying the others. An asker without a query under way comes first; the others take turns, a
name each, and leave a quarter of all queries to such askers. One asker has at most half of them. Names whose last query
failed have turns of their own, every fourth one, and at most a quarter of all queries together.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Hashable
from math import inf
from typing import Final

import attrs

PLACES: Final = 64
"""Queries that are younger than :data:`PLACE_SECONDS`."""

PLACE_SECONDS: Final = 0.25
"""How long a query has a place of its own; most end long before."""

_SHARE: Final = 4
"""A quarter of all queries is left to askers without one, and is all that names get whose last query failed."""


@attrs.define(eq=False)
class _Lane:
    """The waiting names of one kind, and the turns of their askers.

    Attributes:
        max_queries: how many may be under way.
        idle: the names of askers without a query under way, the asker whose turn it is first.
        busy: the names of the other askers that may begin a query, in the same order.
        full: the names of askers that have as many queries under way as one may.
        under_way: queries by asker.
        total: queries of all askers.
    """

    max_queries: int
    idle: OrderedDict[Hashable, deque[str]] = attrs.field(factory=OrderedDict)
    busy: OrderedDict[Hashable, deque[str]] = attrs.field(factory=OrderedDict)
    full: OrderedDict[Hashable, deque[str]] = attrs.field(factory=OrderedDict)
    under_way: Counter[Hashable] = attrs.field(factory=Counter)
    total: int = 0

    def add(self, host: str, asker: Hashable) -> None:
        self._of(asker).setdefault(asker, deque()).append(host)

    def _of(self, asker: Hashable) -> OrderedDict[Hashable, deque[str]]:
        """Give the askers among which one belongs by the number of its queries."""
        queries = self.under_way[asker]
        if not queries:
            return self.idle
        return self.full if queries >= max(1, self.max_queries // 2) else self.busy

    @property
    def may_begin(self) -> bool:
        """Whether a name waits that may begin its query, as far as this lane goes."""
        if self.idle:
            return self.total < self.max_queries
        return bool(self.busy) and self.total < self.max_queries - self.max_queries // _SHARE

    def next(self) -> tuple[str, Hashable]:
        asker, names = (self.idle or self.busy).popitem(last=False)
        host = names.popleft()
        self.under_way[asker] += 1
        self.total += 1
        if names:
            self._of(asker)[asker] = names
        return host, asker

    def ended(self, asker: Hashable) -> None:
        before = self._of(asker)
        self.total -= 1
        self.under_way[asker] -= 1
        after = self._of(asker)
        if after is not before and asker in before:
            after[asker] = before.pop(asker)
        if not self.under_way[asker]:
            del self.under_way[asker]


class QueryQueue:
    """Decides which name is queried next. The caller adds a name once until its query has ended, and bounds them."""

    def __init__(self, max_queries: int) -> None:
        """Start without names.

        Args:
            max_queries: the most queries at the same time, at least 1.
        """
        # A name is in one of the two lanes until it is in `_under_way`, with its lane and its asker. `_placed` has the
        # times when queries began, of those that have a place, the oldest first.
        self._max_queries = max_queries
        self._fresh = _Lane(max_queries)
        self._failed = _Lane(max(1, max_queries // _SHARE))
        self._under_way: dict[str, tuple[_Lane, Hashable]] = {}
        self._placed: dict[str, float] = {}
        self._begun = 0

    def __len__(self) -> int:
        """Queries under way."""
        return len(self._under_way)

    def add(self, host: str, asker: Hashable, *, failed: bool) -> None:
        """Let a name wait for its query.

        Args:
            host: the name.
            asker: a service, or any other object whose names are to share the queries with those of others.
            failed: whether the last query for this name failed.
        """
        (self._failed if failed else self._fresh).add(host, asker)

    def next(self, now: float) -> str | None:
        """Give the name whose query begins now; None if none waits or none may begin."""
        while self._placed and next(iter(self._placed.values())) + PLACE_SECONDS <= now:
            del self._placed[next(iter(self._placed))]
        if len(self._placed) >= PLACES or len(self._under_way) >= self._max_queries:
            return None
        lanes = (self._fresh, self._failed) if self._begun % _SHARE else (self._failed, self._fresh)
        lane = next((each for each in lanes if each.may_begin), None)
        if lane is None:
            return None
        self._begun += 1
        host, asker = lane.next()
        self._under_way[host] = lane, asker
        self._placed[host] = now
        return host

    def ended(self, host: str) -> None:
        """Note that a query has ended."""
        lane, asker = self._under_way.pop(host)
        lane.ended(asker)
        self._placed.pop(host, None)

    def due(self) -> float:
        """Give the time when :meth:`next` may give a name although no query has ended; infinity for never."""
        if len(self._placed) < PLACES or not (self._fresh.may_begin or self._failed.may_begin):
            return inf
        return next(iter(self._placed.values())) + PLACE_SECONDS
