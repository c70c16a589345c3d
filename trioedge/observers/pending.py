"""The records that one observer has not had yet.

| event | action |
| --- | --- |
| a session is accepted or ends | its record waits, at most 1,000 of each kind; the oldest is lost |
| a service is changed that waits already | the two changes become one, and none if the service came and went |
| the batch is taken | it has all of them, but at most 1,000 changes |
| a batch was not observed, or none is taken any more | its records are lost |
"""

from collections.abc import Callable, Sequence
from itertools import islice

from ..services.policy import Settings
from ..services.service import Service
from ..services.snapshot import Change
from ..telemetry.ends import SessionEnd
from ..telemetry.records import CAPACITY, Records
from ..telemetry.starts import SessionStart
from .observer import Batch


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

    def take(self, offset: float) -> Batch | None:
        """Take what there is; None if there is nothing.

        Args:
            offset: from the edge's clock to the seconds of the epoch.
        """
        accepted, ended = self._starts.take(CAPACITY), self._ends.take(CAPACITY)
        taken = [self._changes.pop(key) for key in list(islice(self._changes, CAPACITY))]
        if self._changes:
            self._wake()
        if not (accepted or ended or taken):
            return None
        lost = self.lost
        news, self._told = lost - self._told, lost
        return Batch(
            accepted=tuple(accepted), ended=tuple(ended), changes=tuple(map(_without_credentials, taken)), lost=news,
            stages=self._stages, offset=offset,
        )  # fmt: skip

    def drop(self, batch: Batch) -> None:
        """Count the records of a batch that was not observed as lost."""
        self._dropped += len(batch)

    def close(self) -> None:
        """Keep nothing from now on; the records that were not taken are lost."""
        left = len(self._starts.take(CAPACITY)) + len(self._ends.take(CAPACITY)) + len(self._changes)
        self._dropped += left
        self._changes.clear()
        self._starts.close()
        self._ends.close()


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
