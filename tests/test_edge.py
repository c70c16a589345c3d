"""Whole edges under a control plane: what it says holds, what it asks is answered, and nothing waits for it."""

import gc
import hashlib
import socket
import threading
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock

import trioedge as te
from tests.policies import policies
from tests.strategies import examples
from tests.support.wires import echo, receive_exactly, server
from trioedge.control.supervisor import FLUSH_SECONDS
from trioedge.services import passwords as password
from trioedge.testing import Rehearsal, ScriptedUpstream, open_edge
from trioedge.testing.rehearsal import Client

NAMES = {"192.0.2.1": "a", "192.0.2.2": "b", "192.0.2.3": "c", "2001:db8::1": "a"}


def by_source(session: te.Session) -> str | None:
    return NAMES.get(session.source)


def make_edge(control: te.ControlPlane | None, *stages: object, **changes: Any) -> te.Edge:
    """An edge where the service of a client is that of its address, and every stage goes by the policy."""
    stages = stages or (te.SessionGate(), te.SourceMatch(), te.ConcurrencyLimit(per="service"), te.Pacing())
    endpoint = changes.pop("endpoint", te.Forward("tcp://192.0.2.9:6379"))
    return te.Edge("tcp://127.0.0.1:6380", [te.Identify(by_source), *stages], endpoint, control=control, **changes)


def services(**policies: te.Policy | te.Settings) -> te.MemoryControl:
    return te.MemoryControl(policies)


def quick_hash(password: str) -> str:
    """A hash that costs next to nothing; the real one costs 50 ms."""
    salt = bytes(16)
    key = hashlib.scrypt(password.encode(), salt=salt, n=2, r=8, p=1, dklen=32)
    return f"scrypt:1:{b64encode(salt).decode()}:{b64encode(key).decode()}"


@te.middleware
async def dies_slowly(session: te.Session, call_next: te.Handler) -> te.Outcome:
    """Takes five seconds to let go of a session that is cut."""
    try:
        return await call_next(session)
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)


async def exchange(client: Client, data: bytes = b"ping") -> None:
    await client.send(data)
    assert await client.receive(len(data)) == data


async def is_over(client: trio.SocketStream) -> bool:
    """Tell whether the other side hung up, in order or with a reset."""
    try:
        return await client.receive_some() == b""
    except trio.BrokenResourceError:
        return True


# What a snapshot does.

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
def test_a_plan_is_what_applying_then_does(
    before: dict[str, te.Policy], after: dict[str, te.Policy], sources: list[str], full: bool, slow: bool
) -> None:
    """Half a second: each of thirty examples is an edge."""
    control = te.MemoryControl(before)
    removed = frozenset() if full else frozenset("abc") - after.keys() - {"c"}
    snapshot = te.Snapshot({name: te.Settings(policy) for name, policy in after.items()}, removed, full=full)

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
            assert reasons <= {None, te.Reason.EVICTED, te.Reason.SOURCE, te.Reason.DEVICE}
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
        assert await clients[1].ended() == te.Completed(te.Reason.SOURCE)
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
        await control.apply(te.Snapshot(meanwhile))
        assert answers == []
        go_on.set()
    assert answers == [right]


async def test_a_check_and_a_plan_may_be_cancelled_and_asked_for_again() -> None:
    control = services(a=te.Settings(credentials=te.Credentials(quick_hash("old"))))
    async with open_edge(make_edge(control)) as world:
        edge = world.edge
        for ask in (partial(edge.verify, "a", "old"), partial(edge.plan, te.Snapshot({}))):
            with trio.CancelScope() as scope:
                scope.cancel()
                await ask()
            assert scope.cancelled_caught
        assert await edge.verify("a", "old")
        assert (await edge.plan(te.Snapshot({}))).removed == ("a",)
        assert edge.services["a"]


async def test_what_no_stage_reads_is_warned_about(autojump_clock: MockClock) -> None:
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
        bad = {"b": te.Policy(enabled=False), "a": te.Policy(session_rate=0, accept=("nobody",)), "c": te.Policy()}
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
    """Half a second, for it is done thrice: a neighbour on this machine may make one step long, and hardly three."""
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
            other, nothing = large(2e6), te.Snapshot({})
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


# Whose session it is.


async def test_without_a_word_there_is_one_service_for_the_whole_edge(autojump_clock: MockClock) -> None:
    control = te.MemoryControl({"default": te.Policy(max_sessions=1)})
    edge = te.Edge(
        "tcp://127.0.0.1:6380", [te.ConcurrencyLimit(per="service")], te.Forward("tcp://192.0.2.9:1"), control=control
    )
    assert edge.outline.phases[0].stages == ("Identify", "ConcurrencyLimit")
    async with open_edge(edge) as world:
        client, refused = await world.connect("192.0.2.1"), await world.connect("192.0.2.2")
        assert client.session.service.name == "default"
        assert refused.outcome is not None
        assert refused.outcome.reason is te.Reason.CONCURRENCY
        await control.remove("default")
        assert await client.ended() == te.Completed(te.Reason.EVICTED)
        assert (await world.connect()).outcome == te.Reject(te.Reason.SERVICE, "no such service")


@te.decision(provides=("service",))
def from_the_source(session: te.Session) -> te.Verdict:
    session.service = {"192.0.2.1": "a", "192.0.2.2": "off"}.get(session.source, "nobody")
    return te.CONTINUE


@te.middleware(provides=("service",))
async def from_the_source_later(session: te.Session, call_next: te.Handler) -> te.Outcome:
    from_the_source(session)
    return await call_next(session)


@pytest.mark.parametrize("naming", [from_the_source, from_the_source_later])
async def test_whoever_names_the_service_the_control_plane_is_asked(naming: object, autojump_clock: MockClock) -> None:
    control = te.MemoryControl({"a": te.Policy(), "off": te.Policy(enabled=False)})
    edge = te.Edge("tcp://127.0.0.1:6380", [naming], te.Forward("tcp://192.0.2.9:1"), control=control)
    with capture_logs() as logs:
        async with open_edge(edge) as world:
            await exchange(await world.connect("192.0.2.1"))
            for source, why in (("192.0.2.2", "the service is disabled"), ("192.0.2.3", "no such service")):
                client = await world.connect(source)
                assert await client.ended() == te.Reject(te.Reason.SERVICE, why)
            assert len(world.upstream.asked) == 1
    assert "policy not enforced: no stage reads it" not in {entry["event"] for entry in logs}


def test_identify_is_put_first_unless_a_stage_names_the_service() -> None:
    def stages(*stages: object, control: te.ControlPlane | None = None) -> list[object]:
        edge = te.Edge("tcp://127.0.0.1:6380", stages, te.Forward("tcp://192.0.2.9:1"), control=control)
        return [name for phase in edge.outline.phases[:-1] for name in phase.stages]

    control = te.MemoryControl()
    gate = te.SessionGate(rate=1)
    assert stages(from_the_source, gate, control=control) == ["from_the_source", "SessionGate"]
    assert stages(te.Identify("a"), gate, control=control) == ["Identify", "SessionGate"]
    assert stages(gate, control=control) == ["Identify", "SessionGate"]
    assert stages(from_the_source, gate) == ["from_the_source", "SessionGate"]
    assert te.Edge("tcp://127.0.0.1:6380", [], te.Forward("tcp://192.0.2.9:1")).outline.phases[0].kind == "endpoint"


async def test_a_source_that_is_nobodys_is_refused(autojump_clock: MockClock) -> None:
    async with open_edge(make_edge(services(a=te.Policy()))) as world:
        assert (await world.connect("192.0.2.1")).outcome is None
        for source in ("192.0.2.2", "192.0.2.99"):
            assert (await world.connect(source)).outcome == te.Reject(te.Reason.SERVICE, "no such service")


async def test_each_listener_may_be_a_service(tmp_path: Path) -> None:
    paths = {f"unix://{tmp_path}/{name}.sock": name for name in ("a", "b", "c")}
    control = services(a=te.Policy(), b=te.Policy(enabled=False))
    async with server(echo) as port, trio.open_nursery() as nursery:
        edge = te.Edge(list(paths), [te.Identify(paths)], te.Forward(f"tcp://127.0.0.1:{port}"), control=control)
        await nursery.start(edge.serve)
        async with await trio.open_unix_socket(f"{tmp_path}/a.sock") as client:
            await client.send_all(b"ping")
            assert await receive_exactly(client, 4) == b"ping"
            assert [session.service.name for session in edge.sessions] == ["a"]
            for name in ("b", "c"):
                async with await trio.open_unix_socket(f"{tmp_path}/{name}.sock") as refused:
                    assert await is_over(refused)
        assert edge.statistics().refused == {te.Reason.SERVICE: 2}
        nursery.cancel_scope.cancel()


async def test_a_service_named_late_is_counted_once_and_governed(autojump_clock: MockClock) -> None:
    @te.middleware
    async def greet(session: te.Session, call_next: te.Handler) -> te.Outcome:
        await session.stream.receive_some(1)
        return await call_next(session)

    control = te.MemoryControl({"a": te.Policy()})
    edge = te.Edge(
        "tcp://127.0.0.1:6380", [greet, te.Identify(by_source)], te.Forward("tcp://192.0.2.9:1"), control=control
    )
    async with open_edge(edge) as world:
        client, silent = await world.connect("192.0.2.1"), await world.connect("192.0.2.1")
        await client.send(b"xping")
        assert await client.receive(4) == b"ping"
        a, unnamed = edge.services["a"], silent.session.service
        assert (unnamed.name, unnamed.policy, list(edge.services)) == ("", te.Policy(), ["a"])
        assert [(each.opened, each.live) for each in (a, unnamed)] == [(1, 1), (2, 1)]
        await control.remove("a")
        assert await client.ended() == te.Completed(te.Reason.EVICTED)
        assert (a.live, unnamed.live) == (0, 1)
        await control.put("a", te.Policy())
        assert edge.services["a"] is not a, "a service that is named again is another one"
        await silent.send(b"xpong")
        assert await silent.receive(4) == b"pong"
        assert (a.live, edge.services["a"].live, unnamed.live) == (0, 1, 0)


@pytest.mark.parametrize("control", ["services.toml", object(), te.Policy()])
def test_what_is_no_control_plane_is_refused(control: Any) -> None:
    with pytest.raises(te.ConfigurationError, match=r"is no control plane: it needs async run\(link\)"):
        make_edge(control)


# A control plane that is silent, late, or broken.


class Silent:
    """Never says a word."""

    def __init__(self) -> None:
        self.cancelled = False

    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled = True


@pytest.mark.parametrize("ending", ["drain", "cancel"])
async def test_an_edge_whose_control_plane_never_speaks_accepts_nobody_and_ends_at_once(ending: str) -> None:
    control, started = Silent(), False
    edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://192.0.2.9:1"), control=control)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                nonlocal started
                await nursery.start(edge.serve)
                started = True

            nursery.start_soon(serve)
            while not edge.addresses:
                await trio.sleep(0.001)
            port = int(edge.addresses[0].rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)):  # the kernel's backlog takes it
                await trio.sleep(0.02)
                assert (edge.statistics().accepted, started) == (0, False)
            if ending == "drain":
                edge.drain()
            else:
                nursery.cancel_scope.cancel()
    assert control.cancelled
    assert (edge.addresses, edge.statistics().accepted) == ((), 0)


async def test_nobody_is_accepted_before_the_first_word(autojump_clock: MockClock) -> None:
    class Late(Silent):
        async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
            await trio.sleep(30)
            await link.apply(te.Snapshot({"default": te.Settings()}, version="7"))
            task_status.started()
            await trio.sleep_forever()

    edge = te.Edge("tcp://127.0.0.1:6380", [], te.Forward("tcp://192.0.2.9:1"), control=Late())
    async with open_edge(edge) as world:
        assert trio.current_time() == 30
        state = edge.control_state()
        assert (state.version, state.applied_at, state.services, state.error) == ("7", 30.0, 1, "")
        await exchange(await world.connect())


async def test_checks_and_reports_that_fail_cost_no_session_and_no_byte(autojump_clock: MockClock) -> None:
    def check(service: str, device: str) -> te.DeviceVerdict:
        raise RuntimeError("a bug of the checker's")

    control = te.MemoryControl({"a": te.Policy(device_unchecked=te.Unchecked.FAIL_OPEN)}, check=check)
    control.down = True
    with capture_logs() as logs:
        async with open_edge(make_edge(control, te.DeviceLimit())) as world:
            client = await world.connect()
            await exchange(client)
            await trio.sleep(60)
            await exchange(client)
            state = world.edge.control_state()
            assert (state.error, state.report_error, state.reported) == ("", "the control plane is down", 0)
            assert state.failing_since is None
            control.down = False
            await trio.sleep(60)
            await exchange(client)
            assert (control.totals("a").bytes_up, control.totals("a").opened) == (8, 1)
            state = world.edge.control_state()
            assert (state.report_error, state.reported > 0) == ("", True)
            assert len(control.checked) > 1
    said = {entry["event"] for entry in logs}
    assert {"device check failed", "report failed", "reports are acknowledged again"} <= said


# What services used.


async def test_a_removed_service_is_reported_to_its_last_byte(autojump_clock: MockClock) -> None:
    control = services(a=te.Policy(), b=te.Policy())
    async with open_edge(make_edge(control)) as world:
        clients = [await world.connect("192.0.2.1") for _ in range(3)]
        for client in clients:
            await exchange(client, b"12345")
        plan = await control.remove("a")
        assert str(plan) == "removes 1 service; evicts 3 sessions"
        for client in clients:
            assert await client.ended() == te.Completed(te.Reason.EVICTED)
        await trio.sleep(20)
        usage = control.totals("a")
        assert (usage.bytes_up, usage.bytes_down, usage.opened) == (15, 15, 3)
        assert (usage.live, usage.sources) == (0, 0)
        assert world.edge.control_state().unreported == 0


async def test_a_service_removed_and_added_again_while_its_sessions_still_end_adds_up(
    autojump_clock: MockClock,
) -> None:
    control = services(a=te.Policy())
    async with open_edge(make_edge(control, dies_slowly)) as world:
        slow = await world.connect()
        await exchange(slow)
        await control.remove("a")
        await trio.sleep(1)
        assert slow.outcome is None
        with pytest.raises(KeyError):
            world.edge.services["a"]
        assert await control.put("a", te.Policy(max_sessions=9)) == te.Plan(added=("a",))
        a = world.edge.services["a"]
        assert (slow.session.service.live, a.live) == (1, 0), "the removed service has a session that ends still"
        assert slow.session.service.incarnation != a.incarnation
        quick = await world.connect()
        await exchange(quick)
        await slow.ended()
        assert (a.live, a.opened) == (1, 1)
        await trio.sleep(20)
        usage = control.totals("a")
        assert (usage.bytes_up, usage.bytes_down, usage.opened, usage.live, usage.sources) == (8, 8, 2, 1, 1)
        await exchange(quick)


async def test_idle_services_are_not_reported(autojump_clock: MockClock) -> None:
    control = services(a=te.Policy(), b=te.Policy(), c=te.Policy())
    async with open_edge(make_edge(control, te.IdleTimeout(10_000))) as world:
        client, _ = await world.connect("192.0.2.1"), await world.connect("192.0.2.2")
        await trio.sleep(3600)
        assert [sorted(usage.service for usage in report.services) for report in control.reports] == [["a", "b"]]
        await exchange(client)
        await trio.sleep(3600)
        assert [[usage.service for usage in report.services] for report in control.reports[1:]] == [["a"]]


@asynccontextmanager
async def draining(edge: te.Edge) -> AsyncIterator[tuple[Rehearsal, trio.Event]]:
    """An edge that ends by itself, and an event that says that it has."""
    upstream, over = ScriptedUpstream(), trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(upstream.run)

        async def serve(task_status: trio.TaskStatus[te.Edge]) -> None:
            await edge.rehearse(upstream, task_status=task_status)
            over.set()

        await nursery.start(serve)
        yield Rehearsal(edge, upstream), over
        with trio.fail_after(3600):
            await over.wait()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("moment", [1.0, 10.2], ids=["before a report", "while a report is under way"])
async def test_the_last_totals_are_reported_before_the_edge_ends(moment: float, autojump_clock: MockClock) -> None:
    control = services(a=te.Policy())
    control.delay = 0.5
    edge = make_edge(control, drain_seconds=3)
    async with draining(edge) as (world, over):
        client = await world.connect()
        await exchange(client)
        await trio.sleep(moment)
        edge.drain()
        await exchange(client, b"more")
        await over.wait()
        assert await client.ended() == te.Completed(te.Reason.DRAINED)
        usage = control.totals("a")
        assert (usage.bytes_up, usage.bytes_down, usage.opened, usage.live) == (8, 8, 1, 0)
        assert edge.control_state().unreported == 0


@pytest.mark.parametrize("moment", [1.0, 15.0], ids=["before a report", "while a report is under way"])
async def test_reports_that_nobody_answers_hold_up_a_drain_no_longer_than_they_may(
    moment: float, autojump_clock: MockClock
) -> None:
    control = services(a=te.Policy())
    control.delay = 3600.0
    edge = make_edge(control, drain_seconds=3)
    async with draining(edge) as (world, over):
        await exchange(await world.connect())
        await trio.sleep(moment)
        edge.drain()
        began = trio.current_time()
        await over.wait()
        assert trio.current_time() == pytest.approx(began + 3 + FLUSH_SECONDS, abs=0.1)


async def test_the_last_report_waits_for_the_last_session(autojump_clock: MockClock) -> None:
    control = services(a=te.Policy())
    edge = make_edge(control, dies_slowly, drain_seconds=3)
    async with draining(edge) as (world, over):
        await exchange(await world.connect())
        edge.drain()
        await over.wait()
        assert trio.current_time() == pytest.approx(3 + 5, abs=0.1)
        assert (control.totals("a").opened, control.totals("a").live) == (1, 0)


async def test_totals_add_up_over_the_runs_of_an_edge(autojump_clock: MockClock) -> None:
    control = services(a=te.Policy())
    edge = make_edge(control, drain_seconds=0, name="edge-7")
    for _ in range(2):
        async with draining(edge) as (world, _):
            for _ in range(2):
                await exchange(await world.connect())
            edge.drain()
    assert (control.totals("a").bytes_up, control.totals("a").opened) == (16, 4)
    assert {report.edge for report in control.reports} == {"edge-7"}
    assert len({report.epoch for report in control.reports}) == 2


# What an edge can be asked.


async def test_it_explains_sessions_that_live_that_ended_and_that_were_refused(autojump_clock: MockClock) -> None:
    async with open_edge(make_edge(services(a=te.Policy(session_rate=1, session_burst=1)))) as world:
        edge = world.edge
        client, refused = await world.connect(), await world.connect()
        await exchange(client)
        stages = ["Identify", "SessionGate", "SourceMatch", "ConcurrencyLimit", "Pacing", "Forward"]
        live = edge.explain(client.session)
        assert edge.explain(client.session.id) == live
        assert [step.stage for step in live.steps] == stages
        assert [step.answer for step in live.steps] == ["continue"] * 5 + ["connected"]
        assert all(step.microseconds is not None and step.microseconds < 1e5 for step in live.steps)
        found = edge.explain(refused.session.id)
        assert [(step.stage, step.answer) for step in found.steps] == [
            ("Identify", "continue"),
            ("SessionGate", "rate: more sessions a second than its service's policy has"),
        ]
        await client.close()
        await client.ended()
        assert edge.explain(client.session.id).outcome == "finished"
        with pytest.raises(KeyError):
            edge.explain(99)
        assert [(each.stage, each.sessions) for each in edge.stage_times()] == [
            ("Identify", 2), ("SessionGate", 2), ("SourceMatch", 1), ("ConcurrencyLimit", 1), ("Pacing", 1),
        ]  # fmt: skip


async def test_a_refusal_of_the_endpoint_is_the_endpoints(autojump_clock: MockClock) -> None:
    edge = make_edge(services(a=te.Policy()), te.IdleTimeout(9), endpoint=te.Forward())
    async with open_edge(edge) as world:
        client = await world.connect()
        await client.ended()
        assert [(step.stage, step.answer) for step in edge.explain(client.session).steps] == [
            ("Identify", "continue"),
            ("IdleTimeout", "continue"),
            ("Forward", "service: its policy names no outbound"),
        ]


async def test_evict_says_how_many_by_service_source_device_and_session(autojump_clock: MockClock) -> None:
    control = services(a=te.Policy(), b=te.Policy())
    async with open_edge(make_edge(control, te.DeviceLimit())) as world:
        edge = world.edge
        sources = ["192.0.2.1", "192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.2"]
        clients = [await world.connect(source) for source in sources]
        assert edge.evict(service="a", source="192.0.2.2") == 0
        assert edge.evict(service="a", device="2001:db8::1") == 1
        assert edge.evict(session=clients[0].session) == 1
        assert edge.evict(session=clients[1].session.id, service="b") == 0
        assert edge.evict(source="192.0.2.1") == 1
        assert edge.evict(service="b") == 2
        assert edge.evict(service="b") == 0
        with pytest.raises(TypeError):
            edge.evict()
        with pytest.raises(TypeError):
            edge.evict(device="192.0.2.1")
        for client in clients:
            assert await client.ended() == te.Completed(te.Reason.EVICTED)


async def test_an_edge_without_a_control_plane_has_services_of_any_name(autojump_clock: MockClock) -> None:
    async with open_edge(make_edge(None)) as world:
        await exchange(await world.connect("192.0.2.1"))
        state = world.edge.control_state()
        assert (state.version, state.applied_at, state.error, state.unreported) == ("", None, "", 0)
        assert not await world.edge.verify("a", "")


@pytest.mark.parametrize("seconds", [0, -1, "10"])
def test_the_time_between_reports_must_be_one(seconds: Any) -> None:
    with pytest.raises(te.ConfigurationError, match=r"Edge\(report_seconds=.*\) must be a number above 0"):
        make_edge(te.MemoryControl(), report_seconds=seconds)


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        ([], "names no address"),
        (["tcp://127.0.0.1:6380", "tcp://[::1]:6380", "tcp://127.0.0.1:6380"], "tcp://127.0.0.1:6380 twice"),
        (["unix:///run/edge.sock"] * 2, "unix:///run/edge.sock twice"),
    ],
)
def test_addresses_that_cannot_be_are_named(listen: list[str], message: str) -> None:
    with pytest.raises(te.ConfigurationError, match=message):
        te.Edge(listen, [], te.Forward("tcp://192.0.2.9:1"))


def test_two_ports_may_be_left_to_the_system() -> None:
    assert len(te.Edge(["tcp://127.0.0.1:0"] * 2, [], te.Forward("tcp://192.0.2.9:1")).listen) == 2


async def test_without_a_control_plane_there_is_nothing_to_plan(autojump_clock: MockClock) -> None:
    async with open_edge(te.Edge("tcp://127.0.0.1:0", [te.Pacing("1 MB/s")], te.Forward("tcp://192.0.2.9:1"))) as world:
        await exchange(await world.connect())
        with pytest.raises(te.ConfigurationError, match="an edge without control="):
            await world.edge.plan(te.Snapshot({}))


async def test_one_control_plane_serves_two_edges_at_once(autojump_clock: MockClock) -> None:
    control = services(a=te.Policy())
    first, second = (te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://192.0.2.9:1"), control=control) for _ in "12")
    async with open_edge(first):
        async with open_edge(second):
            await control.put("b", te.Policy())
            assert [list(edge.services) for edge in (first, second)] == [["a", "b"]] * 2
        await control.put("c", te.Policy())
        assert [list(edge.services) for edge in (first, second)] == [["a", "b", "c"], ["a", "b"]]


async def test_one_recipe_serves_two_edges_at_once_and_each_has_counts_of_its_own(autojump_clock: MockClock) -> None:
    stages = [te.Identify("a"), te.SessionGate(rate=1, burst=1), te.ConcurrencyLimit(1)]
    first, second = (te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://192.0.2.9:1")) for _ in "12")
    async with open_edge(first) as one, open_edge(second) as other:
        for world in (one, other):
            await exchange(await world.connect())
            assert (await world.connect()).outcome == te.Reject(
                te.Reason.RATE, "more than 1 sessions a second per service"
            )


async def test_an_edge_that_serves_cannot_be_served_again_and_loses_nothing_by_the_try(
    autojump_clock: MockClock,
) -> None:
    edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://192.0.2.9:1"))
    async with open_edge(edge) as world:
        with pytest.raises(RuntimeError, match="serving already"):
            await edge.serve()
        await exchange(await world.connect())
