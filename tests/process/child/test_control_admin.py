import os
import time
from collections.abc import Iterator
from math import inf
from typing import Any

import attrs
import pytest

import trioedge as te
from tests.support.admin import STATE
from trioedge.admin.refusals import RefusedError
from trioedge.process.child.control_admin import HubAsker, HubControl, Restarts, answered_here, facts_of
from trioedge.process.workers.memory import SharedMemory, shared_memory
from trioedge.process.workers.orders import Orders, order_pair
from trioedge.process.workers.slots import CONTROL, ProcessState
from trioedge.services.snapshot import Plan, Snapshot
from trioedge.telemetry.level import log_level, set_log_level
from trioedge.workers.answers import WorkerAnswers


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    found, _ = shared_memory(None, 2)
    yield found
    os.close(found.fd)


@pytest.fixture
def orders() -> Iterator[tuple[Orders, Orders]]:
    ours, theirs = order_pair()
    child = Orders(theirs)
    yield ours, child
    ours.close()
    child.close()


class FakeHub:
    """Answers as it is told to."""

    def __init__(self, answers: WorkerAnswers | None = None) -> None:
        self.answers, self.known = answers, STATE
        self.asked: list[Any] = []

    async def ask(self, edge: str, operation: str, parameters: Any) -> WorkerAnswers:
        self.asked.append((edge, operation, parameters))
        assert self.answers is not None
        return self.answers

    async def plan(self, edge: str, snapshot: Snapshot) -> Plan:
        self.asked.append(("plan", edge, snapshot))
        return Plan()

    async def apply(self, edge: str, snapshot: Snapshot) -> Plan:
        self.asked.append(("apply", edge, snapshot))
        return Plan()

    def past(self, edge: str, columns: list[int]) -> dict[str, Any]:
        return {"edge": edge, "but for columns": columns}

    def state(self, edge: str) -> te.ControlState:
        return self.known


async def test_answers_come_with_the_process_that_gave_them_and_those_that_are_missing(memory: SharedMemory) -> None:
    for number in (CONTROL, 0, 1):
        column = memory.slots.take(number, 2, time.monotonic())
        assert column is not None
        memory.slots.set_pid(column, 100 + number)
        memory.slots.set_state(column, ProcessState.READY)
    hub = FakeHub(WorkerAnswers([(0, answered_here(1, "hello"))], missing=[1, 7]))
    found = await HubAsker(hub, "a", memory.slots).ask("top", {"x": 1})  # type: ignore[arg-type]
    assert hub.asked == [("a", "top", {"x": 1})]
    (answer,) = found.given
    assert (answer.worker.number, answer.worker.pid, answer.worker.generation) == (0, 100, 2)
    assert (answer.worker.state, answer.value) == ("ready", "hello")
    assert [each.pid for each in found.missing] == [101], "a number without a process has no row"


async def test_a_level_that_an_operator_sets_is_that_of_the_control_process_too(memory: SharedMemory) -> None:
    before = log_level()
    try:
        asker = HubAsker(FakeHub(WorkerAnswers()), "a", memory.slots)  # type: ignore[arg-type]
        await asker.ask("set-log-level", {"level": "error"})
        assert log_level() == "error"
    finally:
        set_log_level(before)


def test_a_process_that_is_silent_has_a_stall(memory: SharedMemory) -> None:
    column = memory.slots.take(0, 0, time.monotonic() - 3)
    assert column is not None
    assert facts_of(memory.slots.row(column)).stall_ms == pytest.approx(3000, abs=500)
    memory.slots.beat(column, time.monotonic() + 1, 0)
    assert facts_of(memory.slots.row(column)).stall_ms == 0


async def test_workers_of_the_version_before_that_do_not_answer_are_missing_and_those_that_start_are_not(
    memory: SharedMemory,
) -> None:
    states = [ProcessState.READY, ProcessState.DRAINING, ProcessState.STARTING]
    for number, state in enumerate(states):
        column = memory.slots.take(number, number, time.monotonic())
        assert column is not None
        memory.slots.set_state(column, state)
    found = await HubAsker(FakeHub(WorkerAnswers()), "a", memory.slots).ask("top", {})  # type: ignore[arg-type]
    assert [each.number for each in found.missing] == [0, 1]


def test_a_restart_is_under_way_until_the_workers_of_the_new_version_are_ready(
    orders: tuple[Orders, Orders], memory: SharedMemory
) -> None:
    assert not Restarts(orders[1], 0, memory.slots, 2).state.under_way, "it has come by none"
    restarts = Restarts(orders[1], 1, memory.slots, 2)
    for number, generation in ((0, 0), (1, 0), (CONTROL, 1), (0, 1), (1, 1)):
        assert attrs.astuple(restarts.state) == (1, True, "")
        column = memory.slots.take(number, generation, 1.0)
        assert column is not None
        memory.slots.set_state(column, ProcessState.READY)
    assert attrs.astuple(restarts.state) == (1, False, "")
    memory.slots.free(4)
    assert not restarts.state.under_way, "a worker that dies later is no restart"


def test_a_restart_is_begun_by_the_parent_which_may_refuse_it(
    orders: tuple[Orders, Orders], memory: SharedMemory
) -> None:
    parent, child = orders
    restarts = Restarts(child, 3, memory.slots, 0)
    restarts.begin()
    assert [dict(message) for message, _ in parent.receive()] == [{"say": "restart"}]
    assert attrs.astuple(restarts.state) == (3, True, "")
    restarts.refused("no such file")
    assert attrs.astuple(restarts.state) == (3, False, "no such file")
    restarts.begin()
    assert restarts.state.refused == ""


def make_control(hub: FakeHub, ended: list[Any], restarts: Any = None, **more: Any) -> HubControl:
    edge = te.Edge("tcp://127.0.0.1:0", [te.Identify()], te.Forward("tcp://127.0.0.1:1"), **more)
    return HubControl(hub, "a", edge, lambda *each: ended.append(each), restarts)  # type: ignore[arg-type]


@pytest.mark.parametrize(("seconds", "given"), [(None, None), (5.0, 5.0), (inf, None)])
def test_a_drain_is_the_parents(seconds: float | None, given: float | None) -> None:
    ended: list[Any] = []
    make_control(FakeHub(), ended).drain(seconds)
    assert ended == [("a", given)]


async def test_snapshots_go_to_the_hub_where_a_control_plane_governs_the_services(
    orders: tuple[Orders, Orders], memory: SharedMemory
) -> None:
    hub, snapshot = FakeHub(), Snapshot({})
    restarts = Restarts(orders[1], 0, memory.slots, 2)
    governed = make_control(hub, [], restarts, control=te.MemoryControl({}))
    assert await governed.plan(snapshot) == Plan()
    assert await governed.apply(snapshot) == Plan()
    assert hub.asked == [("plan", "a", snapshot), ("apply", "a", snapshot)]
    assert governed.state() is STATE
    hub.known = attrs.evolve(STATE, applied_at=None)
    for act in (governed.plan, governed.apply):
        with pytest.raises(RefusedError, match="waits for the first snapshot") as caught:
            await act(snapshot)
        assert caught.value.status == 503
    assert governed.stage_keys is governed.edge.stage_keys
    governed.restart()
    assert governed.restarts().under_way
    alone = make_control(hub, [])
    for call in (alone.plan, alone.apply):
        with pytest.raises(RefusedError, match="without control=") as caught:
            await call(snapshot)
        assert caught.value.status == 409
