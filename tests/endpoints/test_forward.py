"""What Forward promises a session, over real sockets.

Every await of it is cancelled in tests/serving/test_sessions.py.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.connectors import HeldConnector
from tests.support.ports import closed_port, deaf_port
from tests.support.socket_rates import paced_at
from tests.support.wires import connect, echo, edge_to, receive_all, receive_exactly, server, serving, stream
from trioedge.addresses.address import Address
from trioedge.services.context import EdgeContext
from trioedge.session.allowance import Allowance
from trioedge.testing import ScriptedUpstream, open_edge
from trioedge.upstreams.connector import Permit
from trioedge.upstreams.errors import UpstreamError


@te.middleware
async def read_ahead(session: te.Session, call_next: te.Handler) -> te.Outcome:
    """Read the client's first bytes and give them back, as a stage that peeks does."""
    session.stream.unread(await session.stream.receive_some(4))
    return await call_next(session)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"destination": "127.0.0.1:1"}, "must begin with tcp://"),
        ({"destination": "tcp://127.0.0.1:0"}, "nothing answers on port 0"),
        ({"destination": "tcp://127.0.0.1:1", "preconnect": -1}, r"preconnect=-1"),
        ({"destination": "tcp://127.0.0.1:1", "preconnect": 1.5}, r"preconnect=1.5"),
        ({"destination": "tcp://127.0.0.1:1", "connect_seconds": 0}, r"connect_seconds=0"),
        ({"preconnect": 1}, "without a destination: the policy of each service says it"),
        ({"allow": ["moon"]}, r"Forward\(allow='moon'\) must be 'private'"),
        ({"allow": "global"}, r"Forward\(allow='global'\)"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(te.ConfigurationError, match=message):
        te.Forward(**arguments)  # type: ignore[arg-type]


async def test_bytes_that_a_middleware_gave_back_reach_the_upstream_first() -> None:
    async with server(echo) as port, serving(edge_to(port, read_ahead)) as edge_port:
        async with await connect(edge_port) as client:
            await client.send_all(b"head and body")
            assert await receive_exactly(client, 13) == b"head and body"


@pytest.mark.parametrize("stages", [[], [read_ahead]], ids=["without a task", "with a task"])
async def test_an_upstream_that_is_not_there_ends_the_session_with_its_reason(stages: list[object]) -> None:
    edge = edge_to(closed_port(), *stages)
    async with serving(edge) as edge_port, await connect(edge_port) as client:
        await client.send_all(b"ping")
        with pytest.raises(trio.BrokenResourceError):
            await receive_all(client)
        await trio.testing.wait_all_tasks_blocked()
        assert edge.statistics().ended == {te.Reason.UPSTREAM_REFUSED: 1}


async def test_an_upstream_that_does_not_answer_ends_it_within_the_limit() -> None:
    async with deaf_port() as port:
        edge = edge_to(port, connect_seconds=0.2)
        async with serving(edge) as edge_port, await connect(edge_port) as client:
            began = trio.current_time()
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()
            assert 0.2 <= trio.current_time() - began < 1
            assert edge.statistics().ended == {te.Reason.UPSTREAM_TIMEOUT: 1}


async def test_a_session_takes_an_idle_connection_and_connects_by_itself_when_there_is_none() -> None:
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


async def test_an_upstream_that_speaks_first_is_heard_with_and_without_preconnect() -> None:
    async def greet(connection: trio.SocketStream) -> None:
        await connection.send_all(b"220 welcome\r\n")
        await echo(connection)

    for preconnect in (0, 2):
        async with server(greet) as port, serving(edge_to(port, preconnect=preconnect)) as edge_port:
            await trio.sleep(0.02)
            for _ in range(3):
                async with await connect(edge_port) as client:
                    assert await receive_exactly(client, 13) == b"220 welcome\r\n"


async def test_an_upstream_that_answers_and_hangs_up_at_once_is_heard() -> None:
    async def brief(connection: trio.SocketStream) -> None:
        await connection.send_all(b"bye")

    async with server(brief) as port, serving(edge_to(port)) as edge_port:
        for _ in range(20):
            async with await connect(edge_port) as client:
                assert await receive_all(client) == b"bye"


def test_without_a_destination_somebody_must_name_one() -> None:
    with pytest.raises(te.ConfigurationError, match=r"Forward\(\) names no destination, and no control"):
        te.Edge("tcp://127.0.0.1:0", [], te.Forward())


def test_it_prints_as_it_was_written() -> None:
    assert repr(te.Forward()) == "Forward(connect_seconds=5)"
    assert repr(te.Forward("tcp://127.0.0.1:1", preconnect=2)) == (
        "Forward('tcp://127.0.0.1:1', preconnect=2, connect_seconds=5)"
    )
    assert repr(te.Forward(allow="loopback")) == "Forward(connect_seconds=5, allow=['loopback'])"


# An upstream that the policy names.


@attrs.define
class Shops:
    """An edge whose services are chosen by the client's address, and whose policies name upstreams.

    Attributes:
        edge: the edge.
        control: says what holds.
        forward: the endpoint.
        port: where the edge listens.
        ports: where the upstreams do; each answers with its number before everything.
        live: connections to each.
    """

    edge: te.Edge
    control: te.MemoryControl
    forward: te.Forward
    port: int
    ports: list[int]
    live: list[int]

    async def put(self, name: str, upstream: int | None, **policy: Any) -> te.Plan:
        outbound = None if upstream is None else f"tcp://127.0.0.1:{self.ports[upstream]}"
        return await self.control.put(name, te.Policy(outbound=outbound, **policy))

    async def ask(self, client: trio.SocketStream) -> str:
        await client.send_all(b"?")
        return (await receive_exactly(client, 1)).decode()

    async def reached(self, source: str = "127.0.0.1") -> str:
        """The number of the upstream that a new session of this source reaches."""
        async with await connect(self.port, source) as client:
            return await self.ask(client)

    def upstream(self, name: str) -> Any:
        return self.edge.service(name).upstream

    async def until(self, live: list[int]) -> None:
        with trio.fail_after(5):
            while self.live != live:
                await trio.sleep(0.001)


def by_source(session: te.Session) -> str:
    return "bank" if session.source == "127.0.0.2" else "shop"


@asynccontextmanager
async def open_shops(*stages: object, allow: tuple[str, ...] = ("loopback",)) -> AsyncIterator[Shops]:
    """Serve two services before two upstreams, a shop whose clients are 127.0.0.1 and a bank whose are 127.0.0.2."""
    live = [0, 0]

    async def answer(number: int, connection: trio.SocketStream) -> None:
        live[number] += 1
        try:
            while await connection.receive_some():
                await connection.send_all(b"%d" % number)
        finally:
            live[number] -= 1

    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(server(partial(answer, number))) for number in (0, 1)]
        control = te.MemoryControl({"shop": te.Policy(), "bank": te.Policy()})
        forward = te.Forward(allow=allow)
        edge = te.Edge("tcp://127.0.0.1:0", [te.Identify(by_source), *stages], forward, control=control)
        port = await stack.enter_async_context(serving(edge))
        yield Shops(edge, control, forward, port, ports, live)


@pytest.mark.parametrize("stages", [(), (read_ahead,)], ids=["without a task", "with a task"])
async def test_sessions_go_where_the_policy_of_their_service_says(stages: tuple[object, ...]) -> None:
    async with open_shops(*stages) as shops:
        await shops.put("shop", 0)
        await shops.put("bank", 1)
        assert [await shops.reached(), await shops.reached("127.0.0.2")] == ["0", "1"]
        await shops.put("shop", 1)
        assert [await shops.reached(), await shops.reached("127.0.0.2")] == ["1", "1"]


@pytest.mark.parametrize("stages", [(), (read_ahead,)], ids=["without a task", "with a task"])
async def test_a_session_of_a_service_that_goes_nowhere_is_refused(stages: tuple[object, ...]) -> None:
    async with open_shops(*stages) as shops:
        async with await connect(shops.port) as client:
            await client.send_all(b"ping")
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(client)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert shops.edge.statistics().refused == {te.Reason.SERVICE: 1}
        assert shops.edge.statistics().live == 0


async def test_who_lives_stays_where_it_is_when_the_policy_names_another() -> None:
    async with open_shops() as shops:
        await shops.put("shop", 0)
        async with await connect(shops.port) as client:
            assert await shops.ask(client) == "0"
            await shops.put("shop", 1)
            assert await shops.reached() == "1"
            await shops.put("shop", None)
            assert await shops.ask(client) == "0"


async def test_an_upstream_is_there_before_anybody_asks_and_the_same_until_nobody_names_it() -> None:
    async with open_shops() as shops:
        await shops.put("shop", 0, preconnect=2)
        upstream = shops.upstream("shop")
        await shops.until([2, 0])
        assert repr(upstream).endswith("preconnect=2, ready=2)")
        for change in ({"max_sessions": 9}, {"down_rate": 1e6}, {"preconnect": 2, "enabled": True}):
            await shops.put("shop", 0, **{"preconnect": 2, **change})
            assert shops.upstream("shop") is upstream
        assert shops.live == [2, 0]
        await shops.put("shop", 0, preconnect=3)
        assert shops.upstream("shop") is upstream
        await shops.until([3, 0])
        await shops.control.apply(te.Snapshot({"shop": shops.edge.service("shop").settings}))
        assert shops.upstream("shop") is upstream
        assert await shops.reached() == "0"
        await shops.put("shop", 1, preconnect=1)
        assert shops.upstream("shop") is not upstream
        await shops.until([0, 1])


async def test_two_services_with_one_outbound_share_the_object_and_add_up_what_is_ready() -> None:
    async with open_shops() as shops:
        await shops.put("shop", 0, preconnect=2)
        await shops.put("bank", 0, preconnect=1)
        upstream = shops.upstream("shop")
        assert upstream is shops.upstream("bank")
        await shops.until([3, 0])
        await shops.put("shop", 0, preconnect=0)
        await shops.until([1, 0])
        await shops.put("shop", None)
        assert shops.live == [1, 0]
        assert shops.upstream("bank") is upstream
        await shops.control.remove("bank")
        await shops.until([0, 0])
        assert len(shops.forward._named or ()) == 0


async def test_an_outbound_that_is_named_anew_is_made_anew_and_the_one_before_leaves_nothing() -> None:
    async with open_shops() as shops:
        files = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            for upstream in (0, 1):
                await shops.put("shop", upstream, preconnect=2)
        await shops.until([0, 2])
        assert await shops.reached() == "1"
        await shops.control.remove("shop")
        await shops.control.put("shop", te.Policy())
        await shops.until([0, 0])
        with trio.fail_after(5):
            while len(os.listdir("/proc/self/fd")) != files:
                await trio.sleep(0.001)
        assert len(shops.forward._named or ()) == 0


async def test_a_service_that_goes_and_comes_back_while_sessions_live_counts_its_upstream_once() -> None:
    async with open_shops() as shops:
        await shops.put("shop", 0, preconnect=1)
        async with await connect(shops.port) as client:
            assert await shops.ask(client) == "0"
            await shops.control.remove("shop")
            await shops.put("shop", 0, preconnect=1)
        upstream = shops.upstream("shop")
        assert (upstream.users, upstream.preconnect) == (1, 1)
        assert await shops.reached() == "0"
        await shops.control.remove("shop")
        assert len(shops.forward._named or ()) == 0


@pytest.mark.parametrize("stages", [(), (read_ahead,)], ids=["without a task", "with a task"])
async def test_addresses_inside_are_forbidden_unless_they_are_allowed(stages: tuple[object, ...]) -> None:
    with capture_logs() as logs:
        async with open_shops(*stages, allow=("private", "unix")) as shops:
            await shops.put("shop", 0, preconnect=2)
            async with await connect(shops.port) as client:
                await client.send_all(b"ping")
                with pytest.raises(trio.BrokenResourceError):
                    await receive_all(client)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert shops.edge.statistics().ended == {te.Reason.UPSTREAM_FORBIDDEN: 1}
            assert shops.live == [0, 0]
    said = {entry["event"]: entry["error"] for entry in logs if "error" in entry}
    assert set(said) == {"preconnect failed", "upstream failed"}
    assert all("127.0.0.1 is a loopback address; allow=['loopback'] lets it through" in text for text in said.values())


@pytest.mark.parametrize(("allow", "answer"), [(("unix",), b"?"), (("loopback",), b"")])
async def test_a_local_socket_is_forbidden_unless_it_is_allowed(
    allow: tuple[str, ...], answer: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "upstream.sock"
    async with server() as port:
        inner = te.Edge(f"unix://{path}", [], te.Forward(f"tcp://127.0.0.1:{port}"))
        async with trio.open_nursery() as nursery, open_shops(allow=allow) as shops:
            await nursery.start(inner.serve)
            await shops.control.put("shop", te.Policy(outbound=f"unix://{path}"))
            async with await connect(shops.port) as client:
                try:
                    await client.send_all(b"?")
                    assert await receive_exactly(client, 1) == answer
                except trio.BrokenResourceError:
                    assert answer == b""
            nursery.cancel_scope.cancel()


class Recorder:
    """A way out that remembers what it was asked to prepare."""

    def __init__(self) -> None:
        self.warmed: list[str] = []
        self.permits: list[Permit | None] = []

    def open(self, context: EdgeContext, permit: Permit | None) -> "_Recording":
        self.permits.append(permit)
        return _Recording(self.warmed)


class _Recording(ScriptedUpstream):
    def __init__(self, warmed: list[str]) -> None:
        super().__init__()
        self._warmed = warmed

    def warm(self, address: Address, failed: Callable[[UpstreamError], object]) -> None:
        self._warmed.append(str(address))


async def test_a_name_is_resolved_when_the_policy_arrives(autojump_clock: trio.testing.MockClock) -> None:
    outbound = Recorder()
    control = te.MemoryControl({"shop": te.Policy(outbound="tcp://one.test:1")})
    stages = [te.Identify("shop")]
    async with open_edge(te.Edge("tcp://127.0.0.1:0", stages, te.Forward(outbound=outbound), control=control)):
        assert outbound.warmed == ["tcp://one.test:1"]
        await control.put("shop", te.Policy(outbound="tcp://two.test:1"))
        await control.put("shop", te.Policy(outbound="tcp://two.test:1", max_sessions=3))
        assert outbound.warmed == ["tcp://one.test:1", "tcp://two.test:1"]
    assert [permit is None for permit in outbound.permits] == [False]


async def test_a_destination_of_ones_own_may_be_anything(autojump_clock: trio.testing.MockClock) -> None:
    outbound = Recorder()
    async with open_edge(te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://one.test:1", outbound=outbound))):
        assert outbound.warmed == ["tcp://one.test:1"]
    assert outbound.permits == [None]


async def test_an_edge_that_is_opened_again_makes_its_upstreams_anew() -> None:
    control = te.MemoryControl({"shop": te.Policy(outbound=f"tcp://127.0.0.1:{closed_port()}", preconnect=2)})
    forward = te.Forward(allow=["loopback"])
    edge = te.Edge("tcp://127.0.0.1:0", [te.Identify("shop")], forward, control=control)
    upstreams = []
    for _ in range(2):
        with capture_logs():
            async with serving(edge):
                upstreams.append(edge.service("shop").upstream)
                assert len(forward._named or ()) == 1
    assert upstreams[0] is not upstreams[1]


async def test_one_that_serves_an_edge_serves_no_other_until_that_ends() -> None:
    async with server() as port:
        forward = te.Forward(f"tcp://127.0.0.1:{port}")
        edges = [te.Edge("tcp://127.0.0.1:0", [], forward) for _ in range(2)]
        async with serving(edges[0]) as edge_port:
            with pytest.raises(te.ConfigurationError, match="serves another edge already: give each edge one"):
                await edges[1].serve()
            async with await connect(edge_port) as client:
                await client.send_all(b"ping")
                assert await receive_exactly(client, 4) == b"ping"
        async with serving(edges[1]):
            pass


@te.middleware
async def wrap(session: te.Session, call_next: te.Handler) -> te.Outcome:
    """Put a stream of one's own before the endpoint, as TLS does."""
    session.stream = trio.StapledStream(session.stream, session.stream)
    return await call_next(session)


@pytest.mark.parametrize("stages", [(), (read_ahead,), (wrap,)], ids=["without a task", "with a task", "wrapped"])
async def test_what_a_session_moves_counts_for_the_service_that_it_is_of(stages: tuple[object, ...]) -> None:
    async with open_shops(*stages) as shops:
        await shops.put("shop", 0)
        await shops.put("bank", 0)
        async with await connect(shops.port) as client:
            await shops.ask(client)
            (session,) = shops.edge.sessions
            shop, before = shops.edge.service("shop"), shops.edge.service("shop").up.bytes
            session.service = "bank"
            await shops.control.remove("shop")
            await shops.ask(client)
            assert (shop.up.bytes, shops.edge.service("bank").up.bytes) == (before, before)


@pytest.mark.parametrize("stages", [(), (read_ahead,), (wrap,)], ids=["without a task", "with a task", "wrapped"])
async def test_an_upload_that_is_cut_never_looks_like_a_whole_one(stages: tuple[object, ...]) -> None:
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


# Who carries, and who paces.


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
        edge = te.Edge(where, [te.Pacing(rate, None)], te.Forward(address))
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
    """A way out whose connections are made when the test says so."""

    def open(self, context: EdgeContext, permit: Permit | None) -> HeldConnector:
        self.held = HeldConnector(context.reactor)
        return self.held


async def test_a_rate_that_comes_while_it_connects_holds_from_the_first_byte() -> None:
    outbound = HeldBack()
    edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://192.0.2.9:1", outbound=outbound))
    async with serving(edge) as port, await connect(port) as client:
        with trio.fail_after(5):
            while not outbound.held.waiters:
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


# What a device that is not known yet may send.


@te.middleware
async def read_much_ahead(session: te.Session, call_next: te.Handler) -> te.Outcome:
    """Read what the client says first, as a stage does that looks for a name in it."""
    session.stream.unread(await session.stream.receive_some(100))
    return await call_next(session)


@pytest.mark.parametrize("granted", [0, 3, 4, 100])
async def test_what_was_read_ahead_counts_and_waits_as_all_else_does(granted: int) -> None:
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
        edge = edge_to(port, read_much_ahead, grant)
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
async def test_who_waits_with_what_was_read_ahead_can_be_stopped(how: str) -> None:
    allowance = Allowance(0)

    @te.decision
    def grant(session: te.Session) -> te.Verdict:
        session.allowance = allowance
        return te.CONTINUE

    files = len(os.listdir("/proc/self/fd"))
    edge = edge_to(closed_port(), read_much_ahead, grant)
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
    assert len(os.listdir("/proc/self/fd")) == files
