"""The count of a quota over several workers.

Each worker writes the bytes that it has moved into its column of the service's row, with each chunk, and adds up the
columns of all now and then: after at most :data:`LOOK_BYTES`, and after less the fewer are left. So the quota is used
up in all workers at the same count, and it is exceeded by less than these bytes for each further worker.

| what | who does it |
| --- | --- |
| bytes that were moved, and that the control process was told of | the worker, in its own column |
| `quota_used` of a later policy, reports and their acknowledgement: the table of :mod:`.quota`, for the sum | \
the control process, before the workers get the policy |
| the quota is used up | the worker that notices it refuses and cuts, and announces it; the others do so within a tick |
"""

from collections.abc import Callable
from math import inf
from typing import Final

from ...session.meter import Meter
from ...structures.shared.quota_rows import ACKNOWLEDGED, AHEAD, MOST, SAFE, SAID, SENT, QuotaRow, QuotaRows
from .quota import QuotaCount

LOOK_BYTES: Final = 262_144
"""A worker moves at most so many bytes of a service between two looks at the count of all workers."""

TICK_SECONDS: Final = 0.25
"""A quota that another worker has used up is noticed so late at most, even if no byte moves here."""


class RowCorrection:
    """The numbers of a row that correct its count; see :class:`~.quota.Correction`."""

    __slots__ = ("_row",)

    def __init__(self, row: QuotaRow) -> None:
        """Look at a row."""
        self._row = row

    ahead = property(lambda self: self._row.get(AHEAD), lambda self, value: self._row.put(AHEAD, value))
    said = property(lambda self: self._row.get(SAID), lambda self, value: self._row.put(SAID, value))
    sent = property(lambda self: self._row.get(SENT), lambda self, value: self._row.put(SENT, value))
    safe = property(lambda self: self._row.get(SAFE), lambda self, value: self._row.put(SAFE, value))
    acknowledged = property(
        lambda self: self._row.get(ACKNOWLEDGED), lambda self, value: self._row.put(ACKNOWLEDGED, value)
    )


class ControlQuota(QuotaCount):
    """The count in the control process, which moves no bytes and corrects the count of all workers."""

    __slots__ = ("row",)

    def __init__(self, row: QuotaRow, up: Meter, down: Meter, *, reported: bool) -> None:
        """Go on with the count of a row.

        Args:
            row: of the service.
            up: as in :class:`QuotaCount`; not looked at.
            down: the same.
            reported: whether the control plane takes reports.
        """
        self.row = row
        row.join()
        super().__init__(up, down, 0, lambda: None, reported=reported, correction=RowCorrection(row))

    @property
    def moved(self) -> int:
        """Bytes that all workers have moved."""
        return self.row.moved

    def under(self, said: int) -> int:
        """Give the count under another `quota_used`; nothing changes."""
        return super().under(min(said, MOST))

    def learn(self, said: int) -> None:
        """Correct the count by the `quota_used` of a policy, which the workers get next."""
        super().learn(min(said, MOST))

    def limit(self, quota_bytes: int | None) -> None:
        """Do nothing: workers compare the count with the quota."""

    def note_sent(self) -> None:
        """Note that a report has all bytes that the workers have told."""
        self.row.put(SENT, self.row.told)

    def leave(self) -> None:
        """Leave the row, because the service is removed."""
        self.row.leave()


class WorkerQuota(QuotaCount):
    """The count in a worker.

    Attributes:
        row: of the service.
    """

    # The column has the bytes of the two meters since `_base`. The next look is at the total `_ends_at`.
    __slots__ = ("_at", "_base", "_cells", "_quota_bytes", "row")

    def __init__(self, row: QuotaRow, up: Meter, down: Meter, on_spent: Callable[[], object]) -> None:
        """Join the count of a row with 0 bytes.

        Args:
            row: of the service.
            up: the service's bytes to its upstream, in this worker.
            down: its bytes to its clients.
            on_spent: called after every chunk of bytes from the one on that finds the quota used up; it must not raise.
        """
        self.row = row
        row.join()
        self._cells, self._at = row.cell
        self._base = up.bytes + down.bytes
        self._quota_bytes = 0
        super().__init__(up, down, 0, on_spent, reported=True, correction=RowCorrection(row))

    @property
    def moved(self) -> int:
        """Bytes that all workers have moved."""
        self._publish()
        return self.row.moved

    def under(self, said: int) -> int:  # noqa: ARG002 - the control process has corrected the count already
        """Give the count, which the control process corrects."""
        return self.used

    def learn(self, said: int) -> None:
        """Do nothing: the control process has corrected the count already."""

    def limit(self, quota_bytes: int | None) -> None:
        """Apply a quota; None for none."""
        if quota_bytes is None:
            self._publish()
            self._check_with(None)
        else:
            self._quota_bytes = quota_bytes
            self._look()
            self._check_with(self._check)

    def note_sent(self) -> None:
        """Note that the control process is told of all bytes so far."""
        self._publish()
        self.row.tell()

    def note_acknowledged(self) -> None:
        """Do nothing: the control plane acknowledges to the control process."""

    def leave(self) -> None:
        """Count no more, because the service is removed."""
        super().leave()
        self.row.leave()

    def _publish(self) -> int:
        total = self._up.bytes + self._down.bytes
        self._cells[self._at] = total - self._base
        return total

    def _look(self) -> bool:
        """Set the next look; returns whether there are bytes left."""
        total = self._publish()
        left = self._quota_bytes - self.row.moved - self.row.get(AHEAD)
        self._ends_at = total + min(LOOK_BYTES, max(left // (2 * max(1, self.row.joined)), 1))
        return left > 0

    def _check(self) -> None:
        total = self._up.bytes + self._down.bytes
        self._cells[self._at] = total - self._base
        if total >= self._ends_at and not self._look():
            self._ends_at = -inf  # every further chunk is refused, too
            self._on_spent()


class SharedQuotas:
    """The counts of one edge, as one process sees them."""

    __slots__ = ("_corrects", "_rows")

    def __init__(self, rows: QuotaRows, *, corrects: bool) -> None:
        """Look at the counts.

        Args:
            rows: of the edge.
            corrects: whether this is the control process.
        """
        self._rows, self._corrects = rows, corrects

    def count(
        self, service: str, up: Meter, down: Meter, said: int, on_spent: Callable[[], object], *, reported: bool
    ) -> "ControlQuota | WorkerQuota | None":
        """Give the count of a service; None if there is no room, so that this process counts alone.

        Args:
            service: its name.
            up: as in :class:`QuotaCount`.
            down: the same.
            said: the same.
            on_spent: the same.
            reported: the same.
        """
        row = self._rows.open(service, min(said, MOST))
        if row is None:
            return None
        if self._corrects:
            return ControlQuota(row, up, down, reported=reported)
        return WorkerQuota(row, up, down, on_spent)

    def forget(self, service: str) -> None:
        """Let a service that is removed begin anew if it is named again; the control process does."""
        if self._corrects:
            self._rows.forget(service)

    def announce(self, row: QuotaRow) -> None:
        """Tell the other processes that a quota is used up."""
        self._rows.announce(row.number)

    def heard(self) -> list[int] | None:
        """Give the numbers of the rows that others have announced since the last call; None for any of them."""
        return self._rows.heard()
