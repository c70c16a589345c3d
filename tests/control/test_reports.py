"""Reports that are lost, repeated or late, and restarts: the sums of a control plane are exactly the usage."""

from collections import Counter, defaultdict
from itertools import count
from typing import Any

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.strategies import examples, keys
from tests.support.services import Tenants
from trioedge.control import reports as report_module
from trioedge.control.reports import Reports
from trioedge.services.policy import Settings
from trioedge.services.report import Report, Usage
from trioedge.services.service import Service
from trioedge.services.services import Services
from trioedge.services.snapshot import Change
from trioedge.session.meter import Total
from trioedge.session.session import Session


class Edge:
    """The part of an edge that reports: services, their sessions, and the reports that are due."""

    def __init__(self, epoch: str = "1") -> None:
        self.tenants = Tenants()
        self.services, self.registry = self.tenants.services, self.tenants.registry
        self.reports = Reports("edge", epoch)
        self.services.on_traffic.append(self.reports.mark)
        self.services.on_gone.append(self.reports.gone)

    def add(self, name: str) -> Service:
        return self.services.apply(Change(name, None, Settings()), None)

    def remove(self, name: str) -> None:
        self.services.apply(Change(name, Settings(), None), None)

    def come(self, name: str, source: str = "192.0.2.1") -> Session:
        return self.tenants.come(name, source)

    def compose(self, max_services: int = 1000) -> tuple[Report, list[Service]]:
        composed = self.reports.compose(max_services)
        assert composed is not None
        return composed

    def report(self) -> tuple[Usage, ...]:
        """Give the usage of the next report, which is acknowledged."""
        report, services = self.compose()
        self.reports.confirm(report.sequence, services)
        return report.services


class Plane:
    """A control plane by the contract: of each incarnation it keeps the usage with the highest sequence."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str, str, int], tuple[int, Usage]] = {}

    def store(self, report: Report) -> None:
        for usage in report.services:
            key = report.edge, report.epoch, usage.service, usage.incarnation
            if key not in self.kept or self.kept[key][0] < report.sequence:
                self.kept[key] = report.sequence, usage

    def totals(self) -> dict[str, tuple[int, int, int, int]]:
        sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for _, usage in self.kept.values():
            sums[usage.service].update({name: getattr(usage, name) for name in COUNTS})
        return {service: tuple(total[name] for name in COUNTS) for service, total in sums.items()}  # type: ignore[misc]


COUNTS = ("bytes_up", "bytes_down", "opened", "live")


class ReportsMachine(RuleBasedStateMachine):
    """Traffic, services that come and go, and a network and a control plane that fail in every way."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs = count(1)
        self.edge = Edge(str(next(self.epochs)))
        self.live: list[Session] = []
        self.used: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.plane = Plane()
        self.durable = Plane()
        """The content of the control plane's disk: all that it acknowledged, and maybe more."""
        self.on_the_way: list[Report] = []
        """Reports that may arrive, any number of times and in any order."""
        self.under_way: tuple[Report, list[Service]] | None = None

    # Traffic.

    @rule(name=keys)
    def add(self, name: str) -> None:
        if name not in self.edge.services:
            self.edge.add(name)

    @rule(name=keys)
    def remove(self, name: str) -> None:
        if name in self.edge.services:
            self.edge.remove(name)

    @rule(name=keys)
    def come(self, name: str) -> None:
        if name in self.edge.services:
            self.live.append(self.edge.come(name))
            self.used[name]["opened"] += 1

    @precondition(lambda self: self.live)
    @rule(data=st.data(), up=st.integers(0, 9), down=st.integers(0, 9))
    def send(self, data: st.DataObject, up: int, down: int) -> None:
        service = data.draw(st.sampled_from(self.live)).service
        for meter, number in zip((service.up, service.down), (up, down), strict=True):
            if number:
                meter.add(number)
        self.used[service.name].update({"bytes_up": up, "bytes_down": down})

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(self.live))
        self.live.remove(session)
        self.edge.registry.remove(session)

    # The network.

    @precondition(lambda self: self.under_way is None)
    @rule(max_services=st.integers(1, 3))
    def compose(self, max_services: int) -> None:
        self.under_way = self.edge.reports.compose(max_services)
        if self.under_way is not None:
            self.on_the_way.append(self.under_way[0])

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        """Any report that was sent arrives: again, or late."""
        self.plane.store(data.draw(st.sampled_from(self.on_the_way)))

    @precondition(lambda self: self.under_way is not None)
    @rule()
    def acknowledge(self) -> None:
        assert self.under_way is not None
        report, services = self.under_way
        for plane in (self.plane, self.durable):
            plane.store(report)
        self.edge.reports.confirm(report.sequence, services)
        assert self.edge.reports.acknowledged == report.sequence
        self.under_way = None

    @precondition(lambda self: self.under_way is not None)
    @rule()
    def lose(self) -> None:
        """The report or its acknowledgement is lost."""
        assert self.under_way is not None
        self.edge.reports.lost(self.under_way[1])
        self.under_way = None

    @rule()
    def restart_the_plane(self) -> None:
        """The control plane forgets all that it has not acknowledged."""
        self.plane.kept = dict(self.durable.kept)

    @rule()
    def restart_the_edge(self) -> None:
        """A stop in order: sessions end, and the last report is acknowledged."""
        self.end()
        self.edge = Edge(str(next(self.epochs)))

    def end(self) -> None:
        for session in self.live:
            self.edge.registry.remove(session)
        self.live.clear()
        if self.under_way is not None:
            self.lose()
        while self.edge.reports:
            self.compose(2)
            self.acknowledge()

    def teardown(self) -> None:
        self.end()
        for plane in (self.plane, self.durable):
            used = {name: tuple(total[each] for each in COUNTS) for name, total in self.used.items() if total}
            assert {name: total for name, total in plane.totals().items() if name in used} == used
            assert all(not any(total) for name, total in plane.totals().items() if name not in used)


TestReports = ReportsMachine.TestCase
TestReports.settings = examples(80, steps=40)


def test_a_report_says_which_listeners_of_a_service_are_not_open() -> None:
    edge = Edge()
    shop = edge.add("shop")
    shop.listen_errors = ("cannot listen on tcp://0.0.0.0:20001: in use",)
    edge.reports.mark(shop)
    (usage,) = edge.report()
    assert usage.listen_errors == ("cannot listen on tcp://0.0.0.0:20001: in use",)


def test_a_report_has_bytes_sessions_and_sources_of_its_services() -> None:
    edge = Edge("8c1")
    shop = edge.add("shop")
    for source in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        edge.come("shop", source)
    shop.up.add(3)
    shop.down.add(40)
    report, services = edge.compose()
    assert report == Report("edge", "8c1", 1, (Usage("shop", shop.incarnation, 3, 40, opened=3, live=3, sources=2),))
    assert services == [shop]
    assert (edge.reports.sequence, edge.reports.acknowledged) == (1, 0)
    edge.reports.confirm(1, services)
    assert (edge.reports.sequence, edge.reports.acknowledged) == (1, 1)


def test_a_service_that_does_not_change_is_not_reported_again() -> None:
    edge = Edge()
    edge.add("idle")
    shop = edge.add("shop")
    edge.come("shop")
    assert [usage.service for usage in edge.report()] == ["shop"]
    assert (edge.reports.compose(9), len(edge.reports)) == (None, 0)
    shop.up.add(1)
    shop.up.add(1)
    assert len(edge.reports) == 1
    assert [usage.bytes_up for usage in edge.report()] == [2]
    assert edge.reports.compose(9) is None
    assert edge.reports.sequence == 2, "a report that is not composed has no sequence"


def test_a_service_that_changes_while_its_report_is_under_way_is_due_again() -> None:
    edge = Edge()
    shop = edge.add("shop")
    edge.come("shop")
    report, services = edge.compose()
    shop.down.add(5)
    assert not edge.reports, "a service is in one report at a time"
    edge.reports.confirm(report.sequence, services)
    assert [usage.bytes_down for usage in edge.report()] == [5]


def test_a_report_that_is_lost_is_composed_again_with_the_next_sequence() -> None:
    edge = Edge()
    edge.add("shop")
    edge.come("shop")
    first, services = edge.compose()
    edge.reports.lost(services)
    again, _ = edge.compose()
    assert again == attrs.evolve(first, sequence=2)
    assert edge.reports.acknowledged == 0


def test_a_report_has_the_services_that_changed_first_up_to_its_limit() -> None:
    edge = Edge()
    for name in "abcde":
        edge.add(name)
        edge.come(name)
    names = []
    while edge.reports:
        report, _ = edge.compose(2)
        names.append([usage.service for usage in report.services])
    assert names == [["a", "b"], ["c", "d"], ["e"]]


@pytest.mark.parametrize("comes_back", [False, True])
def test_the_last_totals_of_a_removed_service_are_reported(comes_back: bool) -> None:
    edge = Edge()
    first = edge.add("shop")
    session = edge.come("shop")
    edge.report()
    edge.remove("shop")
    first.up.add(7)
    edge.registry.remove(session)
    expected: list[tuple[Any, ...]] = [("shop", first.incarnation, 7, 0, 1, 0, 0)]
    if comes_back:
        second = edge.add("shop")
        assert second.incarnation != first.incarnation
        edge.come("shop")
        expected.append(("shop", second.incarnation, 0, 0, 1, 1, 1))
    assert [attrs.astuple(usage)[:7] for usage in edge.report()] == expected


def test_of_too_many_removed_services_the_totals_of_the_first_are_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(report_module, "MAX_GONE", 2)
    services = Services(Total(), Total(), governed=True)
    reports = Reports("edge", "1")
    services.on_traffic.append(reports.mark)
    kept: list[bool] = []
    services.on_gone.append(lambda service: kept.append(reports.gone(service)))

    def come_and_go(name: str) -> None:
        service = services.apply(Change(name, None, Settings()), None)
        services.entered(service)
        services.left(service)
        services.apply(Change(name, Settings(), None), None)

    for name in "ab":
        come_and_go(name)
    composed = reports.compose(1)
    assert composed is not None
    assert [usage.service for usage in composed[0].services] == ["a"]
    come_and_go("c")
    come_and_go("d")
    assert kept == [True, True, False, False], "a is in a report under way, so b and c are dropped"
    reports.lost(composed[1])
    composed = reports.compose(9)
    assert composed is not None
    assert [usage.service for usage in composed[0].services] == ["d", "a"]
    reports.confirm(2, composed[1])
    for name in "ef":
        come_and_go(name)
    assert kept[4:] == [True, True], "a service whose usage is acknowledged takes no room"
