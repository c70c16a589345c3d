import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from time import perf_counter

import pytest
import trio
import trio.testing
from trio.testing import MockClock, assert_checkpoints

from trioedge.loop import slices
from trioedge.loop.slices import REST, SLICE_SECONDS, Stepwise, in_slices

STEP = SLICE_SECONDS / 8


class Machine:
    """A machine whose clock moves only when it works, and how much was done whenever another task ran."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        self.closed = False
        self.seen: list[float] = []
        self.lot = trio.lowlevel.ParkingLot()
        monkeypatch.setattr(slices, "perf_counter", lambda: self.seconds)

    def work(self, steps: int, seconds: float = STEP, fault: Exception | None = None) -> Stepwise[str]:
        try:
            for _ in range(steps):
                self.seconds += seconds
                yield
            if fault is not None:
                raise fault
            return "done"
        finally:
            self.closed = True

    def waking(self, steps: int, seconds: float = STEP) -> Stepwise[str]:
        """Work so that each step makes another task ready, as if a client had sent something."""
        for _ in self.work(steps, seconds):
            self.lot.unpark_all()
            yield
        return "done"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[None]:
        """Have another task that has work whenever it is made ready, and several times in each rest.

        It notes how much was done before each turn.
        """

        async def serve() -> None:
            while True:
                with trio.move_on_after(0.003):
                    await self.lot.park()
                self.seen.append(self.seconds)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await trio.lowlevel.checkpoint()
            yield
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def timer(self) -> AsyncIterator[None]:
        """Have another task that has work when it is made ready."""

        async def serve() -> None:
            while True:
                await self.lot.park()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await trio.lowlevel.checkpoint()
            yield
            nursery.cancel_scope.cancel()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


async def test_short_work_costs_a_checkpoint_and_no_rest(machine: Machine, autojump_clock: MockClock) -> None:
    with assert_checkpoints():
        assert await in_slices(machine.work(7)) == "done"
    assert trio.current_time() == 0


async def test_no_work_at_all_costs_a_checkpoint_too(machine: Machine) -> None:
    with assert_checkpoints():
        assert await in_slices(machine.work(0)) == "done"


async def test_alone_the_work_does_not_rest(machine: Machine, autojump_clock: MockClock) -> None:
    assert await in_slices(machine.work(800)) == "done"
    assert trio.current_time() == 0


async def test_beside_a_task_that_has_work_rests_are_32_times_longer_than_the_slices(
    machine: Machine, autojump_clock: MockClock
) -> None:
    async with machine.client():
        assert await in_slices(machine.waking(800)) == "done"
    assert trio.current_time() == pytest.approx(REST * machine.seconds, rel=0.1)
    seen = sorted({*machine.seen, machine.seconds})
    assert len(seen) >= 100
    assert max(later - earlier for earlier, later in pairwise(seen)) < SLICE_SECONDS + 2 * STEP


async def test_after_a_long_step_the_rest_is_longer(machine: Machine, autojump_clock: MockClock) -> None:
    def work() -> Stepwise[None]:
        yield from machine.waking(80)
        yield from machine.waking(1, seconds=0.1)

    async with machine.client():
        await in_slices(work())
    assert trio.current_time() == pytest.approx(REST * 0.1, rel=0.1)


async def test_a_task_that_has_work_during_the_rests_earns_further_rests(
    machine: Machine, autojump_clock: MockClock
) -> None:
    async def come_now_and_then() -> None:
        while True:
            await trio.sleep(0.003)  # several times in each rest

    def work() -> Stepwise[None]:
        yield from machine.waking(80)
        yield from machine.work(800)

    async with machine.timer(), trio.open_nursery() as nursery:
        nursery.start_soon(come_now_and_then)
        await in_slices(work())
        nursery.cancel_scope.cancel()
    assert trio.current_time() == pytest.approx(REST * machine.seconds, rel=0.1)


async def test_once_the_other_task_has_no_work_any_more_the_rests_end(
    machine: Machine, autojump_clock: MockClock
) -> None:
    def work() -> Stepwise[None]:
        yield from machine.waking(80)
        yield from machine.work(8000)

    async with machine.timer():
        await in_slices(work())
    assert trio.current_time() <= 15 * REST * (SLICE_SECONDS + STEP)


async def test_a_timer_now_and_then_is_no_load(machine: Machine, autojump_clock: MockClock) -> None:
    def work() -> Stepwise[None]:
        for _ in range(slices.FEW_TURNS - 1):
            yield from machine.work(80)
            yield from machine.waking(1)

    async with machine.timer():
        await in_slices(work())
    assert trio.current_time() == 0


@pytest.mark.parametrize("rest", [0, REST])
async def test_two_tasks_with_long_work_take_turns_and_do_not_rest_for_each_other(
    machine: Machine, autojump_clock: MockClock, rest: float
) -> None:
    order: list[int] = []

    def work(number: int) -> Stepwise[None]:
        for _ in range(400):
            machine.seconds += STEP
            order.append(number)
            yield

    async with trio.open_nursery() as nursery:
        for number in range(2):
            nursery.start_soon(partial(in_slices, work(number), rest=rest))
    assert trio.current_time() == 0
    changes = sum(earlier != later for earlier, later in pairwise(order))
    assert changes >= 25, "of a hundred slices: Trio shuffles tasks"


async def test_with_rest_0_other_tasks_still_run_between_slices(machine: Machine, autojump_clock: MockClock) -> None:
    async with machine.client():
        assert await in_slices(machine.waking(800), rest=0) == "done"
    assert trio.current_time() == 0
    assert len({*machine.seen}) >= 100


async def test_tasks_are_counted_only_while_work_is_long(machine: Machine) -> None:
    await in_slices(machine.work(100))
    load = slices._present_load()
    turns = load.turns
    for _ in range(5):
        await trio.lowlevel.checkpoint()
    assert load.turns == turns


@pytest.mark.parametrize("steps", [0, 3, 100])
async def test_an_exception_of_the_work_is_raised(machine: Machine, autojump_clock: MockClock, steps: int) -> None:
    fault = LookupError("no such entry")
    with pytest.raises(LookupError) as raised:
        await in_slices(machine.work(steps, fault=fault))
    assert raised.value is fault


async def test_after_a_cancel_the_work_is_closed_in_the_middle(machine: Machine, autojump_clock: MockClock) -> None:
    steps = machine.waking(100_000)
    async with machine.client():
        with trio.move_on_after(1.0) as scope:
            await in_slices(steps)
    assert scope.cancelled_caught
    assert machine.closed
    assert machine.seconds == pytest.approx(1.0 / REST, rel=0.3)
    assert inspect.getgeneratorstate(steps) == inspect.GEN_CLOSED


async def test_work_that_is_cancelled_before_it_begins_is_closed(machine: Machine) -> None:
    steps = machine.work(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await in_slices(steps)
    assert machine.seconds == 0
    assert inspect.getgeneratorstate(steps) == inspect.GEN_CLOSED


async def test_other_tasks_run_on_a_real_clock_too() -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    def spin() -> Stepwise[None]:
        ends = perf_counter() + 40 * SLICE_SECONDS
        while perf_counter() < ends:
            yield

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        began = trio.current_time()
        await in_slices(spin())
        assert trio.current_time() - began >= 30 * SLICE_SECONDS
        nursery.cancel_scope.cancel()
    assert turns > 10
