"""One of several workers, as the stages of its edge see it: which limits it shares, and its part of a number."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import attrs

from ...addresses.source_prefix import flood_groups
from ...structures.gcra import Gate
from ...structures.live_counts import LiveCounts
from ...structures.shared.by_source import SourceCounts, SourceGate

if TYPE_CHECKING:
    from ...structures.shared.limits import EdgeLimits


@attrs.frozen(eq=False)
class WorkerShare:
    """One of several workers that serve an edge together.

    Attributes:
        workers: how many there are.
        limits: the limits of the edge over all workers.
        steered: the keys of which each has one worker: ``source``, ``peer``.
    """

    workers: int
    limits: "EdgeLimits"
    steered: frozenset[str] = frozenset({"source", "peer"})
    # Stages are opened in the same order in every worker, so the n-th table of one is the n-th of all.
    _numbers: Iterator[int] = attrs.field(factory=lambda: itertools.count(1), init=False)

    def gate(self, capacity: int, per: str | None) -> Gate:
        """Make the gate of a stage; see :meth:`EdgeContext.gate`."""
        shared = partial(self.limits.gate, next(self._numbers), capacity)
        return SourceGate(capacity, flood_groups, shared) if self.has_own(per) else shared()

    def counter(self, capacity: int, per: str | None) -> LiveCounts:
        """Make the counter of a stage; see :meth:`EdgeContext.counter`."""
        shared = partial(self.limits.counter, next(self._numbers), capacity)
        return SourceCounts(capacity, flood_groups, shared) if self.has_own(per) else shared()

    def part_of(self, count: int) -> int:
        """Give this worker's part of a number that the whole edge may have, rounded up."""
        return -(-count // self.workers)

    def telling(self, max_sessions: int | None) -> Callable[[int], int] | None:
        """Give the function that tells the other workers how many sessions this one has, and gives those of all.

        None where the edge has no `max_sessions`: each worker admits as many as it can afford.
        """
        return None if max_sessions is None else self.limits.tell_live

    def has_own(self, per: str | None) -> bool:
        """Tell whether this worker has a table of its own for such keys."""
        return per is not None and per.partition("/")[0] in self.steered
