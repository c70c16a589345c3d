"""Whole edges under a control plane: what a snapshot changes, and what it does not."""

import gc
import threading
import time
from functools import partial

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock

import trioedge as te
from tests.strategies import examples
from tests.support.edges import NAMES, dies_slowly, exchange, make_edge, quick_hash, services
from tests.support.policies import policies
from trioedge.services import passwords as password
from trioedge.testing import open_edge

some_policies = policies() | st.builds(
    te.Policy,
    enabled=st.booleans(),
    device_limit=st.sampled_from([None, 1, 2]),
    device_handover=st.sampled_from(te.Handover),
    accept=st.sampled_from([(), ("192.0.2.0/24",), ("2001:db8::/32",)]),
    down_rate=st.sampled_from([None, 1e6]),
)
some_services = st.dictionaries(st.sampled_from("abc"), some_policies, max_size=3)
some_clients = st.lists(st.sampled_from(sorted(NAMES)), max_size=6)


@examples(30)
@given(some_services, some_services, some_clients, st.booleans(), st.booleans())
def test_a_plan_of_any_snapshot_equals_the_plan_that_applying_it_returns(
    before: dict[str, te.Policy], after: dict[str, te.Policy], sources: list[str], full: bool, slow: bool
) -> None:
    """Half a second: each of thirty examples is an edge."""
    control = te.MemoryControl(before)
    removed = frozenset() if full else frozenset("abc") - after.keys() - {"c"}
    snapshot = te.Snapshot(
        {name: te.Settings(policy) for name, policy in after.items()}, removed, full=full, allow_removal=True
    )

    async def main() -> None:
        stages = [te.SessionGate(), te.SourceMatch(), te.ConcurrencyLimit(per="service"), te.DeviceLimit(), te.Pacing()]
        async with open_edge(make_edge(control, *stages, *([dies_slowly] if slow else []))) as world:
            clients = [await world.connect(source) for source in sources]
            await trio.testing.wait_all_tasks_blocked()
            live = [client.session for client in clients if client.session.cut_reason is None and not client.outcome]
            planned = await world.edge.plan(snapshot)
            assert not any(session.cut_reason for session in live), "a plan does nothing"
            assert await control.apply(snapshot) == planned
            assert sum(session.cut_reason is not None for session in live) == planned.evicted
            reasons = {session.cut_reason for session in live}
            ends = te.Reason.EVICTED, te.Reason.SOURCE, te.Reason.DEVICE, te.Reason.QUOTA, te.Reason.EXPIRED
            assert reasons <= {None, *ends}
            assert not await world.edge.plan(snapshot)
            await trio.sleep(6)
            assert len(world.edge.sessions) == len(live) - planned.evicted

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_change_of_policy_moves_nothing_but_its_fields(autojump_clock: MockClock) -> None:
    control = services(a=te.Policy(session_rate=1, session_burst=3, outbound="tcp://192.0.2.9:6379"))
    async with open_edge(make_edge(control, te.SessionGate(), te.Pacing(), endpoint=te.Forward())) as world:
        clients = [await world.connect() for _ in range(3)]
        await exchange(clients[0])
        service = world.edge.services["a"]
        upstream, up, down = service.upstream, service.up, service.down
        assert upstream is not None
        plan = await control.put("a", te.Policy(session_rate=1, session_burst=4, outbound="tcp://192.0.2.9:6379"))
        assert str(plan) == "changes 1 service; touches no session"
        plan = await control.put("a", attrs.evolve(service.policy, down_rate=1e6))
        assert str(plan) == "changes 1 service; retunes 3 sessions"
        assert world.edge.services["a"] is service
        assert (service.upstream, service.up, service.down) == (upstream, up, down)
        assert (service.live, service.opened, down.bytes) == (3, 3, 4)
        verdicts = [(await world.connect()).outcome for _ in range(2)]
        assert verdicts[0] is None
        assert verdicts[1] is not None, "of the four in a burst, three had been spent at the same gate"
        assert verdicts[1].reason is te.Reason.RATE
        for client in clients:
            await exchange(client)


async def test_sessions_that_a_new_policy_would_refuse_are_cut_and_no_others(autojump_clock: MockClock) -> None:
    control = services(a=te.Policy(), b=te.Policy())
    async with open_edge(make_edge(control)) as world:
        sources = ["192.0.2.1", "2001:db8::1", "192.0.2.2"]
        clients = [await world.connect(source) for source in sources]
        plan = await control.put("a", te.Policy(accept=("192.0.2.0/24",)))
        assert str(plan) == "changes 1 service; evicts 1 session"
        assert await clients[1].ended() == te.Completed(te.Reason.SOURCE, "matches no accepted entry")
        for client in (clients[0], clients[2]):
            await exchange(client)
        assert (await world.connect("2001:db8::1")).outcome == te.Reject(te.Reason.SOURCE, "matches no accepted entry")


async def test_a_disabled_service_has_no_sessions_until_it_is_enabled_again(autojump_clock: MockClock) -> None:
    control = services(a=te.Policy(), b=te.Policy())
    async with open_edge(make_edge(control)) as world:
        client, other = await world.connect("192.0.2.1"), await world.connect("192.0.2.2")
        assert (await control.put("a", te.Policy(enabled=False))).evicted == 1
        assert await client.ended() == te.Completed(te.Reason.EVICTED)
        refused = await world.connect("192.0.2.1")
        assert refused.outcome == te.Reject(te.Reason.SERVICE, "the service is disabled")
        assert (await control.put("a", te.Policy())).evicted == 0
        await exchange(await world.connect("192.0.2.1"))
        await exchange(other)


async def test_changed_credentials_end_what_the_old_ones_opened_and_change_alone() -> None:
    policy = te.Policy(max_sessions=5)
    control = services(a=te.Settings(policy, te.Credentials(quick_hash("old"))), b=te.Policy())
    async with open_edge(make_edge(control)) as world:
        edge = world.edge
        client, other = await world.connect("192.0.2.1"), await world.connect("192.0.2.2")
        service = edge.services["a"]
        assert [await edge.verify("a", password) for password in ("old", "new")] == [True, False]
        plan = await control.put("a", te.Settings(policy, te.Credentials(quick_hash("new"))))
        assert plan == te.Plan(changed={"a": ("password_hash",)}, evicted=1)
        assert await client.ended() == te.Completed(te.Reason.EVICTED)
        assert [await edge.verify("a", password) for password in ("old", "new")] == [False, True]
        assert edge.services["a"] is service
        assert service.policy is policy
        assert not await edge.verify("b", "")
        assert not await edge.verify("ghost", "new")
        await exchange(other)
        await exchange(await world.connect("192.0.2.1"))


@pytest.mark.parametrize(
    ("meanwhile", "right"),
    [
        ({"a": te.Settings(credentials=te.Credentials(quick_hash("new")))}, False),
        ({"a": te.Settings()}, False),
        ({}, False),
        ({"a": te.Settings(te.Policy(max_sessions=5), te.Credentials(quick_hash("old")))}, True),
    ],
)
async def test_a_password_is_right_only_if_it_still_is_when_its_check_ends(
    meanwhile: dict[str, te.Settings], right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow hash takes its time in a thread; meanwhile comes another hash, none, no service, or no matter."""
    begun, go_on, matches = threading.Event(), threading.Event(), password._matches

    def slowly(secret: bytes, password_hash: str) -> bool:
        begun.set()
        assert go_on.wait(10)
        return matches(secret, password_hash)

    monkeypatch.setattr(password, "_matches", slowly)
    answers: list[bool] = []
    control = services(a=te.Settings(credentials=te.Credentials(quick_hash("old"))))
    async with open_edge(make_edge(control)) as world, trio.open_nursery() as nursery:

        async def ask() -> None:
            answers.append(await world.edge.verify("a", "old"))

        nursery.start_soon(ask)
        with trio.fail_after(10):
            while not begun.is_set():
                await trio.sleep(0.001)
        await control.apply(te.Snapshot(meanwhile, allow_removal=True))
        assert answers == []
        go_on.set()
    assert answers == [right]


async def test_a_check_and_a_plan_may_be_cancelled_and_asked_for_again() -> None:
    control = services(a=te.Settings(credentials=te.Credentials(quick_hash("old"))))
    async with open_edge(make_edge(control)) as world:
        edge = world.edge
        for ask in (partial(edge.verify, "a", "old"), partial(edge.plan, te.Snapshot({}, allow_removal=True))):
            with trio.CancelScope() as scope:
                scope.cancel()
                await ask()
            assert scope.cancelled_caught
        assert await edge.verify("a", "old")
        assert (await edge.plan(te.Snapshot({}, allow_removal=True))).removed == ("a",)
        assert edge.services["a"]


async def test_policy_fields_that_no_stage_reads_are_warned_about(autojump_clock: MockClock) -> None:
    with capture_logs() as logs:
        async with open_edge(make_edge(services(a=te.Policy(session_rate=5, device_limit=3)), te.IdleTimeout(9))):
            pass
        async with open_edge(make_edge(services(a=te.Policy(session_rate=5, device_limit=3)), te.SessionGate())):
            pass
    warnings = [entry["keys"] for entry in logs if entry["event"] == "policy not enforced: no stage reads it"]
    assert warnings == [["device_limit", "session_rate"], ["device_limit"]]


async def test_a_snapshot_with_a_fault_is_refused_whole_and_the_last_good_one_stays(
    autojump_clock: MockClock,
) -> None:
    control = services(a=te.Policy(), b=te.Policy())
    async with open_edge(make_edge(control)) as world:
        clients = [await world.connect(source) for source in ("192.0.2.1", "192.0.2.2")]
        bad = {"b": te.Policy(down_rate=5), "a": te.Policy(session_rate=0, accept=("nobody",)), "c": te.Policy()}
        snapshot = te.Snapshot({name: te.Settings(policy) for name, policy in bad.items()})
        for refused in (control.apply, world.edge.plan):
            with pytest.raises(te.SnapshotError) as refusal:
                await refused(snapshot)
            assert [fault.partition(" = ")[0] for fault in refusal.value.faults] == [
                "services.a.session_rate",
                "services.a.accept[0]",
            ]
        assert sorted(world.edge.services) == ["a", "b"]
        for client in clients:
            await exchange(client)
        assert await control.put("c", te.Policy()) == te.Plan(added=("c",))


async def test_an_edge_does_not_start_with_faults() -> None:
    with pytest.raises(ExceptionGroup) as group:
        async with open_edge(make_edge(services(a=te.Policy(session_rate=0)))):
            pass
    assert group.group_contains(te.ConfigurationError, match=r"services\.a\.session_rate = 0 must be a number above 0")


class LongestStep(trio.abc.Instrument):
    """The longest that any task held the loop, in seconds of processor time and without the collector."""

    def __init__(self) -> None:
        self.began = self.seconds = 0.0

    def __enter__(self) -> "LongestStep":
        gc.disable()
        self.began = time.thread_time()
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(self, *_: object) -> None:
        trio.lowlevel.remove_instrument(self)
        gc.enable()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.seconds = max(self.seconds, time.thread_time() - self.began)


async def test_a_large_snapshot_never_holds_the_loop_for_long(autojump_clock: MockClock) -> None:
    """Half a second, because it is done three times: another process may make one step long, and hardly three."""
    entries = tuple(f"10.0.{number >> 8}.{number & 255}" for number in range(5000))
    control = services()

    def large(rate: float) -> te.Snapshot:
        many = {f"{number}": te.Policy(session_rate=rate, down_rate=1e6) for number in range(500)}
        many["a"] = te.Policy(accept=("192.0.2.1", *entries), down_rate=rate)
        return te.Snapshot({name: te.Settings(policy) for name, policy in many.items()})

    changed, gone = [], []
    async with open_edge(make_edge(control)) as world:
        for _ in range(3):
            await control.apply(large(1e6))
            clients = [await world.connect() for _ in range(50)]
            other, nothing = large(2e6), te.Snapshot({}, allow_removal=True)
            with LongestStep() as longest:
                plan = await control.apply(other)
            changed.append(longest.seconds)
            assert (len(plan.changed), plan.retuned, plan.evicted) == (501, 50, 0)
            with LongestStep() as longest:
                plan = await control.apply(nothing)
            gone.append(longest.seconds)
            assert (len(plan.removed), plan.retuned, plan.evicted) == (501, 0, 50)
            for client in clients:
                await client.ended()
    assert 0 < min(changed) < 0.005
    assert 0 < min(gone) < 0.005
