"""The endpoint of Forward, over real sockets: connecting, carrying, pacing and allowances.

Each of its awaits is cancelled in tests/serving/test_sessions_cancelled.py.
"""

import socket
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.connectors import HeldConnector
from tests.support.middlewares import read_ahead, wrap
from tests.support.open_files import open_files
from tests.support.ports import closed_port, deaf_port
from tests.support.socket_rates import paced_at
from tests.support.wires import connect, echo, edge_to, receive_all, receive_exactly, server, serving, stream
from trioedge.addresses.address import Address
from trioedge.session.allowance import Allowance
from trioedge.testing import ScriptedUpstream, open_edge
from trioedge.upstreams.pool import pace


async def test_bytes_that_a_middleware_gives_back_reach_the_upstream_first() -> None:
    async with server(echo) as port, serving(edge_to(port, read_ahead)) as edge_port:
        async with await connect(edge_port) as client:
            await client.send_all(b"head and body")
            assert await receive_exactly(client, 13) == b"head and body"


@pytest.mark.parametrize("stages", [[], [read_ahead]], ids=["without a task", "with a task"])
async def test_an_upstream_that_refuses_ends_the_session_with_its_reason(stages: list[object]) -> None:
    edge = edge_to(closed_port(), *stages, retries=0)
    async with serving(edge) as edge_port, await connect(edge_port) as client:
        await client.send_all(b"ping")
        with pytest.raises(trio.BrokenResourceError):
            await receive_all(client)
        await trio.testing.wait_all_tasks_blocked()
        assert edge.statistics().ended == {te.Reason.UPSTREAM_REFUSED: 1}


async def test_an_upstream_that_does_not_answer_ends_the_session_within_the_limit() -> None:
    async with deaf_port() as port:
        edge = edge_to(port, connect_seconds=0.2)
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            began = trio.current_time()
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()
            assert 0.2 <= trio.current_time() - began < 1
            assert edge.statistics().ended == {te.Reason.UPSTREAM_TIMEOUT: 1}


@pytest.mark.parametrize("stages", [[], [read_ahead], [wrap]], ids=["without a task", "with a task", "wrapped"])
async def test_limits_of_very_many_seconds_are_limits_without_an_end(stages: list[object]) -> None:
    async with server() as port:
        edge = edge_to(port, te.IdleTimeout(1e308, half_closed_seconds=1e308), *stages, connect_seconds=1e308)
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            await client.send_all(b"ping and more")
            assert await receive_exactly(client, 13) == b"ping and more"
            await client.send_eof()
            assert await receive_all(client) == b""
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert edge.statistics().ended == {te.Reason.FINISHED: 1}


async def test_a_session_takes_an_idle_connection_or_connects_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "TOP_UP_SECONDS", 0.01)
    accepted = 0

    async def count(connection: trio.SocketStream) -> None:
        nonlocal accepted
        accepted += 1
        await echo(connection)

    async with server(count) as port, serving(edge_to(port, preconnect=2)) as edge_port:
        with trio.fail_after(5):
            while accepted < 2:
                await trio.sleep(0.001)
        clients = [await connect(edge_port) for _ in range(6)]
        for number, client in enumerate(clients):
            await client.send_all(b"%d" % number)
        for number, client in enumerate(clients):
            assert await receive_exactly(client, 1) == b"%d" % number
        with trio.fail_after(5):
            while accepted < 8:  # six sessions, and two ready again
                await trio.sleep(0.001)
        for client in clients:
            await client.aclose()


async def test_the_greeting_of_an_upstream_reaches_the_client_with_and_without_preconnect() -> None:
    async def greet(connection: trio.SocketStream) -> None:
        await connection.send_all(b"220 welcome\r\n")
        await echo(connection)

    for preconnect in (0, 2):
        async with server(greet) as port, serving(edge_to(port, preconnect=preconnect)) as edge_port:
            await trio.sleep(0.02)
            for _ in range(3):
                async with await connect(edge_port) as client:
                    assert await receive_exactly(client, 13) == b"220 welcome\r\n"


async def test_the_answer_of_an_upstream_that_hangs_up_at_once_reaches_the_client() -> None:
    async def brief(connection: trio.SocketStream) -> None:
        await connection.send_all(b"bye")

    async with server(brief) as port, serving(edge_to(port)) as edge_port:
        for _ in range(20):
            async with await connect(edge_port) as client:
                assert await receive_all(client) == b"bye"


@pytest.mark.parametrize("stages", [(), (read_ahead,), (wrap,)], ids=["without a task", "with a task", "wrapped"])
async def test_an_upload_that_is_cut_ends_with_a_reset_at_the_upstream(stages: tuple[object, ...]) -> None:
    heard: list[str] = []

    async def listen(connection: trio.SocketStream) -> None:
        try:
            while await connection.receive_some():
                heard.append("bytes")
            heard.append("the end")
        except trio.BrokenResourceError:
            heard.append("a reset")

    async with server(listen) as port:
        edge = te.Edge("tcp://127.0.0.1:0", stages, te.Forward(f"tcp://127.0.0.1:{port}"))
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            await client.send_all(b"half of it")
            with trio.fail_after(5):
                while not heard:
                    await trio.sleep(0.001)
                assert edge.evict(source="127.0.0.1") == 1
                while len(heard) < 2:
                    await trio.sleep(0.001)
    assert heard == ["bytes", "a reset"]


@pytest.mark.parametrize(
    ("listen", "upstream", "rate", "pacing", "task"),
    [
        ("tcp", "tcp", None, "", False),
        ("tcp", "tcp", 1e6, "kernel", False),
        ("unix", "tcp", None, "", False),
        ("unix", "tcp", 1e6, "timeline", True),
        ("tcp", "unix", None, "", False),
        ("tcp", "unix", 1e6, "timeline", True),
    ],
)
async def test_tcp_is_paced_by_the_kernel_and_local_sockets_by_a_timeline(
    listen: str, upstream: str, rate: float | None, pacing: str, task: bool, tmp_path: Path
) -> None:
    path = tmp_path / "upstream.sock"
    async with server() as port, trio.open_nursery() as nursery:
        await nursery.start(te.Edge(f"unix://{path}", [], te.Forward(f"tcp://127.0.0.1:{port}")).serve)
        address = f"tcp://127.0.0.1:{port}" if upstream == "tcp" else f"unix://{path}"
        where = "tcp://127.0.0.1:0" if listen == "tcp" else f"unix://{tmp_path / 'edge.sock'}"
        edge = te.Edge(where, [te.Pacing(rate, None)] if rate else [], te.Forward(address))
        await nursery.start(edge.serve)
        if listen == "tcp":
            client = await connect(int(edge.addresses[0].rpartition(":")[2]))
        else:
            client = await trio.open_unix_socket(tmp_path / "edge.sock")
        async with client:
            await client.send_all(b"ping")
            assert await receive_exactly(client, 4) == b"ping"
            (session,) = edge.sessions
            assert (session.pacing, session.scope is not None) == (pacing, task)
        nursery.cancel_scope.cancel()


class HeldBack:
    """An outbound whose connections are made when the test says so."""

    def open(self, context: te.EdgeContext) -> HeldConnector:
        self.held = HeldConnector(context.reactor)
        return self.held


async def test_a_rate_that_comes_during_the_connect_applies_from_the_first_byte() -> None:
    outbound = HeldBack()
    edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://192.0.2.9:1", outbound=outbound))
    async with serving(edge) as port, await connect(port) as client:
        with trio.fail_after(5):
            while not outbound.held.callbacks:
                await trio.sleep(0.001)
        (session,) = edge.sessions
        assert (session.phase, session.pacing) == ("connecting", "")
        session.pace(3e6, 2e6)
        near, far = outbound.held.connect()
        assert (session.phase, session.pacing) == ("relaying", "kernel")
        relay: Any = session.carrier
        assert (paced_at(relay.down.sock), paced_at(near)) == (3_000_000, 2_000_000)
        async with stream(far) as upstream:
            await client.send_all(b"ping")
            assert await receive_exactly(upstream, 4) == b"ping"


@pytest.mark.parametrize("granted", [0, 3, 4, 100])
async def test_bytes_that_were_read_ahead_are_charged_to_the_allowance(granted: int) -> None:
    allowance = Allowance(granted)

    @te.decision
    def grant(session: te.Session) -> te.Verdict:
        session.allowance = allowance
        return te.CONTINUE

    heard = bytearray()

    async def listen(connection: trio.SocketStream) -> None:
        while data := await connection.receive_some():
            heard.extend(data)
            await connection.send_all(data)

    async with server(listen) as port:
        edge = edge_to(port, read_ahead, grant)
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            await client.send_all(b"head")
            await trio.sleep(0.03)
            await client.send_all(b" and body")
            await trio.sleep(0.03)
            (session,) = edge.sessions
            assert session.bytes_up + session.bytes_down <= granted
            assert granted == 100 or bytes(heard) == (b"head" if granted == 4 else b"")
            allowance.lift()
            with trio.fail_after(1):
                assert await receive_exactly(client, 13) == b"head and body"
        assert not allowance._waiting


@pytest.mark.parametrize("how", ["cut", "cancelled"])
async def test_a_session_that_waits_with_bytes_read_ahead_can_be_cut_and_cancelled(how: str) -> None:
    allowance = Allowance(0)

    @te.decision
    def grant(session: te.Session) -> te.Verdict:
        session.allowance = allowance
        return te.CONTINUE

    files = open_files()
    edge = edge_to(closed_port(), read_ahead, grant)
    async with serving(edge) as edge_port:
        client = await connect(edge_port)
        await client.send_all(b"head")
        with trio.fail_after(5):
            while not allowance._waiting:
                await trio.sleep(0.001)
        if how == "cut":
            (session,) = edge.sessions
            session.cut(te.Reason.DEVICE)
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()
            assert edge.statistics().ended == {te.Reason.DEVICE: 1}
    assert not allowance._waiting
    await client.aclose()
    assert open_files() == files


@pytest.mark.parametrize("refuse", ["reset", "close"])
@pytest.mark.parametrize("stages", [[], [read_ahead]], ids=["without a task", "with a task"])
async def test_a_session_without_a_destination_is_closed_as_the_edge_was_told(
    stages: list[object], refuse: Any
) -> None:
    edge = te.Edge("tcp://127.0.0.1:0", stages, te.Forward(lambda _: te.Reject(te.Reason.SERVICE)), refuse=refuse)
    async with serving(edge) as port, await connect(port) as client:
        if stages:
            await client.send_all(b"ping")  # which the stage reads; unread bytes would make a reset of every close
        if refuse == "close":
            assert await receive_all(client) == b""
        else:
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(client)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert edge.statistics().refused == {te.Reason.SERVICE: 1}


# Outbounds of a user's own.


@attrs.define(eq=False)
class Way:
    """An outbound that connects in a task.

    Attributes:
        port: where it connects, whatever address it is asked for.
        trail: the calls so far.
        error: raised in place of a connection.
    """

    port: int = 0
    trail: list[str] = attrs.field(factory=list)
    error: Exception | None = None

    async def connect(self, address: Address) -> trio.SocketStream:
        self.trail.append(f"connect {address}")
        if self.error is not None:
            raise self.error
        return await trio.open_tcp_stream("127.0.0.1", self.port)


@attrs.define(eq=False)
class WayRecipe:
    """A recipe of :class:`Way`, with a worker and something to close."""

    port: int = 0
    trail: list[str] = attrs.field(factory=list)

    def open(self, context: te.EdgeContext) -> "LiveWay":
        self.trail.append("open")
        return LiveWay(self.port, self.trail)


class LiveWay(Way):
    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        self.trail.append("run")
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self.trail.append("stop")

    def close(self) -> None:
        self.trail.append("close")


@pytest.mark.parametrize("stages", [[], [read_ahead], [wrap]], ids=["without a middleware", "with one", "wrapped"])
async def test_an_outbound_that_connects_in_a_task_has_its_sockets_carried_in_the_reactor(stages: list[object]) -> None:
    async with server() as upstream_port:
        way = Way(upstream_port)
        edge = te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://one.test:1", outbound=way))
        async with serving(edge) as port, await connect(port) as client:
            await client.send_all(b"ping and more")
            assert await receive_exactly(client, 13) == b"ping and more"
            (session,) = edge.sessions
            carrier = "StreamRelay" if wrap in stages else "Relay"
            assert (type(session.carrier).__name__, session.scope is None) == (carrier, False)
            assert edge.evict(session=session) == 1
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(client)
        assert way.trail == ["connect tcp://one.test:1"]


class SameSocket:
    """An outbound that gives every session the same connection, as one with a fault in its pool does."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))

    async def connect(self, address: Address) -> socket.socket:
        return self.sock


@pytest.mark.parametrize("stages", [[], [read_ahead]], ids=["without a middleware", "with one"])
async def test_a_connection_that_carries_a_session_costs_the_second_session_only(stages: list[object]) -> None:
    async with server() as upstream_port:
        edge = te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://one.test:1", outbound=SameSocket(upstream_port)))
        async with serving(edge) as port, await connect(port) as first:
            await first.send_all(b"ping")
            assert await receive_exactly(first, 4) == b"ping"
            with capture_logs() as logs:
                async with await connect(port) as second:
                    await second.send_all(b"ping")
                    with pytest.raises(trio.BrokenResourceError):
                        await receive_all(second)
                await trio.testing.wait_all_tasks_blocked(0.01)
            assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["stage failed"]
            ended: Any = edge._run.sessions.recent[0]  # type: ignore[union-attr]
            assert "carries another session already" in ended.outcome.detail
            assert edge.statistics().ended == {te.Reason.FAULT: 1}
            await first.send_all(b"more")
            assert await receive_exactly(first, 4) == b"more"
            assert edge.evict(source="127.0.0.1") == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(), te.Reason.UPSTREAM_REFUSED),
        (te.UpstreamError(te.Reason.OVERLOAD, "the proxy is full"), te.Reason.OVERLOAD),
        (LookupError("bug"), te.Reason.FAULT),
    ],
)
async def test_an_outbound_that_fails_ends_the_session_with_its_reason(error: Exception, reason: te.Reason) -> None:
    edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://one.test:1", retries=0, outbound=Way(error=error)))
    with capture_logs():
        async with serving(edge) as port, await connect(port) as client:
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(client)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert edge.statistics().ended == {reason: 1}


async def test_the_outbound_of_a_forward_is_opened_run_and_closed_with_each_run_of_the_edge() -> None:
    async with server() as upstream_port:
        way = WayRecipe(upstream_port)
        edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://one.test:1", outbound=way))
        for _ in range(2):
            async with serving(edge) as port, await connect(port) as client:
                await client.send_all(b"ping")
                assert await receive_exactly(client, 4) == b"ping"
            assert way.trail == ["open", "run", "connect tcp://one.test:1", "stop", "close"]
            way.trail.clear()


async def test_the_outbound_of_the_edge_is_not_run_by_its_endpoint(autojump_clock: trio.testing.MockClock) -> None:
    class Counted(ScriptedUpstream):
        runs = 0

        async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
            self.runs += 1
            await super().run(task_status=task_status)

    upstream = Counted()
    async with open_edge(te.Edge("tcp://127.0.0.1:6380", [], te.Forward("tcp://one.test:1")), upstream) as world:
        client = await world.connect()
        await client.send(b"ping")
        assert await client.receive(4) == b"ping"
    assert upstream.runs == 1


@pytest.mark.parametrize("way", [Way(), WayRecipe()])
async def test_preconnect_with_an_outbound_that_connects_in_a_task_is_refused(way: Way | WayRecipe) -> None:
    edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://one.test:1", preconnect=2, outbound=way))
    refused = pytest.RaisesExc(te.ConfigurationError, match=r"preconnect=2\) does nothing with .*leave preconnect out")
    with pytest.RaisesGroup(refused, flatten_subgroups=True):
        await edge.serve()
    assert way.trail == ([] if isinstance(way, Way) else ["open", "close"])
