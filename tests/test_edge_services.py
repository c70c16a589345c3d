"""Whole edges under a control plane: whose session it is, and control planes that are silent, late or broken."""

import errno
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs
from trio.testing import MockClock

import trioedge as te
from tests.support.edges import by_source, exchange, is_over, make_edge, services
from tests.support.wires import echo, receive_exactly, server
from trioedge.testing import open_edge


async def test_an_edge_whose_stages_name_no_service_has_the_service_default(autojump_clock: MockClock) -> None:
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
async def test_a_service_that_a_stage_names_is_refused_if_it_is_unknown_or_disabled(
    naming: object, autojump_clock: MockClock
) -> None:
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


async def test_a_source_without_a_service_is_refused(autojump_clock: MockClock) -> None:
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


async def test_a_session_named_behind_a_middleware_moves_from_the_unnamed_service_to_its_own(
    autojump_clock: MockClock,
) -> None:
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


@pytest.mark.parametrize(
    ("control", "mend"),
    [
        ("services.toml", "write control=te.FileControl('services.toml')"),
        (object(), "it needs async run(link)"),
        (te.Policy(), "it needs async run(link)"),
    ],
)
def test_an_object_without_run_is_refused_as_control_plane(control: Any, mend: str) -> None:
    with pytest.raises(te.ConfigurationError, match=re.escape(f"is no control plane: {mend}")):
        make_edge(control)


class Silent:
    """Never says a word."""

    def __init__(self) -> None:
        self.asked = trio.Event()
        self.cancelled = False

    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        self.asked.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled = True


@pytest.mark.parametrize("ending", ["drain", "cancel"])
async def test_an_edge_whose_control_plane_is_silent_refuses_clients_and_ends_at_once(ending: str) -> None:
    control, started = Silent(), False
    edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://192.0.2.9:1"), control=control)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                nonlocal started
                await nursery.start(edge.serve)
                started = True

            nursery.start_soon(serve)
            await control.asked.wait()
            port = int(edge.addresses[0].rpartition(":")[2])
            with socket.socket() as client:
                assert client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
            assert (edge.statistics().accepted, started) == (0, False)
            if ending == "drain":
                edge.drain()
            else:
                nursery.cancel_scope.cancel()
    assert control.cancelled
    assert (edge.addresses, edge.statistics().accepted) == ((), 0)


async def test_no_client_is_accepted_before_the_first_snapshot(autojump_clock: MockClock) -> None:
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
