"""Which services are due for a usage report, and what their reports say.

A report has totals since the edge started, never differences. So a report that is lost, repeated or forgotten by the
control plane is corrected by the next one, and nothing is counted twice. A service that does not change costs nothing.

===========  =============================  ==========================================================
a service    event                          becomes
===========  =============================  ==========================================================
reported     marked (bytes or sessions)     due
due          in the next report             sent
sent         marked                         sent and due
sent         acknowledged                   reported; forgotten, if it was removed
sent         lost                           due
sent + due   acknowledged, or lost          due
due          removed                        due; forgotten first, when too many removed services are due
===========  =============================  ==========================================================
"""

from collections import OrderedDict
from typing import Final

from ..services.report import Report, Usage
from ..services.service import Service
from ..structures.dirty_set import DirtySet

MAX_GONE: Final = 100_000
"""Removed services that wait to be reported; of more, the totals of those removed first are lost."""


class Reports:
    """The services of one run of an edge that are due. At most one report is under way at a time."""

    __slots__ = ("_dirty", "_edge", "_epoch", "_gone", "acknowledged", "sequence")

    def __init__(self, edge: str, epoch: str) -> None:
        """Start with no service due.

        Args:
            edge: as in :class:`Report`.
            epoch: the same.
        """
        self._edge, self._epoch = edge, epoch
        # A removed service is in both until it is acknowledged; `_gone` has them in the order in which they were
        # removed. It is an OrderedDict because a dict takes longer to give its first key each time that one is deleted.
        self._dirty: DirtySet[Service] = DirtySet()
        self._gone: OrderedDict[Service, None] = OrderedDict()
        self.sequence = 0
        """Of the last report that was composed."""
        self.acknowledged = 0
        """The sequence of the last report that was acknowledged."""

    def __len__(self) -> int:
        """Give the number of services that are due; those of a report under way are not among them."""
        return len(self._dirty)

    def mark(self, service: Service) -> None:
        """Note that the usage of a service has changed. Marking a service that is due costs next to nothing."""
        self._dirty.mark(service)

    def gone(self, service: Service) -> bool:
        """Note that a service was removed. Its totals are kept until they are acknowledged, if there is room.

        Returns:
            Whether there was room; if not, the totals of the service that was removed first are lost.
        """
        if service not in self._dirty:  # all its usage is acknowledged
            return True
        self._gone[service] = None
        if len(self._gone) <= MAX_GONE:
            return True
        first = next(each for each in self._gone if self._dirty.drop(each))  # most are due; a report under way has few
        del self._gone[first]
        return False

    def compose(self, max_services: int) -> tuple[Report, list[Service]] | None:
        """Compose the next report, or None if no service is due. It costs as much as it has services.

        Returns:
            The report and its services, for :meth:`confirm` or :meth:`lost`.
        """
        services = self._dirty.take(max_services)
        if not services:
            return None
        self.sequence += 1
        for service in services:
            service.up.listen()
            service.down.listen()
            if service.quota is not None:
                service.quota.note_sent()
        usage = tuple(self._usage(service) for service in services)
        return Report(self._edge, self._epoch, self.sequence, usage), services

    def _usage(self, service: Service) -> Usage:
        return Usage(
            service.name, service.incarnation, service.up.bytes, service.down.bytes, service.opened, service.live,
            len(service.by_source), service.listen_errors,
        )  # fmt: skip

    def confirm(self, sequence: int, services: list[Service]) -> None:
        """Note that a report was acknowledged: its services are reported, but for those that changed since."""
        self.acknowledged = sequence
        for service in services:
            if service.quota is not None:
                service.quota.note_acknowledged()
            self._dirty.done(service)
            if service not in self._dirty:
                self._gone.pop(service, None)

    def lost(self, services: list[Service]) -> None:
        """Note that a report may be lost: its services are due again."""
        for service in services:
            self._dirty.again(service)
