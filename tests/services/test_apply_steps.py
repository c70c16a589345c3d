"""Changes are applied in short steps, with rests for the sessions in between."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.support.services import Governed
from tests.support.steps import STEP_SECONDS, best_of_three, longest_step
from trioedge.loop.slices import REST, SLICE_SECONDS
from trioedge.services.examine import Examiner, Found, PolicyWarnings
from trioedge.services.policy import Policy, Settings
from trioedge.services.snapshot import Plan, Snapshot
from trioedge.services.stage_keys import NO_KEYS


def many(number: int, **said: Any) -> dict[str, Settings]:
    return {f"{each}": Settings(Policy(**said)) for each in range(number)}


def converge(world: Governed, snapshot: Snapshot) -> tuple[int, float, Plan, Found]:
    """Apply a snapshot, and return the number of steps, the longest of them, the plan, and what is left to do."""
    examiner = Examiner(world.services, NO_KEYS)
    _, _, (found, wrong) = longest_step(examiner.examine(snapshot, PolicyWarnings(())))
    assert not wrong
    return *longest_step(world.applier._converge(found, dry_run=False)), found


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, many(2000)), (many(2000), many(2000, session_rate=1.0)), (many(2000), {})],
    ids=["added", "changed", "removed"],
)
async def test_no_step_is_long_if_2_000_services_change(
    before: dict[str, Settings], after: dict[str, Settings]
) -> None:
    async def attempt() -> float:
        world = Governed()
        await world.applier.apply(Snapshot(before))
        steps, longest, plan, left = converge(world, Snapshot(after))
        assert steps >= 2000
        assert len(plan.added) + len(plan.removed) + len(plan.changed) == 2000
        assert not left, "changes are freed as they are applied"
        return longest

    assert await best_of_three(attempt) < STEP_SECONDS


@pytest.mark.parametrize("said", [{"enabled": False}, {"accept": ("198.51.100.1",)}], ids=["evicted", "judged"])
async def test_sessions_are_cut_one_in_each_step(said: Mapping[str, Any]) -> None:
    async def attempt() -> float:
        world = Governed()
        await world.let()
        sessions = [world.carried(source=f"192.0.2.{number % 9}") for number in range(1000)]
        steps, longest, plan, _ = converge(world, Snapshot({"a": Settings(Policy(**said))}))
        assert steps >= len(sessions) == plan.evicted
        return longest

    assert await best_of_three(attempt) < STEP_SECONDS


async def test_while_an_edge_serves_the_work_rests_up_to_32_times_as_long_as_it_takes(
    autojump_clock: MockClock,
) -> None:
    world = Governed()
    await world.applier.apply(Snapshot(many(1000)))
    assert trio.current_time() == 0, "before that there is no session that would wait"
    world.applier.serving()
    began = time.perf_counter()
    await world.applier.apply(Snapshot({}))
    worked = time.perf_counter() - began
    assert trio.current_time() >= REST * SLICE_SECONDS
    assert trio.current_time() <= REST * worked
