"""A quota over several workers: examples, and models of workers that count, die and are told of corrections."""

from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.strategies import examples
from tests.support.services import Tenants
from tests.support.shared_memory import small_limits
from trioedge.services.policy import Policy
from trioedge.services.service import USED_UP, Service
from trioedge.services.terms.shared_quota import LOOK_BYTES, TICK_SECONDS, SharedQuotas
from trioedge.services.terms.terms import Terms
from trioedge.session.meter import Meter
from trioedge.structures.shared.limits import SharedLimits
from trioedge.structures.shared.quota_rows import MOST

CONTROL = 7
CHUNK = 65_536


class Process(Tenants):
    """The services of one process.

    Attributes:
        terms: its quotas.
        wakes: how often its worker was woken.
    """

    def __init__(self, memory: SharedLimits, column: int, *, reported: bool = True) -> None:
        quotas = SharedQuotas(memory.of("edge", column, 0.0).quotas, corrects=column == CONTROL)
        self.terms, self.wakes = Terms(reported=reported, shared=quotas), 0
        self.terms.wake = self._wake
        super().__init__(terms=self.terms)

    def _wake(self) -> None:
        self.wakes += 1

    def look(self) -> list[str]:
        """Do what the worker of terms does, and give the services whose sessions it cuts."""
        for _ in self.terms.look():
            pass
        return [service.name for service in iter(self.terms.take, None)]


class World:
    """A control process and workers; a policy comes to the control process first."""

    def __init__(self, workers: int = 2, *, reported: bool = True) -> None:
        self.memory = small_limits()
        self.control = Process(self.memory, CONTROL, reported=reported)
        self.workers = [Process(self.memory, column) for column in range(workers)]

    @property
    def all(self) -> list[Process]:
        return [self.control, *self.workers]

    def let(self, name: str = "shop", **policy: Any) -> list[Service]:
        """Apply a policy, and give the service of each worker."""
        return [process.put(name, Policy(**policy)) for process in self.all][1:]

    def used(self, name: str = "shop") -> set[int]:
        return {process.services.named(name)[0].quota_used for process in self.all}


def test_the_bytes_of_all_workers_count_and_each_process_knows_the_sum() -> None:
    world = World()
    one, other = world.let(quota_bytes=10**9, quota_used=100)
    one.up.add(3)
    one.down.add(4)
    other.down.add(1_000)
    assert world.used() == {1_107}


def test_the_worker_that_uses_the_quota_up_cuts_at_once_and_the_others_at_their_next_look() -> None:
    world = World(3)
    one, other, third = world.let(quota_bytes=100, quota_used=10)
    one.up.add(45)
    other.up.add(44)
    assert [process.look() for process in world.all] == [[], [], [], []]
    other.down.add(1)
    assert (one.over, other.over, third.over) == (None, USED_UP, None)
    assert world.workers[1].wakes >= 1
    assert [process.look() for process in world.workers] == [["shop"]] * 3
    assert world.control.look() == ["shop"]
    assert one.refusal is third.refusal is USED_UP is one.up.refusal
    assert [process.look() for process in world.all] == [[], [], [], []]


def test_a_worker_that_moves_bytes_notices_without_a_tick() -> None:
    world = World()
    one, other = world.let(quota_bytes=100)
    one.up.add(100)
    other.up.add(9)
    assert other.over is None, "it looks at the count of all after a sixth of what was left"
    other.up.add(9)
    assert other.over is USED_UP


def test_a_worker_looks_for_news_at_each_tick_while_it_has_a_shared_count() -> None:
    world = World()
    terms = world.workers[0].terms
    assert terms.next_look() == float("inf")
    wakes = world.workers[0].wakes
    world.let(quota_bytes=100)
    assert (terms.next_look(), world.workers[0].wakes) == (TICK_SECONDS, wakes + 1)
    for process in world.all:
        process.remove("shop")
    assert terms.next_look() == float("inf")


def test_a_raised_quota_and_a_new_period_admit_again_in_every_worker() -> None:
    world = World()
    one, other = world.let(quota_bytes=100)
    one.up.add(100)
    world.workers[1].look()
    world.let(quota_bytes=200)
    assert one.over is other.over is None
    other.up.add(100)
    world.workers[0].look()
    assert one.over is other.over is USED_UP
    for process in world.all:
        quota = process.services.named("shop")[0].quota
        assert quota is not None
        for worker in world.workers:
            told = worker.services.named("shop")[0].quota
            assert told is not None
            told.note_sent()
        quota.note_sent()
    world.let(quota_bytes=200, quota_used=200)
    assert one.over is other.over is USED_UP
    world.let(quota_bytes=200, quota_used=0)
    assert one.over is other.over is None
    assert world.used() == {0}


def test_a_policy_that_is_applied_again_does_not_refill_and_one_correction_is_made_once() -> None:
    world = World(3, reported=False)
    services = world.let(quota_bytes=1_000, quota_used=3)
    for service in services:
        service.up.add(10)
    world.let(quota_bytes=1_000, quota_used=3, session_rate=5)
    assert world.used() == {33}
    world.let(quota_bytes=1_000, quota_used=500)
    assert world.used() == {500}
    world.let(quota_used=500)
    services[0].up.add(5)
    world.let(quota_bytes=1_000, quota_used=500)
    assert world.used() == {505}


def test_the_bytes_of_a_worker_that_died_stay_counted_and_its_successor_begins_with_none() -> None:
    world = World()
    one, other = world.let(quota_bytes=100)
    one.up.add(40)
    world.memory.release(0)
    assert other.quota_used == 40
    world.workers[0] = Process(world.memory, 0)
    one, other = world.let(quota_bytes=100)
    assert one.quota_used == 40
    one.up.add(59)
    assert one.over is None
    one.up.add(1)
    assert one.over is USED_UP


def test_a_control_process_that_is_replaced_goes_on_with_the_count_and_its_corrections() -> None:
    world = World()
    one, other = world.let(quota_bytes=1_000, quota_used=100)
    one.up.add(40)
    for service in (one, other):
        assert service.quota is not None
        service.quota.note_sent()
    before = world.control.services.named("shop")[0].quota
    assert before is not None
    before.note_sent()
    world.memory.release(CONTROL)
    world.control = Process(world.memory, CONTROL)
    other.up.add(5)
    world.let(quota_bytes=1_000, quota_used=100)
    assert world.used() == {145}
    world.let(quota_bytes=1_000, quota_used=0)
    assert world.used() == {5}, "a new period, and no report has had 5"


def test_a_service_that_is_removed_and_named_again_begins_anew_though_a_worker_is_late() -> None:
    world = World()
    one, other = world.let(quota_bytes=100)
    one.up.add(60)
    world.control.remove("shop")
    world.control.put("shop", Policy(quota_bytes=100, quota_used=7))
    other.up.add(60)
    assert world.control.services.named("shop")[0].quota_used == 7
    for worker in world.workers:
        worker.remove("shop")
    one, other = world.let(quota_bytes=100, quota_used=7)
    assert world.used() == {7}
    other.up.add(93)
    assert other.over is USED_UP


def test_a_service_without_room_in_memory_is_counted_by_each_worker_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.shared_memory.FEW_ROWS", 16)
    world = World()
    for number in range(16):
        world.let(f"service{number}", quota_bytes=100)
    one, other = world.let(quota_bytes=100)
    one.up.add(60)
    other.up.add(60)
    assert (one.over, other.over, one.quota_used) == (None, None, 60)
    one.up.add(40)
    assert (one.over, other.over) == (USED_UP, None)
    for process in world.all:
        process.remove("shop")


def test_news_that_a_worker_has_missed_are_made_up_for() -> None:
    world = World()
    for number in range(200):
        one, _ = world.let(f"service{number}", quota_bytes=1)
        one.up.add(1)
    assert len(world.workers[1].look()) == 200


def test_a_quota_that_is_taken_away_costs_no_call_and_bytes_count_on() -> None:
    world = World()
    one, _ = world.let(quota_bytes=1_000)
    one.up.add(10)
    world.let()
    assert not one.up.quiet
    one.up.add(10)
    world.let(quota_bytes=1_000)
    assert world.used() == {20}


def test_the_largest_numbers_are_no_fault() -> None:
    world = World(reported=False)
    one, _ = world.let(quota_bytes=10**30, quota_used=10**29)
    one.up.add(5)
    assert one.quota_used == MOST + 5
    world.let(quota_bytes=10**30, quota_used=10**28)
    assert one.quota_used == MOST + 5, "both are the largest number"


@examples(60)
@given(
    st.integers(1, 5_000_000),
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, CHUNK)), min_size=1, max_size=60),
    st.integers(1, 40),
)
def test_workers_stop_at_the_quota_and_before_they_have_moved_more_than_the_bound(
    quota_bytes: int, workers: int, chunks: list[tuple[int, int]], repeat: int
) -> None:
    """However their chunks mix, and if a worker does not look between two of its chunks."""
    world = World(workers)
    services = world.let(quota_bytes=quota_bytes)
    moved = 0
    for number, count in chunks * repeat:
        service = services[number % workers]
        if service.over is None:
            service.up.add(count)
            moved += count
            assert world.used() == {moved}
            if service.over is not None:
                assert moved >= quota_bytes, "no service is refused that has bytes left"
    assert moved <= quota_bytes + (workers - 1) * LOOK_BYTES + workers * CHUNK
    if moved >= quota_bytes:
        for worker in world.workers:
            worker.look()
        assert all(service.over is USED_UP for service in services)


numbers = st.integers(0, 2)


class Reported(RuleBasedStateMachine):
    """Workers tell the control process what they have moved; its reports and snapshots are late, lost or overtaken.

    At most one acknowledgement overtakes a snapshot, as the time between two reports has it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.memory = small_limits()
        self.control = self.quota(CONTROL)
        self.meters = [Meter() for _ in range(3)]
        self.workers = [self.quota(column) for column in range(3)]
        self.told = [0, 0, 0]
        self.moved = self.gone = self.lost = self.stored = 0
        self.report: int | None = None
        self.arrived = False
        self.snapshots: deque[list[int]] = deque()

    def quota(self, column: int) -> Any:
        quotas = SharedQuotas(self.memory.of("edge", column, 0.0).quotas, corrects=column == CONTROL)
        up = Meter() if column == CONTROL else self.meters[column]
        count = quotas.count("shop", up, Meter(), 0, lambda: None, reported=True)
        assert count is not None
        count.limit(10**12)
        return count

    @rule(number=numbers, count=st.integers(0, 1000))
    def bytes_move(self, number: int, count: int) -> None:
        self.meters[number].add(count)
        self.moved += count

    @rule(number=numbers)
    def a_worker_tells(self, number: int) -> None:
        self.workers[number].note_sent()
        self.told[number] = self.meters[number].bytes

    @rule(number=numbers)
    def a_worker_dies(self, number: int) -> None:
        assert self.workers[number].used >= 0, "its column has its last chunk"
        self.lost += self.meters[number].bytes - self.told[number]
        self.gone += self.told[number]
        self.memory.release(number)
        self.meters[number], self.told[number] = Meter(), 0
        self.workers[number] = self.quota(number)

    @rule()
    def the_control_process_is_replaced(self) -> None:
        self.memory.release(CONTROL)
        self.control = self.quota(CONTROL)
        self.report = None

    @rule(far=st.integers(0, 2))
    def a_report_is_sent(self, far: int) -> None:
        if self.report is None:
            self.control.note_sent()
            self.report, self.arrived = sum(self.told) + self.gone, False
        if far >= 1:
            self.a_report_arrives()
        if far >= 2:
            self.a_report_is_acknowledged()

    @rule()
    def a_report_arrives(self) -> None:
        if self.report is not None and not self.arrived:
            self.arrived, self.stored = True, self.report

    @rule()
    def a_report_is_acknowledged(self) -> None:
        if self.report is not None and self.arrived and not any(overtaken for _, overtaken in self.snapshots):
            for each in self.snapshots:
                each[1] += 1
            self.control.note_acknowledged()
            self.report = None

    @rule()
    def a_report_is_lost(self) -> None:
        self.report = None

    @rule()
    def the_control_plane_says_what_is_used(self) -> None:
        self.snapshots.append([self.stored, 0])

    @rule()
    def a_snapshot_arrives(self) -> None:
        if self.snapshots:
            said, _ = self.snapshots.popleft()
            self.control.learn(said)
            for worker in self.workers:
                worker.learn(said)

    @invariant()
    def the_count_is_what_was_moved_but_for_what_workers_had_not_told_when_they_died(self) -> None:
        assert self.moved - self.lost <= self.control.used <= self.moved

    @invariant()
    def every_process_has_the_same_count(self) -> None:
        assert {worker.used for worker in self.workers} == {self.control.used}


TestReported = Reported.TestCase
TestReported.settings = examples(60, steps=40)
