"""The protocol of observers, and the batch that each of them gets."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

import attrs

from ..services.snapshot import Change
from ..telemetry.ends import SessionEnd
from ..telemetry.starts import SessionStart


@attrs.frozen(slots=True, kw_only=True)
class Batch:
    """What an edge has done since an observer's batch before; only data, which cannot be changed.

    A session that the decisions before any handshake and middleware refuse is in `ended` alone. Every other one is in
    `accepted` and, in this batch or in a later one, in `ended`, unless a record was lost. ``len(batch)`` counts the
    records.

    Attributes:
        accepted: the sessions that were accepted, in order; at most 1,000.
        ended: the sessions that ended, in order; at most 1,000. Those that are `refused` never ran.
        changes: the services that a control plane has added, changed or removed; at most 1,000, and the others are in
            the next batches. Two changes of one service since the batch before are one here. Settings have no
            credentials: that these have changed is seen in `fields`.
        lost: how many records this observer has lost since its batch before. It was too slow for them, or raised.
        stages: the names of the parts of the chain, in order, as the `trace` of an end counts them.
        offset: seconds to add to a time of the edge's clock to get seconds of the epoch; :meth:`time_of` adds them.
    """

    accepted: Sequence[SessionStart] = ()
    ended: Sequence[SessionEnd] = ()
    changes: Sequence[Change] = ()
    lost: int = 0
    stages: Sequence[str] = ()
    offset: float = 0.0

    def __len__(self) -> int:
        return len(self.accepted) + len(self.ended) + len(self.changes)

    def time_of(self, at: float) -> datetime:
        """Give a time of the edge's clock, such as `ended_at`, as a date and time in UTC."""
        return datetime.fromtimestamp(at + self.offset, UTC)


@runtime_checkable
class Observer(Protocol):
    """Code that is told what an edge has done. It sees sessions when they are accepted and ended, and delays none.

    An observer that keeps something while an edge serves is a recipe: its ``open(context)`` makes the live observer, or
    returns None if the observer is off in this run and costs nothing. A live one may have ``run`` and ``close`` as live
    stages have. The edge does not wait for its ``run`` to start, but its first batch does, and ``run`` is cancelled
    when its last batch was observed.
    """

    async def observe(self, batch: Batch, /) -> None:
        """Take a batch. The next one comes when this has returned, so one call runs at a time.

        It may wait, for a collector or a disk. Meanwhile the edge keeps the last 1,000 accepted and the last 1,000
        ended sessions; the older ones are lost and counted. It must not compute for more than a millisecond without a
        wait, because every client waits for it then.

        An exception is logged, and costs this batch, whose records count as lost. A cancel comes when the edge has
        ended and this has not returned a second later.
        """
