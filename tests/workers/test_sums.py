"""Totals over several workers, as the control plane gets them."""

import trio
import trio.testing
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import trioedge as te
from tests.support.worker_edges import by_source, counted, make_control, talk
from tests.support.workers import open_workers
from trioedge.services.policy import Settings
from trioedge.services.service import Service
from trioedge.services.services import Services
from trioedge.services.snapshot import Change
from trioedge.session.meter import Total
from trioedge.workers.sums import Row, Sums


async def test_totals_of_workers_are_added_up(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        for number in range(2):
            await talk(world, number, f"192.0.2.{number}")
        await trio.sleep(6)
        totals = control.totals("shop")
        assert (totals.bytes_up, totals.bytes_down, totals.opened, totals.live, totals.sources) == (8, 8, 2, 2, 2)
        assert len({report.epoch for report in control.reports}) == 1


async def test_the_totals_of_a_dead_worker_stay_and_its_sessions_do_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        await talk(world, 0)
        await talk(world, 1)
        await trio.sleep(1.5)
        world.workers[0].scope.cancel()
        await trio.sleep(6)
        assert counted(control) == (8, 2, 1)
        world.add_worker(column=0, generation=1)  # in its place
        await world.workers[2].serving.wait()
        await talk(world, 2)
        await trio.sleep(6)
        assert counted(control) == (12, 3, 2)


async def test_a_lost_connection_counts_nothing_twice(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        await talk(world, 0)
        for pause in (0.3, 1, 3, 5):
            await trio.sleep(pause)
            world.cut_connections()
            await talk(world, 0)
        await trio.sleep(45)  # the pauses of reports that failed grow to half a minute
        assert counted(control) == (20, 5, 5)


async def test_the_last_totals_of_a_removed_service_are_reported(autojump_clock: trio.testing.MockClock) -> None:
    control = make_control()
    async with open_workers(by_source, control) as world:
        await talk(world, 0)
        await talk(world, 1)
        await control.remove("shop")
        await control.put("shop", te.Policy())
        await talk(world, 1)
        await trio.sleep(8)
        assert counted(control) == (12, 3, 1)
        assert len({usage.incarnation for report in control.reports for usage in report.services}) == 2


# The sums alone.


class Model(RuleBasedStateMachine):
    """Workers that say growing totals, are lost, come back and die; the sums are those of all that was said."""

    def __init__(self) -> None:
        super().__init__()
        self.services = Services(Total(), Total(), governed=True, first=100)
        self.sums = Sums(self.services, 100)
        self.services.apply(Change("shop", None, Settings()), None)
        self.totals: dict[int, list[int]] = {}  # of each worker that lives: up, opened, live
        self.lost: set[int] = set()
        self.dead_up = self.dead_opened = 0

    @rule(worker=st.integers(0, 3), up=st.integers(0, 9), came=st.integers(0, 3), live=st.integers(0, 5))
    def says(self, worker: int, up: int, came: int, live: int) -> None:
        mine = self.totals.setdefault(worker, [0, 0, 0])
        mine[0] += up
        mine[1] += came
        mine[2] = live
        self.lost.discard(worker)
        self._say(worker)

    @precondition(lambda self: self.totals)
    @rule(data=st.data())
    def says_it_twice(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.totals)))
        self.lost.discard(worker)
        self._say(worker)

    @rule(worker=st.integers(0, 3))
    def is_lost(self, worker: int) -> None:
        self.sums.lost(worker)
        if worker in self.totals:
            self.lost.add(worker)

    @rule(worker=st.integers(0, 3))
    def dies(self, worker: int) -> None:
        self.sums.forget(worker)
        up, opened, _ = self.totals.pop(worker, [0, 0, 0])
        self.lost.discard(worker)
        self.dead_up += up
        self.dead_opened += opened

    def _say(self, worker: int) -> None:
        up, opened, live = self.totals[worker]
        self.sums.add(worker, [("shop", 100, False, up, 0, opened, live, live, (), ())])

    @invariant()
    def the_sums_are_right(self) -> None:
        shop = self.services.get("shop")
        assert shop is not None
        lives = [each for worker, each in self.totals.items() if worker not in self.lost]
        assert shop.up.bytes == self.dead_up + sum(up for up, _, _ in self.totals.values()) == self.services.up.bytes
        assert shop.opened == self.dead_opened + sum(opened for _, opened, _ in self.totals.values())
        assert shop.live == sum(live for _, _, live in lives) == self.sums.sources(shop)


TestModel = Model.TestCase


def make_sums() -> tuple[Services, Sums]:
    services = Services(Total(), Total(), governed=True, first=100)
    services.apply(Change("shop", None, Settings()), None)
    return services, Sums(services, 100)


def row(incarnation: int, up: int, *, live: int = 0, removed: bool = False, name: str = "shop") -> Row:
    return name, incarnation, removed, up, 0, 1, live, live, (), ()


def test_a_removed_service_is_gone_with_the_last_session_of_any_worker() -> None:
    services, sums = make_sums()
    gone: list[Service] = []
    services.on_gone.append(gone.append)
    sums.add("one", [row(100, 5, live=1)])
    sums.add("two", [row(100, 5, live=1)])
    shop = services.get("shop")
    assert shop is not None
    services.apply(Change("shop", Settings(), None), None)
    sums.add("one", [row(100, 6, removed=True)])
    assert gone == []
    sums.add("two", [row(100, 7, removed=True)])
    assert gone == [shop]
    assert shop.up.bytes == 13
    sums.add("two", [row(100, 8, removed=True)])
    assert (gone, shop.up.bytes) == ([shop], 14), "late bytes count all the same"


def test_a_service_of_an_earlier_control_process_is_the_present_one_of_its_name_unless_it_was_removed() -> None:
    services, sums = make_sums()
    changed: list[Service] = []
    sums.changed = changed.append
    shop = services.get("shop")
    sums.add("one", [row(7, 5), row(8, 3, removed=True), row(9, 1, name="never")])
    assert changed[0] is shop
    assert [(each.name, each.up.bytes, each.removed) for each in changed[1:]] == [("shop", 3, True), ("never", 1, True)]
    assert len({each.incarnation for each in changed}) == 3, "no two have one incarnation"


def test_a_worker_is_told_what_was_in_the_report_that_was_acknowledged() -> None:
    services, sums = make_sums()
    told: list[object] = []
    sums.settled = told.append
    shop = services.get("shop")
    assert shop is not None
    sums.add("one", [row(100, 5)])
    sums.note_sent([shop])
    sums.add("one", [row(100, 9)])
    assert sums.of("one").settled == {}
    sums.note_acknowledged([shop])
    assert (told, sums.of("one").settled) == (["one"], {100: (100, 5, 0, 1)})
