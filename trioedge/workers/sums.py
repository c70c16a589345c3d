"""The totals of services over all workers, as the control process adds them up.

A worker says totals of its own life, never differences, so a message that comes twice counts once. The sums are the
counts of the services here: the reports of the edge are made of them, and its quotas count them.

| a worker | event | action |
| --- | --- | --- |
| lives | it says totals | add what is new about them |
| lives | the control plane acknowledges a report of them | tell the worker: a later control process counts from there |
| lives | its connection is lost for some seconds | take off its live sessions; keep its totals |
| lost | it is back, and says totals | add what is new about them |
| lost | its process is over, because another one has its column | forget it; its totals stay in the sums |
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Final, TypeAlias

from ..control.reports import Reports
from ..services.policy import Settings
from ..services.report import Report, Usage
from ..services.service import Service
from ..services.services import Services
from ..session.meter import Meter

Row: TypeAlias = tuple[str, int, bool, int, int, int, int, int, tuple[str, ...], tuple[bytes, ...]]
"""What a worker says of a service: its name, its incarnation, whether it is removed; bytes up, bytes down and sessions
opened so far; live sessions and sources now, why listeners are not open, and the keys of up to 1,000 sources if the
control plane may ask for them."""

Settled: TypeAlias = tuple[int, int, int, int]
"""What the control plane has of a worker: the incarnation there, bytes up, bytes down and sessions opened."""

MAX_GONE: Final = 10_000
"""Removed services of which a worker's totals are remembered, so that a message that comes twice counts once."""


class _Said:
    """What a worker has said of a service last."""

    __slots__ = ("down", "errors", "incarnation", "keys", "live", "opened", "sent", "service", "sources", "up")

    def __init__(self, service: Service, incarnation: int) -> None:
        self.service = service
        self.incarnation = incarnation
        self.up = self.down = self.opened = self.live = self.sources = 0
        self.errors: tuple[str, ...] = ()
        self.keys: tuple[bytes, ...] = ()
        self.sent: Settled = incarnation, 0, 0, 0


class WorkerTotals:
    """What one worker has said.

    Attributes:
        settled: acknowledged totals of which the worker is to be told, by incarnation.
    """

    __slots__ = ("_gone", "_telling", "by_incarnation", "by_service", "settled")

    def __init__(self) -> None:
        self.by_incarnation: dict[int, _Said] = {}
        self.by_service: dict[Service, _Said] = {}
        self._gone: OrderedDict[int, None] = OrderedDict()
        self.settled: dict[int, Settled] = {}
        self._telling: list[Settled] = []

    @property
    def settles(self) -> bool:
        """Whether there are acknowledged totals that the worker has not taken yet."""
        return bool(self.settled or self._telling)

    def take(self, most: int) -> list[Settled]:
        """Give some of the acknowledged totals, to tell the worker; :meth:`taken` or :meth:`put_back` comes next."""
        self._telling = [self.settled.popitem()[1] for _ in range(min(len(self.settled), most))]
        return self._telling

    def taken(self) -> None:
        """Note that the worker has taken what it was told."""
        self._telling = []

    def put_back(self) -> None:
        """Have the same told over the next connection, because this one has ended; newer totals stay."""
        for row in self._telling:
            self.settled.setdefault(row[0], row)
        self._telling = []

    def gone(self, said: _Said) -> None:
        """Forget a removed service some time; the one that was removed first, when there are too many."""
        self._gone[said.incarnation] = None
        if len(self._gone) > MAX_GONE:
            first, _ = self._gone.popitem(last=False)
            self.by_service.pop(self.by_incarnation.pop(first).service, None)


class Sums:
    """The sums of one edge.

    Attributes:
        changed: called with a service whose sums have changed.
        settled: called with a worker that is to be told what the control plane has.
    """

    def __init__(self, services: Services, first: int) -> None:
        """Start at 0.

        Args:
            services: whose counts are the sums.
            first: the first incarnation of this control process.
        """
        self._services = services
        self._first = first
        self._workers: dict[Hashable, WorkerTotals] = {}
        self.changed: Callable[[Service], object] = lambda _: None
        self.settled: Callable[[Hashable], object] = lambda _: None

    def of(self, worker: Hashable) -> WorkerTotals:
        """Give what a worker has said."""
        return self._workers.setdefault(worker, WorkerTotals())

    def add(self, worker: Hashable, rows: Iterable[Row]) -> None:
        """Add what is new about totals that a worker says. Some 3 µs for each service."""
        totals = self.of(worker)
        for name, incarnation, removed, up, down, opened, live, sources, errors, keys in rows:
            said = totals.by_incarnation.get(incarnation)
            if said is None:
                service = self._find(name, incarnation, removed)
                said = totals.by_incarnation[incarnation] = totals.by_service[service] = _Said(service, incarnation)
            service = said.service
            service.opened += max(opened - said.opened, 0)
            came, said.live = live - said.live, live
            said.sources, said.keys = sources, keys
            more_up, more_down = up - said.up, down - said.down
            said.up, said.down, said.opened = max(up, said.up), max(down, said.down), max(opened, said.opened)
            if errors != said.errors:
                said.errors = errors
                service.listen_errors = tuple(
                    dict.fromkeys(error for each in self._said_of(service) for error in each.errors)
                )
            if more_up > 0:
                service.up.add(more_up)
            if more_down > 0:
                service.down.add(more_down)
            self._count(service, came)
            self.changed(service)
            if removed and not live:
                totals.gone(said)

    def lost(self, worker: Hashable) -> None:
        """Take off the live sessions of a worker; its totals stay."""
        for said in self.of(worker).by_incarnation.values():
            if said.live or said.sources:
                came, said.live, said.sources, said.keys = -said.live, 0, 0, ()
                self._count(said.service, came)
                self.changed(said.service)

    def forget(self, worker: Hashable) -> None:
        """Forget a worker whose process is over; its totals stay."""
        self.lost(worker)
        del self._workers[worker]

    def beside(self, service: Service, workers: Collection[Hashable]) -> dict[str, int]:
        """Give the totals of a service without those that some workers have said."""
        said = [each for worker in workers if (each := self.of(worker).by_service.get(service)) is not None]
        return {
            "opened": service.opened - sum(each.opened for each in said),
            "bytes_up": service.up.bytes - sum(each.up for each in said),
            "bytes_down": service.down.bytes - sum(each.down for each in said),
        }

    def sources(self, service: Service) -> int:
        """Give the number of sources of a service, over all workers. A source in two workers counts twice."""
        return sum(each.sources for each in self._said_of(service))

    def keys(self, service: Service) -> list[bytes]:
        """Give the keys of sources of a service, up to 1,000 of each worker, each once."""
        return list(dict.fromkeys(key for each in self._said_of(service) for key in each.keys))

    def note_sent(self, services: Collection[Service]) -> None:
        """Note that a report has the sums of these services as they are now."""
        for service in services:
            for said in self._said_of(service):
                said.sent = said.incarnation, said.up, said.down, said.opened

    def note_acknowledged(self, services: Collection[Service]) -> None:
        """Note that the last report of these services was acknowledged, and have the workers told."""
        for worker, totals in self._workers.items():
            for service in services:
                if (said := totals.by_service.get(service)) is not None:
                    totals.settled[said.incarnation] = said.sent
            if totals.settled:
                self.settled(worker)

    def _said_of(self, service: Service) -> Iterable[_Said]:
        return [said for each in self._workers.values() if (said := each.by_service.get(service)) is not None]

    def _count(self, service: Service, came: int) -> None:
        """Count live sessions; the last one of a removed service releases it."""
        service.live += came
        if came < 0 and service.removed and not service.live:
            service.live = 1
            self._services.left(service)

    def _find(self, name: str, incarnation: int, removed: bool) -> Service:
        """Find the service here that a worker means, or make one that is no more.

        A service of an earlier control process has another incarnation here, if it is still there.
        """
        for each in self._services.named(name):
            if each.incarnation == incarnation:
                return each
        for totals in self._workers.values():
            if (said := totals.by_incarnation.get(incarnation)) is not None and said.service.name == name:
                return said.service
        present = self._services.get(name)
        if incarnation < self._first and not removed and present is not None:
            return present
        if incarnation < self._first:
            incarnation = self._services.next_incarnation()
        gone = Service(name, incarnation, Settings(), Meter(self._services.up), Meter(self._services.down))
        gone.remove()
        return gone


class SummedReports(Reports):
    """The reports of an edge in the control process."""

    __slots__ = ("sums",)

    sums: Sums
    """Set before the first service is due."""

    def compose(self, max_services: int) -> tuple[Report, list[Service]] | None:
        """See :meth:`Reports.compose`."""
        composed = super().compose(max_services)
        if composed is not None:
            self.sums.note_sent(composed[1])
        return composed

    def confirm(self, sequence: int, services: list[Service]) -> None:
        """See :meth:`Reports.confirm`."""
        super().confirm(sequence, services)
        self.sums.note_acknowledged(services)

    def _usage(self, service: Service) -> Usage:
        usage = super()._usage(service)
        return Usage(
            usage.service, usage.incarnation, usage.bytes_up, usage.bytes_down, usage.opened, usage.live,
            self.sums.sources(service), usage.listen_errors,
        )  # fmt: skip
