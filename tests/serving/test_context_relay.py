"""An endpoint of a user's own that relays with `context.relay`: limits, counts and cuts apply as with Forward."""

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.open_files import open_files
from tests.support.ports import closed_port, deaf_port
from tests.support.socket_rates import paced_at
from tests.support.wires import connect, receive_all, receive_exactly, server, serving, silent
from trioedge.addresses.address import parse_address
from trioedge.serving.stage_calls import CONNECT_SECONDS
from trioedge.testing import ScriptedUpstream, echo, open_edge

LISTEN = "tcp://127.0.0.1:6380"

Upstream = Callable[[], Awaitable[Any]]


@attrs.define(eq=False)
class Relaying:
    """An endpoint that relays to what `upstream` gives, after it has read some bytes and given them back.

    Attributes:
        upstream: gives an address or a connection.
        reads: how many bytes it reads first; 0 for none.
        outcomes: what `context.relay` returned.
    """

    upstream: Upstream
    reads: int = 0
    outcomes: list[te.Outcome] = attrs.field(factory=list)
    relays = True

    def open(self, context: te.EdgeContext) -> "LiveRelaying":
        return LiveRelaying(self, context)


class LiveRelaying:
    def __init__(self, recipe: Relaying, context: te.EdgeContext) -> None:
        self._recipe, self._context = recipe, context

    async def handle(self, session: te.Session) -> te.Outcome:
        if self._recipe.reads:
            session.stream.unread(await session.stream.receive_some(self._recipe.reads))
        outcome = await self._context.relay(session, await self._recipe.upstream())
        self._recipe.outcomes.append(outcome)
        return outcome


def upstream_of(kind: str, port: int) -> Upstream:
    """Give an upstream in one of its forms."""

    async def give() -> Any:
        await trio.lowlevel.checkpoint()
        address = f"tcp://127.0.0.1:{port}"
        if kind == "text":
            return address
        if kind == "address":
            return parse_address(address)
        if kind == "socket":
            return socket.create_connection(("127.0.0.1", port))
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        if kind == "socket of trio":
            return stream.socket
        return stream if kind == "stream of trio" else trio.StapledStream(stream, stream)

    return give


KINDS = ["text", "address", "socket", "socket of trio", "stream of trio", "another stream"]
all_kinds = pytest.mark.parametrize("kind", KINDS)


def edge_of(endpoint: object, *stages: object, **arguments: Any) -> te.Edge:
    return te.Edge("tcp://127.0.0.1:0", stages, endpoint, **arguments)


@all_kinds
async def test_bytes_and_half_closes_are_carried_and_counted_whatever_the_form_of_the_upstream(kind: str) -> None:
    async def answer(connection: trio.SocketStream) -> None:
        assert await receive_all(connection) == b"question"
        await connection.send_all(b"the answer")

    async with server(answer) as port:
        endpoint = Relaying(upstream_of(kind, port))
        edge = edge_of(endpoint)
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            await client.send_all(b"question")
            while not any(each.phase == "relaying" for each in edge.sessions):
                await trio.sleep(0.001)
            (session,) = edge.sessions
            assert type(session.carrier).__name__ == ("StreamRelay" if kind == "another stream" else "Relay")
            await client.send_eof()
            assert await receive_all(client) == b"the answer"
            await trio.testing.wait_all_tasks_blocked(0.01)
            service = edge.services["default"]
            assert (service.up.bytes, service.down.bytes, session.bytes_up, session.bytes_down) == (8, 10, 8, 10)
            assert endpoint.outcomes == [te.Completed()]
            assert edge.statistics() == te.Statistics(1, 0, {}, {te.Reason.FINISHED: 1}, 8, 10)


async def test_over_a_local_socket_the_reactor_carries_too(tmp_path: Path) -> None:
    path = tmp_path / "upstream.sock"
    async with server() as port, trio.open_nursery() as nursery:
        await nursery.start(te.Edge(f"unix://{path}", [], te.Forward(f"tcp://127.0.0.1:{port}")).serve)

        async def address() -> str:
            await trio.lowlevel.checkpoint()
            return f"unix://{path}"

        edge = edge_of(Relaying(address))
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            await client.send_all(b"ping")
            assert await receive_exactly(client, 4) == b"ping"
            (session,) = edge.sessions
            assert type(session.carrier).__name__ == "Relay"
        nursery.cancel_scope.cancel()


@all_kinds
async def test_bytes_that_the_endpoint_gives_back_reach_the_upstream_first(kind: str) -> None:
    async with server() as port:
        edge = edge_of(Relaying(upstream_of(kind, port), reads=4))
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            await client.send_all(b"head and body")
            assert await receive_exactly(client, 13) == b"head and body"


@all_kinds
async def test_an_evicted_session_has_both_sockets_closed_when_evict_returns(kind: str) -> None:
    async with server(silent) as port:
        endpoint = Relaying(upstream_of(kind, port))
        edge = edge_of(endpoint)
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            await wait_for_phase(edge, "relaying")
            await trio.testing.wait_all_tasks_blocked(0.01)  # the upstream, which is in this process, has accepted
            files = open_files()
            assert edge.evict(source="127.0.0.1") == 1
            if kind != "another stream":  # whose task closes both next
                assert open_files() == files - 2
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(client)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert open_files() == files - 2
            assert edge.statistics().ended == {te.Reason.EVICTED: 1}


@pytest.mark.parametrize("again", KINDS)
@pytest.mark.parametrize("kind", ["text", "another stream"])
async def test_a_session_that_is_relayed_twice_is_still_served_by_its_first_relay_and_evicted(
    kind: str, again: str
) -> None:
    refused: list[RuntimeError] = []

    class Twice(LiveRelaying):
        async def handle(self, session: te.Session) -> te.Outcome:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(super().handle, session)
                await trio.testing.wait_all_tasks_blocked(0.01)
                try:
                    return await self._context.relay(session, await upstream_of(again, port)())
                except RuntimeError as error:
                    refused.append(error)
            return self._recipe.outcomes[0]

    class Recipe(Relaying):
        def open(self, context: te.EdgeContext) -> Twice:
            return Twice(self, context)

    async with server() as port:
        edge = edge_of(Recipe(upstream_of(kind, port)))
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            await wait_for_phase(edge, "relaying")
            await trio.sleep(0.1)
            assert [str(error) for error in refused] == ["session 1 has a relay already: a session is relayed once"]
            await client.send_all(b"ping")
            assert await receive_exactly(client, 4) == b"ping"
            assert edge.evict(source="127.0.0.1") == 1
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(client)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert edge.statistics().ended == {te.Reason.EVICTED: 1}


async def test_a_session_without_a_task_cannot_be_relayed_by_a_worker_and_goes_on() -> None:
    """A stage has the context; a connection that it passes is closed."""
    contexts: list[te.EdgeContext] = []

    class Stage:
        def decide(self, session: te.Session) -> te.Verdict:
            return te.CONTINUE

    @attrs.define(eq=False)
    class Keeps:
        kind = "decision"

        def open(self, context: te.EdgeContext) -> Stage:
            contexts.append(context)
            return Stage()

    async with server() as port:
        edge = edge_of(te.Forward(f"tcp://127.0.0.1:{port}"), Keeps())
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            await wait_for_phase(edge, "relaying")
            (session,) = edge.sessions
            sock = socket.create_connection(("127.0.0.1", port))
            with pytest.raises(RuntimeError, match="session 1 has a relay already"):
                await contexts[0].relay(session, sock)
            assert sock.fileno() == -1
            await client.send_all(b"ping")
            assert await receive_exactly(client, 4) == b"ping"
            assert edge.evict(session=session) == 1


async def wait_for_phase(edge: te.Edge, phase: str) -> None:
    with trio.fail_after(5):
        while [session.phase for session in edge.sessions] != [phase]:
            await trio.sleep(0.001)


@pytest.mark.parametrize("kind", ["text", "another stream"])
async def test_an_idle_session_is_cut(kind: str) -> None:
    async with server(silent) as port:
        edge = edge_of(Relaying(upstream_of(kind, port)), te.IdleTimeout(0.1))
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
                await receive_all(client)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert edge.statistics().ended == {te.Reason.IDLE: 1}


@pytest.mark.parametrize(("kind", "pacing"), [("text", "kernel"), ("socket", "kernel"), ("another stream", "timeline")])
async def test_a_rate_is_kept_by_the_kernel_for_sockets_and_by_a_timeline_for_streams(kind: str, pacing: str) -> None:
    async with server() as port:
        edge = edge_of(Relaying(upstream_of(kind, port)), te.Pacing("2 MB/s", "1 MB/s"))
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            await client.send_all(b"ping")
            assert await receive_exactly(client, 4) == b"ping"
            (session,) = edge.sessions
            relay: Any = session.carrier
            assert session.pacing == pacing
            if pacing == "kernel":
                assert (paced_at(relay.down.sock), paced_at(relay.up.sock)) == (2_000_000, 1_000_000)


@pytest.mark.parametrize("why", ["refused", "silent"])
async def test_an_upstream_that_cannot_be_reached_ends_the_session_with_its_reason(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge.upstreams.attempt.RETRY_SECONDS", 0.001)
    async with deaf_port() as deaf:
        endpoint = Relaying(upstream_of("text", closed_port() if why == "refused" else deaf))
        edge = edge_of(endpoint)
        with capture_logs() as logs:
            async with serving(edge) as edge_port, await connect(edge_port) as client:
                if why == "silent":
                    await trio.sleep(0.05)
                    edge.evict(source="127.0.0.1")
                with pytest.raises(trio.BrokenResourceError):
                    await receive_all(client)
                await trio.testing.wait_all_tasks_blocked(0.01)
        if why == "refused":
            assert edge.statistics().ended == {te.Reason.UPSTREAM_REFUSED: 1}
            assert [entry["reason"] for entry in logs if entry["event"] == "upstream failed"] == ["upstream_refused"]
        else:
            assert edge.statistics().ended == {te.Reason.EVICTED: 1}


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        ("127.0.0.1:80", "must begin with tcp://"),
        (7, "context.relay() got 7: it must be a connected socket or a stream"),
        (None, "context.relay() got None: it must be"),
    ],
)
async def test_an_upstream_that_is_none_costs_that_session_only(given: object, detail: str) -> None:
    async def give() -> object:
        await trio.lowlevel.checkpoint()
        return given

    edge = edge_of(Relaying(give))
    with capture_logs():
        async with serving(edge) as edge_port:
            for _ in range(2):
                async with await connect(edge_port) as client:
                    with pytest.raises(trio.BrokenResourceError):
                        await receive_all(client)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert edge.statistics().ended == {te.Reason.FAULT: 2}
            (session, _) = edge._run.sessions.recent  # type: ignore[union-attr]
            assert detail in session.outcome.detail  # type: ignore[union-attr]


@pytest.mark.parametrize("make", [socket.socket, lambda: socket.socket(type=socket.SOCK_DGRAM)])
async def test_a_socket_that_is_no_connection_is_closed(make: Callable[[], socket.socket]) -> None:
    made: list[socket.socket] = []

    async def give() -> socket.socket:
        await trio.lowlevel.checkpoint()
        made.append(make())
        return made[-1]

    edge = edge_of(Relaying(give))
    with capture_logs():
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(client)
    assert made[0].fileno() == -1
    assert edge.statistics().ended == {te.Reason.FAULT: 1}


@all_kinds
async def test_an_edge_that_is_cancelled_before_any_step_leaves_neither_side_open(kind: str) -> None:
    edges: list[te.Edge] = []

    async def live() -> None:
        async with server() as port:
            edges.append(edge_of(Relaying(upstream_of(kind, port), reads=4)))
            async with serving(edges[-1]) as edge_port, await connect(edge_port) as client:
                await client.send_all(b"head and body")
                assert await receive_exactly(client, 13) == b"head and body"
                await client.send_eof()
                assert await receive_all(client) == b""

    await live()
    before = left_open()

    def check() -> None:
        assert left_open() == before
        assert len(edges[-1].sessions) == 0

    with capture_logs() as logs:
        assert await cancel_at_every_step(live, check) > 20
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


# In memory, under a fake clock.


async def somewhere() -> str:
    await trio.lowlevel.checkpoint()
    return "tcp://one.test:1"


async def test_in_memory_an_address_reaches_the_scripted_upstream(autojump_clock: trio.testing.MockClock) -> None:
    upstream = ScriptedUpstream()
    endpoint = Relaying(somewhere, reads=4)
    async with open_edge(te.Edge(LISTEN, [], endpoint), upstream) as world:
        client = await world.connect()
        await client.send(b"head and body")
        assert await client.receive(13) == b"head and body"
        await client.finish()
        assert await client.receive_all() == b""
        assert await client.ended() == te.Completed()
        assert world.edge.services["default"].up.bytes == 13
    assert [str(address) for address in upstream.asked] == ["tcp://one.test:1"]


async def test_in_memory_a_rate_and_an_idle_limit_apply(autojump_clock: trio.testing.MockClock) -> None:
    async def flood(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(bytes(10_000))
        await trio.sleep_forever()

    stages = [te.Pacing(1_000, None), te.IdleTimeout(30)]
    async with open_edge(te.Edge(LISTEN, stages, Relaying(somewhere)), flood) as world:
        client = await world.connect(lockstep=True)
        began = trio.current_time()
        assert len(await client.receive(10_000)) == 10_000
        assert trio.current_time() - began == pytest.approx(9, abs=1.1)
        assert client.session.pacing == "timeline"
        assert await client.ended() == te.Completed(te.Reason.IDLE)
        assert trio.current_time() - began == pytest.approx(9 + 30, abs=2)


async def test_in_memory_an_evicted_session_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(te.Edge(LISTEN, [], Relaying(somewhere))) as world:
        client = await world.connect()
        await client.send(b"ping")
        assert await client.receive(4) == b"ping"
        assert world.edge.evict(session=client.session) == 1
        assert await client.ended() == te.Completed(te.Reason.EVICTED)
        with pytest.raises(trio.BrokenResourceError):
            await client.send(b"ping")


async def test_in_memory_a_connect_takes_5_seconds_at_most(autojump_clock: trio.testing.MockClock) -> None:
    with capture_logs():
        upstream = ScriptedUpstream(connect_seconds=60)
        async with open_edge(te.Edge(LISTEN, [], Relaying(somewhere)), upstream) as world:
            client = await world.connect()
            outcome = await client.ended()
            assert (outcome.reason, trio.current_time()) == (te.Reason.UPSTREAM_TIMEOUT, CONNECT_SECONDS)


async def test_in_memory_a_stream_is_an_upstream(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()

    async def give() -> trio.abc.HalfCloseableStream:
        await trio.lowlevel.checkpoint()
        return near

    async with open_edge(te.Edge(LISTEN, [], Relaying(give))) as world, trio.open_nursery() as nursery:
        nursery.start_soon(echo, far)
        client = await world.connect()
        await client.send(b"ping")
        assert await client.receive(4) == b"ping"
        await client.finish()
        assert await client.ended() == te.Completed()
    with pytest.raises(trio.ClosedResourceError):
        await near.receive_some()


@pytest.mark.parametrize("form", [str, parse_address])
async def test_a_session_that_is_relayed_to_a_listener_of_its_edge_is_refused(form: Callable[[str], Any]) -> None:
    @attrs.define(eq=False)
    class Loop:
        """Relays every session to the edge itself."""

        context: te.EdgeContext = attrs.field(init=False)
        kind = "endpoint"
        relays = True

        def open(self, context: te.EdgeContext) -> "Loop":
            self.context = context
            return self

        async def handle(self, session: te.Session) -> te.Outcome:
            return await self.context.relay(session, form(self.context.listeners[0]))

    edge = edge_of(Loop())
    async with serving(edge) as port, await connect(port) as client:
        with pytest.raises(trio.BrokenResourceError):
            await receive_all(client)
    assert edge.statistics().accepted == 1
    assert edge.statistics().ended == {te.Reason.UPSTREAM_FORBIDDEN: 1}
