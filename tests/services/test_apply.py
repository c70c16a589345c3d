"""Snapshots that are applied to services with sessions, without an edge."""

from collections.abc import Mapping
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock

from tests.strategies import examples, keys
from tests.support.cancels import cancel_at_every_step
from tests.support.policies import FIELDS, HASHES, some_settings
from tests.support.services import FakeCarrier, Governed, cut_reasons
from trioedge.services.control_plane import SnapshotError
from trioedge.services.credentials import Credentials
from trioedge.services.policy import Policy, Settings
from trioedge.services.service import UNKNOWN_SERVICE, Service
from trioedge.services.snapshot import Change, Plan, Snapshot
from trioedge.session.session import Session
from trioedge.session.verdict import Reason

# The fates of live sessions.


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"enabled": False}, Reason.EVICTED),
        ({"session_rate": 1, "session_burst": 1}, None),
        ({"max_sessions": 1}, None),
        ({"down_rate": 1, "up_rate": 1}, None),
        ({"device_limit": 1, "device_handover": "hold"}, None),
        ({"device_hold_seconds": 1, "device_unchecked": "fail_closed", "device_stale_seconds": 1}, None),
        ({"accept": ("192.0.2.0/24",)}, None),
        ({"accept": ("198.51.100.1",)}, Reason.SOURCE),
        ({"reject": ("198.51.100.1",)}, None),
        ({"reject": ("192.0.2.1",)}, Reason.SOURCE),
        ({"accept": ("192.0.2.1",), "reject": ("192.0.2.0/24",)}, None),
        ({"outbound": "tcp://192.0.2.9:80", "preconnect": 1}, None),
    ],
)
async def test_a_changed_field_does_to_live_sessions_what_its_fate_says(
    said: Mapping[str, Any], reason: Reason | None
) -> None:
    world = Governed()
    await world.let()
    session = world.carried()
    await world.let(**said)
    assert cut_reasons(session) == [reason]


async def test_source_rules_that_are_taken_back_touch_no_session() -> None:
    world = Governed()
    await world.let(accept=("192.0.2.1",))
    session = world.carried()
    assert str(await world.let()) == "changes 1 service; touches no session"
    assert cut_reasons(session) == [None]
    service = world.services.get("a")
    assert service is not None
    assert service.rules is None


@pytest.mark.parametrize("after", [HASHES[2], None])
async def test_changed_credentials_evict_the_sessions_of_the_service_and_change_no_policy(after: str | None) -> None:
    world, policy = Governed(), Policy(session_rate=1, accept=("192.0.2.0/24",))
    await world.applier.apply(Snapshot({"a": Settings(policy, Credentials(HASHES[1])), "b": Settings()}))
    session, other, service = world.carried("a"), world.carried("b"), world.services.get("a")
    assert service is not None
    rate, rules = service.session_rate, service.rules
    assert rate is not None
    plan = await world.applier.apply(Snapshot({"a": Settings(policy, Credentials(after)), "b": Settings()}))
    assert plan == Plan(changed={"a": ("password_hash",)}, evicted=1)
    assert cut_reasons(session, other) == [Reason.EVICTED, None]
    assert world.services.get("a") is service
    assert service.rules is rules
    assert service.session_rate is not None
    assert service.session_rate.interval == rate.interval


async def test_a_removed_service_has_its_sessions_evicted_and_those_of_others_stay() -> None:
    world = Governed()
    await world.applier.apply(Snapshot({name: Settings() for name in "abc"}))
    sessions = [world.carried(name) for name in "aabc"]
    plan = await world.applier.apply(Snapshot({"c": Settings()}, frozenset("c"), version="7"))
    assert plan == Plan(removed=("a", "b"), evicted=3)
    assert cut_reasons(*sessions) == [Reason.EVICTED] * 3 + [None]
    assert world.settings() == {"c": Settings()}
    assert world.applier.version == "7"


async def test_a_service_removed_and_named_again_while_its_sessions_end_is_a_new_one() -> None:
    world = Governed()
    await world.let()
    session, first = world.carried(slow=True), world.services.get("a")
    await world.applier.apply(Snapshot({}, allow_removal=True))
    assert cut_reasons(session) == [Reason.EVICTED]
    assert world.services.find("a") == UNKNOWN_SERVICE
    assert await world.let(max_sessions=3) == Plan(added=("a",))
    second = world.services.get("a")
    assert first is not None
    assert second is not None
    assert second is not first
    assert (first.live, second.live) == (1, 0)
    assert first.policy.max_sessions is None
    plan = await world.applier.apply(Snapshot({}, allow_removal=True))
    assert plan == Plan(removed=("a",)), "the session of the first one is being cut already"
    assert isinstance(session.carrier, FakeCarrier)
    session.carrier.end(Reason.EVICTED)
    assert first.live == 0
    assert world.services.named("a") == []


async def test_only_sessions_that_go_on_count_as_retuned_and_rechecked() -> None:
    world = Governed()
    await world.let()
    for source in ("192.0.2.1", "192.0.2.1", "198.51.100.1"):
        world.carried(source=source)
    plan = await world.let(down_rate=5, device_limit=3, accept=("192.0.2.1",))
    assert (plan.retuned, plan.rechecked, plan.evicted) == (2, 2, 1)
    assert (await world.let(up_rate=5)).retuned == 2
    plan = await world.let(enabled=False, down_rate=6, device_limit=4)
    assert (plan.retuned, plan.rechecked, plan.evicted) == (0, 0, 2)


@pytest.mark.parametrize(("rejected", "cut"), [((), 1), (("192.0.2.1",), 2), (("192.0.2.0/24",), 3)])
async def test_a_session_that_is_cut_for_two_reasons_is_counted_once(rejected: tuple[str, ...], cut: int) -> None:
    world = Governed()
    await world.let()
    sessions = [world.carried(source=source) for source in ("192.0.2.1", "192.0.2.1", "192.0.2.2")]

    dying = world.carried(source="10.0.0.1", slow=True)
    dying.cut(Reason.IDLE)

    class Limit:
        def changed(self, service: Service, change: Change) -> None:
            if change.after is not None and "device_limit" in change.fields:
                sessions[0].cut(Reason.DEVICE)

        def foresee(self, service: Service, after: Settings | None) -> list[Session]:
            return [sessions[0], dying]

    world.services.watch(Limit())
    snapshot = Snapshot({"a": Settings(Policy(device_limit=1, down_rate=1, reject=rejected))})
    planned = await world.applier.plan(snapshot)
    assert (planned.retuned, planned.rechecked, planned.evicted) == (4 - cut, 4 - cut, cut)
    assert await world.applier.apply(snapshot) == planned
    assert sum(session.cut_reason is not None for session in sessions) == cut


async def test_a_session_that_is_cut_after_it_moved_away_does_not_count_among_those_that_go_on() -> None:
    world = Governed()
    await world.let()
    await world.let("b")
    moved, stays = world.carried(), world.carried()
    moved.carrier = None  # as in a middleware, which may name another service
    moved.service = "b"

    class Limit:
        def changed(self, service: Service, change: Change) -> None:
            moved.cut(Reason.DEVICE)

        def foresee(self, service: Service, after: Settings | None) -> list[Session]:
            return [moved]

    world.services.watch(Limit())
    snapshot = Snapshot({"a": Settings(Policy(device_limit=1, down_rate=1))}, full=False)
    planned = await world.applier.plan(snapshot)
    assert (planned.retuned, planned.rechecked, planned.evicted) == (1, 1, 1)
    assert await world.applier.apply(snapshot) == planned
    assert cut_reasons(moved, stays) == [Reason.DEVICE, None]


async def test_fields_that_no_stage_reads_touch_no_session_and_earn_a_warning(autojump_clock: MockClock) -> None:
    world = Governed("session_rate", "session_burst")
    with capture_logs() as logs:
        await world.let(session_rate=1)
        session = world.carried()
        assert str(await world.let(down_rate=1, device_limit=1, accept=("198.51.100.1",))) == (
            "changes 1 service; touches no session"
        )
        await trio.sleep(2)
        await world.let(enabled=False)
    assert cut_reasons(session) == [Reason.EVICTED], "a disabled service has no sessions, whatever stages there are"
    warnings = [(entry["keys"], entry["services"]) for entry in logs if entry["log_level"] == "warning"]
    assert warnings == [(["accept", "device_limit", "down_rate"], ["a"]), (["enabled"], ["a"])]


async def test_the_warning_comes_when_a_snapshot_is_applied_and_not_for_a_plan() -> None:
    world = Governed("session_rate")
    snapshot = Snapshot({f"{number}": Settings(Policy(down_rate=1)) for number in range(5)})
    with capture_logs() as logs:
        await world.applier.plan(snapshot)
        assert logs == []
        await world.applier.apply(snapshot)
    assert [entry["services"] for entry in logs if entry["log_level"] == "warning"] == [["0", "1", "2"]]


# All of it or nothing.


async def test_a_snapshot_with_a_fault_changes_nothing_and_the_last_good_one_still_applies() -> None:
    world = Governed()
    await world.applier.apply(Snapshot({"a": Settings(), "b": Settings()}, version="good"))
    session, before = world.carried("b"), world.settings()
    named = {"a": Settings(), "b": Settings(Policy(down_rate=5, reject=("192.0.2.0/24",)))}
    bad = Snapshot({**named, "c": Settings(Policy(session_rate=0))}, version="bad")
    for refused in (world.applier.apply, world.applier.plan):
        with pytest.raises(SnapshotError) as refusal:
            await refused(bad)
        assert refusal.value.faults == ("services.c.session_rate = 0 must be a number above 0",)
        assert not refusal.value.applied
    assert world.settings() == before
    assert world.applier.version == "good"
    assert cut_reasons(session) == [None]


async def test_a_cancel_before_the_first_change_leaves_everything_as_it_was(autojump_clock: MockClock) -> None:
    world = Governed()
    with trio.CancelScope() as scope:
        scope.cancel()
        await world.applier.apply(Snapshot({"a": Settings()}, version="7"))
    assert scope.cancelled_caught
    assert (world.settings(), world.applier.version) == ({}, "")
    await world.let()  # and the next snapshot is not blocked
    assert world.settings() == {"a": Settings()}


async def test_a_cancel_while_changes_are_applied_does_not_stop_them() -> None:
    world, seen = Governed(), list[str]()
    everything = Snapshot({f"{number}": Settings() for number in range(1000)}, version="7")

    class Canceller:
        def changed(self, service: Service, change: Change) -> None:
            seen.append(service.name)
            scope.cancel()

    world.services.watch(Canceller())
    with trio.CancelScope() as scope:
        await world.applier.apply(everything)
    assert scope.cancel_called
    assert (len(world.services), len(seen), world.applier.version) == (1000, 1000, "7")


async def test_after_a_cancel_at_any_moment_a_snapshot_is_applied_whole_or_not_at_all(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge.loop.slices.SLICE_SECONDS", 1e-9)  # other tasks run after every step
    world = Governed()
    disabled = Settings(Policy(enabled=False))
    before, after = {"a": Settings(), "b": Settings()}, {f"{number}": Settings() for number in range(5)}
    after["b"] = disabled
    taken = {"b": disabled}
    outcomes = []

    async def act() -> None:
        await world.applier.apply(Snapshot(after, version="after"))

    def check() -> None:
        assert (world.settings(), world.applier.version) in [(before, "before"), (taken, "before"), (after, "after")]
        assert not world.applier._turns
        outcomes.append((len(world.settings()), world.applier.version))

    async def from_the_start() -> None:
        with trio.CancelScope(shield=True):
            await world.applier.apply(Snapshot(before, version="before", allow_removal=True))
        await act()

    assert await cancel_at_every_step(from_the_start, check) > 5
    assert set(outcomes) == {(2, "before"), (1, "before"), (6, "after")}


async def test_a_cancelled_plan_changes_nothing_and_blocks_no_other_snapshot(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge.loop.slices.SLICE_SECONDS", 1e-9)  # other tasks run after every step
    world = Governed()
    await world.let()
    world.carried("a")
    plans: list[Plan] = []

    async def ask() -> None:
        plans.append(await world.applier.plan(Snapshot({f"{number}": Settings() for number in range(5)})))

    def check() -> None:
        assert world.settings() == {"a": Settings()}
        assert len(world.registry) == 1
        assert not world.applier._turns

    assert await cancel_at_every_step(ask, check) > 5
    assert [plan.evicted for plan in plans] == [1]


async def test_a_plan_may_be_cancelled_while_it_waits_for_its_turn() -> None:
    world = Governed()
    turn = world.applier._turns.receive(Snapshot({}, full=False))
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.applier.plan, Snapshot({}))
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    world.applier._turns.end(turn)
    assert not world.applier._turns
    assert not await world.applier.plan(Snapshot({}))


async def test_snapshots_are_applied_one_after_the_other(autojump_clock: MockClock) -> None:
    world = Governed()
    many = {f"{number}": Settings() for number in range(500)}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.applier.apply, Snapshot(many, version="1"))
        await trio.lowlevel.checkpoint()
        nursery.start_soon(world.applier.apply, Snapshot({"a": Settings()}, version="2", allow_removal=True))
    assert world.settings() == {"a": Settings()}
    assert world.applier.version == "2"


# A plan has the effect that applying then has.

sources = st.sampled_from(["192.0.2.1", "192.0.2.7", "10.0.0.1", "10.9.9.9", "2001:db8::1", "unix"])
some_services = st.dictionaries(keys, some_settings, max_size=3)
some_sessions = st.lists(st.tuples(keys, sources, st.booleans(), st.booleans()), max_size=8)
some_fields = st.sets(st.sampled_from(FIELDS)).map(sorted)


@examples(60)
@given(some_fields, some_services, some_services, st.booleans(), some_sessions)
def test_a_plan_is_what_applying_then_does(
    enforced: list[str],
    before: dict[str, Settings],
    after: dict[str, Settings],
    full: bool,
    sessions: list[tuple[str, str, bool, bool]],
) -> None:
    async def main() -> None:
        world = Governed(*(enforced or ["enabled"]))
        await world.applier.apply(Snapshot(before))
        live = []
        for service, source, slow, is_cut in sessions:
            found = world.services.get(service)
            may_have_sessions = found is not None and found.refusal is None
            live.append(world.carried(service if may_have_sessions else None, source, slow=slow))
            if is_cut:
                live[-1].cut(Reason.IDLE)
        present, cut = world.settings(), cut_reasons(*live)
        removed = frozenset() if full else frozenset("abc") - after.keys() - {"c"}
        snapshot = Snapshot(after, removed, full=full, allow_removal=True)

        planned = await world.applier.plan(snapshot)
        assert (world.settings(), cut_reasons(*live)) == (present, cut), "a plan does nothing"
        assert await world.applier.apply(snapshot) == planned
        newly = sum(now != then for now, then in zip(cut_reasons(*live), cut, strict=True))
        assert planned.evicted == newly
        expected = after if full else {**{name: present[name] for name in present.keys() - removed}, **after}
        assert world.settings() == expected
        assert not await world.applier.apply(snapshot), "the same snapshot again changes nothing"

    trio.run(main)


# The state of the line.


async def test_the_error_of_a_control_plane_and_its_time_are_kept_until_it_answers(autojump_clock: MockClock) -> None:
    world = Governed()
    line = world.applier
    with capture_logs() as logs:
        await world.let()
        assert (line.error, line.failing_since, line.applied_at) == ("", None, 0.0)
        await trio.sleep(5)
        line.failed("no answer")
        await trio.sleep(5)
        line.failed("no route")
        assert (line.error, line.failing_since, line.applied_at) == ("no route", 5.0, 0.0)
        line.reached()
        line.reached()
        assert (line.error, line.failing_since) == ("", None)
        await trio.sleep(5)
        line.failed("again")
        await world.let(max_sessions=1)
        assert (line.error, line.failing_since, line.applied_at) == ("", None, 15.0)
    assert [(entry["event"], entry.get("error")) for entry in logs] == [
        ("snapshot applied", None),
        ("control plane failed", "no answer"),
        ("control plane failed", "no route"),
        ("control plane is back", None),
        ("control plane failed", "again"),
        ("control plane is back", None),
        ("snapshot applied", None),
    ]


async def test_before_the_first_snapshot_the_log_says_that_the_edge_waits(autojump_clock: MockClock) -> None:
    world = Governed()
    with capture_logs() as logs:
        world.applier.failed("the token is refused")
    assert logs[0]["so"] == "the edge waits for its services and listens nowhere"
    await world.let()
    await trio.sleep(5)
    with capture_logs() as logs:
        world.applier.failed("the token is refused")
    assert "so" not in logs[0]


async def test_a_snapshot_that_changes_nothing_is_not_logged() -> None:
    world = Governed()
    await world.let()
    with capture_logs() as logs:
        assert not await world.let()
    assert logs == []


async def test_each_applied_snapshot_calls_the_hooks() -> None:
    world, versions = Governed(), list[str]()
    world.applier.on_applied.append(lambda: versions.append(world.applier.version))
    await world.applier.apply(Snapshot({}, version="1"))
    with pytest.raises(SnapshotError):
        await world.let(session_rate=0)
    await world.applier.apply(Snapshot({}, version="2"))
    assert versions == ["1", "2"]
