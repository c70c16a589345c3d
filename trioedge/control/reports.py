"""Reports of what services used: cumulative, numbered, and sent again until they are acknowledged.

A report carries totals since the edge started, never differences: one that is lost or repeated, or that a control plane
forgets in a restart, is made good by the next, and nothing counts twice. Seed, the final layer: a service enters when
its bytes move or its sessions change, and leaves when its report is acknowledged; the others cost nothing.
"""

from collections import OrderedDict
from typing import Final

from ..services.report import Report, Usage
from ..services.service import Service
from ..structures.dirty_set import DirtySet

MAX_GONE: Final = 100_000
"""Services that are no more and wait to be reported. Of more than these, the totals of those gone longest are lost."""


class Reports:
    """Which services are to be reported, and what of. One report is under way at a time."""

    __slots__ = ("_dirty", "_edge", "_epoch", "_gone", "acknowledged", "sequence")

    def __init__(self, edge: str, epoch: str) -> None:
        """Owe nothing yet.

        Args:
            edge: as in :class:`Report`.
            epoch: the same.
        """
        self._edge, self._epoch = edge, epoch
        self._dirty: DirtySet[Service] = DirtySet()
        self._gone: OrderedDict[Service, None] = OrderedDict()  # a dict is slow to give its first key, over and over
        self.sequence = 0
        """Of the last report made."""
        self.acknowledged = 0
        """Of the last report that was acknowledged."""

    def __len__(self) -> int:
        """Services that wait to be reported."""
        return len(self._dirty)

    def mark(self, service: Service) -> None:
        """Something of this service has changed; marking it again before its report is free."""
        self._dirty.mark(service)

    def gone(self, service: Service) -> bool:
        """A service is no more. Its totals stay until they are acknowledged, if there is room.

        Returns:
            Whether there was; if not, the totals of the service that went first are lost.
        """
        if service not in self._dirty:  # acknowledged
            return True
        self._gone[service] = None
        if len(self._gone) <= MAX_GONE:
            return True
        first = next(each for each in self._gone if self._dirty.drop(each))  # few are under way
        del self._gone[first]
        return False

    def compose(self, most: int) -> tuple[Report, list[Service]] | None:
        """Make the next report of at most `most` services, or None when none is due. Costs what is in it."""
        services = self._dirty.take(most)
        if not services:
            return None
        self.sequence += 1
        for service in services:
            service.up.listen()
            service.down.listen()
        usage = tuple(self._usage(service) for service in services)
        return Report(self._edge, self._epoch, self.sequence, usage), services

    def _usage(self, service: Service) -> Usage:
        return Usage(
            service.name, service.incarnation, service.up.bytes, service.down.bytes, service.opened, service.live,
            len(service.by_source),
        )  # fmt: skip

    def confirm(self, sequence: int, services: list[Service]) -> None:
        """The control plane has it: these services leave, unless they changed since."""
        self.acknowledged = sequence
        for service in services:
            self._dirty.done(service)
            if service not in self._dirty:
                self._gone.pop(service, None)

    def lost(self, services: list[Service]) -> None:
        """Nobody knows whether it arrived: these services are due again."""
        for service in services:
            self._dirty.again(service)
