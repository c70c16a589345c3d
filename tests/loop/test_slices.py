import inspect
from collections.abc import Generator
from itertools import pairwise
from time import perf_counter

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints

from trioedge.loop import slices
from trioedge.loop.slices import REST, SLICE_SECONDS, in_slices

STEP = SLICE_SECONDS / 8


class Machine:
    """A machine whose clock moves when it works, and what it was found doing when others had a turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        self.closed = False
        self.seen: list[float] = []
        monkeypatch.setattr(slices, "perf_counter", lambda: self.seconds)

    def work(self, steps: int, seconds: float = STEP, fault: Exception | None = None) -> Generator[None, None, str]:
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
        """Have a turn again and again, and note how much was done before it."""
        while True:
            self.seen.append(self.seconds)
            await trio.sleep(SLICE_SECONDS)

    async def look_on(self) -> None:
        """Do the same without letting the clock jump meanwhile."""
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


async def test_no_work_at_all_is_a_checkpoint_too(machine: Machine) -> None:
    with assert_checkpoints():
        assert await in_slices(machine.work(0)) == "done"


async def test_work_takes_a_fifth_of_the_time_and_others_see_each_slice(
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


async def test_a_step_that_took_long_is_rested_from_for_longer(machine: Machine, autojump_clock: MockClock) -> None:
    await in_slices(machine.work(1, seconds=3.0))
    assert trio.current_time() == pytest.approx(REST * 3.0)


async def test_without_rests_others_see_each_slice_and_wait_for_nothing(
    machine: Machine, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(machine.look_on)
        assert await in_slices(machine.work(800), rest=0) == "done"
        nursery.cancel_scope.cancel()
    assert trio.current_time() == 0
    assert len({*machine.seen}) > 25  # of a hundred: Trio shuffles tasks, so two slices may follow one another


@pytest.mark.parametrize("steps", [0, 3, 100])
async def test_what_the_work_raises_comes_out(machine: Machine, autojump_clock: MockClock, steps: int) -> None:
    fault = LookupError("no such entry")
    with pytest.raises(LookupError) as raised:
        await in_slices(machine.work(steps, fault=fault))
    assert raised.value is fault


async def test_after_a_cancel_the_work_is_closed_where_it_was(machine: Machine, autojump_clock: MockClock) -> None:
    steps = machine.work(100_000)
    with trio.move_on_after(1.0) as scope:
        await in_slices(steps)
    assert scope.cancelled_caught
    assert machine.closed
    assert machine.seconds == pytest.approx(1.0 / (1 + REST), rel=0.3)
    assert inspect.getgeneratorstate(steps) == inspect.GEN_CLOSED


async def test_work_that_was_cancelled_before_it_began_is_closed(machine: Machine) -> None:
    steps = machine.work(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await in_slices(steps)
    assert machine.seconds == 0
    assert inspect.getgeneratorstate(steps) == inspect.GEN_CLOSED


async def test_on_a_real_clock_others_have_their_turns() -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    def spin() -> Generator[None, None, None]:
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
