"""Forward to the upstreams that policies name, over real sockets."""

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
from tests.support.middlewares import read_ahead, wrap
from tests.support.open_files import open_files
from tests.support.ports import closed_port
from tests.support.wires import connect, receive_all, receive_exactly, server, serving
from trioedge.testing import ScriptedUpstream, open_edge
from trioedge.upstreams.connector import Target


@attrs.define
class Shops:
    """An edge of two services, by the client's address, whose policies name two upstreams.

    Attributes:
        edge: the edge.
        control: its control plane.
        port: the port of the edge.
        ports: the ports of the upstreams; each answers everything with its number.
        live: connections to each upstream.
    """

    edge: te.Edge
    control: te.MemoryControl
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
        """Give the number of the upstream that a new session of this source reaches."""
        async with await connect(self.port, source) as client:
            return await self.ask(client)

    def upstream(self, name: str) -> Any:
        return self.edge.services[name].upstream

    def named(self) -> int:
        """Count the upstreams that policies name."""
        return upstreams_of(self.edge)

    async def until(self, live: list[int]) -> None:
        with trio.fail_after(5):
            while self.live != live:
                await trio.sleep(0.001)


def upstreams_of(edge: te.Edge) -> int:
    forwarding: Any = edge._run.chain.parts[-1]  # type: ignore[union-attr]
    return len(forwarding._destinations._by_policy)


def by_source(session: te.Session) -> str:
    return "bank" if session.source == "127.0.0.2" else "shop"


@asynccontextmanager
async def open_shops(*stages: object, allow: tuple[str, ...] = ("loopback",)) -> AsyncIterator[Shops]:
    """Serve a shop, whose clients are 127.0.0.1, and a bank, whose clients are 127.0.0.2, in front of two upstreams."""
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
        stages = (te.Identify(by_source), *stages)
        edge = te.Edge("tcp://127.0.0.1:0", stages, te.Forward(allow=allow), control=control)
        port = await stack.enter_async_context(serving(edge))
        yield Shops(edge, control, port, ports, live)


@pytest.mark.parametrize("stages", [(), (read_ahead,)], ids=["without a task", "with a task"])
async def test_a_session_goes_to_the_outbound_of_its_policy(stages: tuple[object, ...]) -> None:
    async with open_shops(*stages) as shops:
        await shops.put("shop", 0)
        await shops.put("bank", 1)
        assert [await shops.reached(), await shops.reached("127.0.0.2")] == ["0", "1"]
        await shops.put("shop", 1)
        assert [await shops.reached(), await shops.reached("127.0.0.2")] == ["1", "1"]


@pytest.mark.parametrize("stages", [(), (read_ahead,)], ids=["without a task", "with a task"])
async def test_a_session_whose_policy_names_no_outbound_is_refused(stages: tuple[object, ...]) -> None:
    async with open_shops(*stages) as shops:
        async with await connect(shops.port) as client:
            await client.send_all(b"ping")
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(client)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert shops.edge.statistics().refused == {te.Reason.SERVICE: 1}
        assert shops.edge.statistics().live == 0


async def test_a_live_session_keeps_its_upstream_when_the_policy_names_another() -> None:
    async with open_shops() as shops:
        await shops.put("shop", 0)
        async with await connect(shops.port) as client:
            assert await shops.ask(client) == "0"
            await shops.put("shop", 1)
            assert await shops.reached() == "1"
            await shops.put("shop", None)
            assert await shops.ask(client) == "0"


async def test_an_upstream_is_made_in_advance_and_is_the_same_object_while_a_policy_names_it() -> None:
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
        await shops.control.apply(te.Snapshot({"shop": shops.edge.services["shop"].settings}))
        assert shops.upstream("shop") is upstream
        assert await shops.reached() == "0"
        await shops.put("shop", 1, preconnect=1)
        assert shops.upstream("shop") is not upstream
        await shops.until([0, 1])


async def test_two_services_with_one_outbound_share_its_upstream_and_add_up_preconnect() -> None:
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
        assert shops.named() == 0


async def test_an_outbound_that_is_replaced_again_and_again_leaves_no_connection() -> None:
    async with open_shops() as shops:
        files = open_files()
        for _ in range(5):
            for upstream in (0, 1):
                await shops.put("shop", upstream, preconnect=2)
        await shops.until([0, 2])
        assert await shops.reached() == "1"
        await shops.control.remove("shop")
        await shops.control.put("shop", te.Policy())
        await shops.until([0, 0])
        with trio.fail_after(5):
            while open_files() != files:
                await trio.sleep(0.001)
        assert shops.named() == 0


async def test_a_service_that_is_removed_and_named_again_counts_its_upstream_once() -> None:
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
        assert shops.named() == 0


@pytest.mark.parametrize("stages", [(), (read_ahead,)], ids=["without a task", "with a task"])
async def test_a_loopback_address_in_a_policy_is_forbidden_unless_it_is_allowed(stages: tuple[object, ...]) -> None:
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
async def test_a_local_socket_in_a_policy_is_forbidden_unless_it_is_allowed(
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


class Recorder(ScriptedUpstream):
    """An outbound that notes what it is to prepare."""

    def __init__(self) -> None:
        super().__init__()
        self.warmed: list[Target] = []

    def warm(self, target: Target, failed: Callable[[te.UpstreamError], object]) -> None:
        self.warmed.append(target)

    def addresses(self) -> list[str]:
        return [str(target.address) for target in self.warmed]


async def test_a_name_is_resolved_when_the_policy_arrives(autojump_clock: trio.testing.MockClock) -> None:
    outbound = Recorder()
    control = te.MemoryControl({"shop": te.Policy(outbound="tcp://one.test:1")})
    stages = [te.Identify("shop")]
    async with open_edge(te.Edge("tcp://127.0.0.1:0", stages, te.Forward(outbound=outbound), control=control)):
        assert outbound.addresses() == ["tcp://one.test:1"]
        await control.put("shop", te.Policy(outbound="tcp://two.test:1"))
        await control.put("shop", te.Policy(outbound="tcp://two.test:1", max_sessions=3))
        assert outbound.addresses() == ["tcp://one.test:1", "tcp://two.test:1"]
    assert [target.permit is None for target in outbound.warmed] == [False, False]


async def test_a_destination_that_the_user_wrote_needs_no_permit(autojump_clock: trio.testing.MockClock) -> None:
    outbound = Recorder()
    async with open_edge(te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://one.test:1", outbound=outbound))):
        assert outbound.addresses() == ["tcp://one.test:1"]
    assert [target.permit for target in outbound.warmed] == [None]


async def test_an_edge_that_serves_again_makes_new_upstreams() -> None:
    control = te.MemoryControl({"shop": te.Policy(outbound=f"tcp://127.0.0.1:{closed_port()}", preconnect=2)})
    forward = te.Forward(allow=["loopback"])
    edge = te.Edge("tcp://127.0.0.1:0", [te.Identify("shop")], forward, control=control)
    upstreams = []
    for _ in range(2):
        with capture_logs():
            async with serving(edge):
                upstreams.append(edge.services["shop"].upstream)
                assert upstreams_of(edge) == 1
    assert upstreams[0] is not upstreams[1]


@pytest.mark.parametrize("stages", [(), (read_ahead,), (wrap,)], ids=["without a task", "with a task", "wrapped"])
async def test_the_bytes_of_a_session_count_for_its_service_which_is_final(stages: tuple[object, ...]) -> None:
    async with open_shops(*stages) as shops:
        await shops.put("shop", 0)
        await shops.put("bank", 0)
        async with await connect(shops.port) as client:
            await shops.ask(client)
            (session,) = shops.edge.sessions
            shop, bank = shops.edge.services["shop"], shops.edge.services["bank"]
            with pytest.raises(RuntimeError, match="final once the endpoint has begun"):
                session.service = "bank"
            await shops.ask(client)
            await trio.testing.wait_all_tasks_blocked()  # a stream relay counts once the write has returned
            assert (session.service, shop.up.bytes, shop.down.bytes, bank.up.bytes) == (shop, 2, 2, 0)
            await shops.control.remove("shop")
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(client)
            await trio.testing.wait_all_tasks_blocked()
            assert (session.outcome, shop.up.bytes, shop.live) == (te.Completed(te.Reason.EVICTED), 2, 0)


async def test_one_forward_serves_two_edges_at_once() -> None:
    forward = te.Forward(allow=["loopback"])
    async with server() as port:
        policy = te.Policy(outbound=f"tcp://127.0.0.1:{port}")
        first, second = (
            te.Edge("tcp://127.0.0.1:0", [te.Identify("shop")], forward, control=te.MemoryControl({"shop": policy}))
            for _ in range(2)
        )
        async with serving(second) as second_port:
            async with serving(first) as first_port:
                for edge_port in (first_port, second_port):
                    async with await connect(edge_port) as client:
                        await client.send_all(b"ping")
                        assert await receive_exactly(client, 4) == b"ping"
                assert first.services["shop"].upstream is not second.services["shop"].upstream
            async with await connect(second_port) as client:
                await client.send_all(b"ping")
                assert await receive_exactly(client, 4) == b"ping"
