"""Changes are applied in short steps, with rests for the sessions in between."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from tests.support.policies import FIELDS
from tests.support.services import Governed, cut_reasons
from tests.support.steps import STEP_SECONDS, best_of_three, longest_step
from trioedge.loop.slices import REST, SLICE_SECONDS
from trioedge.services.applying.effects import Effects, Tally
from trioedge.services.applying.turn import SnapshotTurns
from trioedge.services.examine import Examiner, Found, PolicyWarnings
from trioedge.services.policy import Policy, Settings
from trioedge.services.service import Service
from trioedge.services.snapshot import Change, Plan, Snapshot
from trioedge.services.stage_keys import NO_KEYS
from trioedge.session.session import Session
from trioedge.session.verdict import Reason
from trioedge.telemetry.log import EdgeLog


def many(number: int, **said: Any) -> dict[str, Settings]:
    return {f"{each}": Settings(Policy(**said)) for each in range(number)}


def make(world: Governed, snapshot: Snapshot) -> tuple[int, float, Plan, Found]:
    """Apply a snapshot, and return the number of steps, the longest of them, the plan, and what is left to do."""
    turns, tally = SnapshotTurns(), Tally()
    effects = Effects(world.services, world.registry, EdgeLog(), turns, frozenset(FIELDS))
    effects.rechecks = world.applier.rechecks
    turn = turns.receive(snapshot)
    taking, first, _ = longest_step(effects.take_away(turn, tally))
    _, _, (found, wrong) = longest_step(Examiner(world.services, NO_KEYS).examine(snapshot, PolicyWarnings(())))
    assert not wrong
    granting, longest, _ = longest_step(effects.grant(found, turn, tally))
    return taking + granting, max(first, longest), tally.plan(), found


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
        steps, longest, plan, left = make(world, Snapshot(after, allow_removal=True))
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
        steps, longest, plan, _ = make(world, Snapshot({"a": Settings(Policy(**said))}))
        assert steps >= len(sessions) == plan.evicted
        return longest

    assert await best_of_three(attempt) < STEP_SECONDS


async def test_on_an_idle_loop_a_snapshot_does_not_rest(autojump_clock: MockClock) -> None:
    world = Governed()
    await world.applier.apply(Snapshot(many(1000)))
    await world.applier.apply(Snapshot({}, allow_removal=True))
    assert trio.current_time() == 0


async def test_beside_sessions_the_work_rests_up_to_32_times_as_long_as_it_takes(autojump_clock: MockClock) -> None:
    world, ready = Governed(), trio.lowlevel.ParkingLot()

    async def serve_sessions() -> None:
        while True:
            await ready.park()

    class Client:
        def changed(self, service: Service, change: Change) -> None:
            ready.unpark_all()

    world.services.watch(Client())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_sessions)
        began = time.perf_counter()
        await world.applier.apply(Snapshot(many(1000)))
        worked = time.perf_counter() - began
        nursery.cancel_scope.cancel()
    assert trio.current_time() >= 4 * SLICE_SECONDS
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
    calls = ["changed a", "foresee c", "changed c", "foresee b", "changed b", "settle"]
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


async def test_services_are_taken_from_the_collector_each_time_that_many_are_new_or_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settled: list[str] = []
    monkeypatch.setattr("trioedge.services.apply.MANY", 3)
    monkeypatch.setattr("trioedge.services.apply.settle", lambda: settled.append("settled"))
    world, counts = Governed(), []
    for snapshot in (
        Snapshot(many(2)),
        Snapshot(many(2, session_rate=1.0)),  # 4 together
        Snapshot(many(3, session_rate=2.0)),
        Snapshot(many(1, session_rate=3.0), full=False),
        Snapshot(many(1, session_rate=3.0), full=False),
    ):
        await world.applier.apply(snapshot)
        counts.append(len(settled))
    assert counts == [0, 1, 1, 2, 2]


async def test_the_collector_has_a_turn_of_the_loop_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0
    seen: list[tuple[str, int]] = []

    class Counting(trio.abc.Instrument):
        def before_io_wait(self, timeout: float) -> None:
            nonlocal turns
            turns += 1

    class Following:
        def changed(self, service: Service, change: Change) -> None:
            seen.append(("changed", turns))

    monkeypatch.setattr("trioedge.services.apply.MANY", 0)
    monkeypatch.setattr("trioedge.services.apply.settle", lambda: seen.append(("settled", turns)))
    world = Governed()
    world.services.watch(Following())
    world.applier.on_applied.append(lambda: seen.append(("applied", turns)))
    trio.lowlevel.add_instrument(counting := Counting())
    await world.applier.apply(Snapshot(many(1)))
    trio.lowlevel.remove_instrument(counting)
    assert [what for what, _ in seen] == ["changed", "settled", "applied"]
    assert len({turn for _, turn in seen}) == 3


async def test_the_seconds_that_a_snapshot_took_are_logged_to_a_thousandth(mock_clock: MockClock) -> None:
    class Slow:
        def changed(self, service: Service, change: Change) -> None:
            mock_clock.jump(0.12345)

    world = Governed()
    world.services.watch(Slow())
    mock_clock.jump(100.0)
    with capture_logs() as logs:
        await world.applier.apply(Snapshot(many(1)))
    assert [each["seconds"] for each in logs if each["event"] == "snapshot applied"] == [0.123]
