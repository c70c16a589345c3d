"""The records that one observer has not had yet.

| event | action |
| --- | --- |
| a session is accepted or ends | its record waits, at most 1,000 of each kind; the oldest is lost |
| a service is changed that waits already | the two changes become one, and none if the service came and went |
| the batch is taken | it has all of them, but at most 1,000 changes |
| a batch was not observed, or none is taken any more | its records are lost |
"""

from collections.abc import Callable, Generator, Sequence
from itertools import islice
from typing import Final, TypeVar

from ..services.policy import Settings
from ..services.service import Service
from ..services.snapshot import Change
from ..telemetry.ends import SessionEnd
from ..telemetry.records import CAPACITY, RecordReader, Records
from ..telemetry.starts import SessionStart
from .observer import Batch

T = TypeVar("T")

AT_ONCE: Final = 16
"""Records that are made in one step, which takes some 50 µs."""


class Pending:
    """The records of one observer. It watches the services of its edge."""

    def __init__(
        self,
        starts: Records[SessionStart],
        ends: Records[SessionEnd],
        stages: Sequence[str],
        wake: Callable[[], object],
    ) -> None:
        """Keep what happens from now on, until :meth:`close`.

        Args:
            starts: the sessions that are accepted.
            ends: the sessions that end.
            stages: the names of the parts of the chain.
            wake: called when there is something to take. It must not wait or raise.
        """
        self._starts, self._ends = starts.open(wake), ends.open(wake)
        self._stages = tuple(stages)
        self._wake = wake
        # By the incarnation of the service. Its size is bounded by the services at the last batch and those of now.
        self._changes: dict[int, Change] = {}
        # The records of the batch that is being made.
        self._accepted: list[SessionStart] = []
        self._ended: list[SessionEnd] = []
        self._changed: list[Change] = []
        self._dropped = 0  # records of batches that were not observed
        self._told = 0

    @property
    def lost(self) -> int:
        """How many records the observer has lost so far."""
        return self._starts.lost + self._ends.lost + self._dropped

    def changed(self, service: Service, change: Change) -> None:
        """Keep a change of a service; the edge calls this."""
        earlier = self._changes.get(service.incarnation)
        if earlier is not None:
            change = _joined(earlier, change)
        if change.before is None and change.after is None:
            del self._changes[service.incarnation]
            return
        self._changes[service.incarnation] = change
        self._wake()

    def take(self, offset: float) -> Generator[None, None, Batch | None]:
        """Make a batch of what there is, in short steps; None if there is nothing.

        Args:
            offset: from the edge's clock to the seconds of the epoch.
        """
        # The ends come first. So no session's end is in a batch before the one with its start.
        yield from self._collect(self._ends, self._ended)
        yield from self._collect(self._starts, self._accepted)
        for number, incarnation in enumerate(list(islice(self._changes, CAPACITY)), 1):
            if (change := self._changes.pop(incarnation, None)) is not None:  # not gone again in a step before
                self._changed.append(_without_credentials(change))
            if number % AT_ONCE == 0:
                yield
        if self._changes:
            self._wake()
        if not (self._accepted or self._ended or self._changed):
            return None
        lost = self.lost
        batch = Batch(
            accepted=tuple(self._accepted), ended=tuple(self._ended), changes=tuple(self._changed),
            lost=lost - self._told, stages=self._stages, offset=offset,
        )  # fmt: skip
        self._told = lost
        self._forget()
        return batch

    def _collect(self, reader: RecordReader[T], into: list[T]) -> Generator[None, None, None]:
        """Take the records of one kind, at most as many as a queue has."""
        while room := CAPACITY - len(into):
            limit = min(AT_ONCE, room)
            taken = reader.take(limit)
            into += taken
            if len(taken) < limit:
                return
            yield
        self._wake()  # there may be more

    def drop(self, batch: Batch) -> None:
        """Count the records of a batch that was not observed as lost."""
        self._dropped += len(batch)

    def close(self) -> None:
        """Keep nothing from now on; the records that were not taken are lost."""
        taken = len(self._accepted) + len(self._ended) + len(self._changed)  # by a batch that was not finished
        self._dropped += taken + self._starts.left + self._ends.left + len(self._changes)
        self._forget()
        self._changes.clear()
        self._starts.close()
        self._ends.close()

    def _forget(self) -> None:
        """Forget the records that were taken."""
        for records in (self._accepted, self._ended, self._changed):
            records.clear()


def _joined(earlier: Change, later: Change) -> Change:
    """Make one change of two of one service."""
    fields = () if earlier.before is None or later.after is None else (*earlier.fields, *later.fields)
    return Change(later.name, earlier.before, later.after, tuple(dict.fromkeys(fields)))


def _without_credentials(change: Change) -> Change:
    before, after = change.before, change.after
    return Change(
        change.name,
        None if before is None else Settings(before.policy),
        None if after is None else Settings(after.policy),
        change.fields,
    )
