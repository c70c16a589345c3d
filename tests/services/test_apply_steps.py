"""Changes are applied in short steps, with rests for the sessions in between."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from tests.support.services import Governed, cut_reasons
from tests.support.steps import STEP_SECONDS, best_of_three, longest_step
from trioedge.loop.slices import REST, SLICE_SECONDS
from trioedge.services.examine import Examiner, Found, PolicyWarnings
from trioedge.services.policy import Policy, Settings
from trioedge.services.service import Service
from trioedge.services.snapshot import Change, Plan, Snapshot
from trioedge.services.stage_keys import NO_KEYS
from trioedge.session.session import Session
from trioedge.session.verdict import Reason


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


class Faulty:
    """A watcher all of whose methods raise, or give something else than steps."""

    def __init__(self, *, raises: bool) -> None:
        self.raises = raises

    def changed(self, service: Service, change: Change) -> Any:
        return self._fail()

    def foresee(self, service: Service, after: Settings | None) -> Any:
        return self._fail()

    def settle(self) -> Any:
        return self._fail()

    def _fail(self) -> Any:
        if self.raises:
            raise RuntimeError("a mistake")
        return 5


class Following:
    """A watcher that keeps the names of its calls, and foresees one session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.calls: list[str] = []

    def changed(self, service: Service, change: Change) -> None:
        self.calls.append(f"changed {service.name}")

    def foresee(self, service: Service, after: Settings | None) -> list[Session]:
        self.calls.append(f"foresee {service.name}")
        return [self.session]

    def settle(self) -> list[None]:
        self.calls.append("settle")
        return []


@pytest.mark.parametrize("raises", [True, False])
async def test_a_watcher_that_raises_is_logged_and_the_snapshot_is_applied_whole(
    raises: bool, autojump_clock: MockClock
) -> None:
    world = Governed()
    await world.applier.apply(Snapshot({name: Settings() for name in "abc"}))
    sessions = [world.carried(name) for name in "abc"]
    first, last = Following(sessions[0]), Following(sessions[0])
    for watcher in (first, Faulty(raises=raises), last):
        world.services.watch(watcher)
    disabled, limited = Settings(Policy(enabled=False)), Settings(Policy(device_limit=3))
    snapshot = Snapshot({"a": disabled, "b": limited}, version="8")
    with capture_logs() as logs:
        plan = await world.applier.apply(snapshot)
    assert world.settings() == {"a": disabled, "b": limited}
    assert cut_reasons(*sessions) == [Reason.EVICTED, None, Reason.EVICTED]
    assert (plan.evicted, plan.rechecked, world.applier.version) == (2, 1, "8")
    calls = ["changed a", "foresee b", "changed b", "foresee c", "changed c", "settle"]
    assert first.calls == last.calls == calls
    (line,) = [entry for entry in logs if "exc_info" in entry]  # one line a second
    assert (line["event"], line["log_level"], line["watcher"]) == ("watcher failed", "error", "Faulty")
    assert (line["method"], line["service"]) == ("changed", "a")


async def test_a_watcher_whose_foresight_gives_no_session_is_logged() -> None:
    world = Governed()
    await world.let()
    session = world.carried()

    class Junk(Following):
        def foresee(self, service: Service, after: Settings | None) -> Any:
            return ["junk"]

    world.services.watch(Junk(session))
    with capture_logs() as logs:
        assert (await world.let(enabled=False, device_limit=1)).evicted == 1
    faults = [str(entry["exc_info"]) for entry in logs if "exc_info" in entry]
    assert faults == ["foresee gave 'junk'; it must give sessions and None"]
