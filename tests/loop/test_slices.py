import inspect
from itertools import pairwise
from time import perf_counter

import pytest
import trio
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

    async def look(self) -> None:
        """Run as another task again and again, and note how much was done before each turn."""
        while True:
            self.seen.append(self.seconds)
            await trio.sleep(SLICE_SECONDS)

    async def look_on(self) -> None:
        """Do the same without a wait, so that the clock does not jump."""
        for _ in range(5000):
            self.seen.append(self.seconds)
            await trio.lowlevel.checkpoint()


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


async def test_rests_are_so_many_times_longer_than_the_work_and_other_tasks_run_between_slices(
    machine: Machine, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(machine.look)
        assert await in_slices(machine.work(800)) == "done"
        nursery.cancel_scope.cancel()
    assert trio.current_time() == pytest.approx(REST * machine.seconds, rel=0.02)
    seen = sorted({*machine.seen, machine.seconds})
    assert len(seen) >= 100
    assert max(later - earlier for earlier, later in pairwise(seen)) < SLICE_SECONDS + 2 * STEP


async def test_after_a_long_step_the_rest_is_longer(machine: Machine, autojump_clock: MockClock) -> None:
    await in_slices(machine.work(1, seconds=3.0))
    assert trio.current_time() == pytest.approx(REST * 3.0)


async def test_without_rests_other_tasks_still_run_between_slices(machine: Machine, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(machine.look_on)
        assert await in_slices(machine.work(800), rest=0) == "done"
        nursery.cancel_scope.cancel()
    assert trio.current_time() == 0
    assert len({*machine.seen}) > 25  # of a hundred: Trio shuffles tasks, so two slices may follow one another


@pytest.mark.parametrize("steps", [0, 3, 100])
async def test_an_exception_of_the_work_is_raised(machine: Machine, autojump_clock: MockClock, steps: int) -> None:
    fault = LookupError("no such entry")
    with pytest.raises(LookupError) as raised:
        await in_slices(machine.work(steps, fault=fault))
    assert raised.value is fault


async def test_after_a_cancel_the_work_is_closed_in_the_middle(machine: Machine, autojump_clock: MockClock) -> None:
    steps = machine.work(100_000)
    with trio.move_on_after(1.0) as scope:
        await in_slices(steps)
    assert scope.cancelled_caught
    assert machine.closed
    assert machine.seconds == pytest.approx(1.0 / (1 + REST), rel=0.3)
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
