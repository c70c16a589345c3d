"""Members of a balanced destination: small servers that name themselves, and edges in front of them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import trio

import trioedge as te
from tests.support.attempts import open_connector
from tests.support.wires import connect, echo, server
from trioedge.testing import make_context
from trioedge.upstreams.balancing.live_balanced import LiveBalanced


@asynccontextmanager
async def members(count: int) -> AsyncIterator[list[int]]:
    """Serve so many members, each of which says its number, one byte, and then echoes; give their ports."""
    async with AsyncExitStack() as stack:
        ports = []
        for number in range(count):

            async def script(connection: trio.SocketStream, name: bytes = b"%d" % number) -> None:
                await connection.send_all(name)
                await echo(connection)

            ports.append(await stack.enter_async_context(server(script)))
        yield ports


def address(port: int) -> str:
    return f"tcp://127.0.0.1:{port}"


def balanced_edge(
    ports: Sequence[int | te.Member], policy: Any = "round_robin", *stages: object, forward: Any = None, **changes: Any
) -> te.Edge:
    """Make an edge before members; `changes` are arguments of Balanced, `forward` has those of Forward."""
    given = [address(each) if isinstance(each, int) else each for each in ports]
    endpoint = te.Forward(te.Balanced(given, policy, **changes), **({"retries": 0} | (forward or {})))
    return te.Edge("tcp://127.0.0.1:0", list(stages), endpoint)


async def member_of(port: int, source: str = "127.0.0.1") -> int | None:
    """Have one session through an edge, and give the number of its member; None if the edge reset it."""
    async with await connect(port, source) as client:
        try:
            name = await client.receive_some(1)
            await client.send_eof()
            await client.receive_some(1)
        except trio.BrokenResourceError:
            return None
        return int(name) if name else None


async def quiet(edge: te.Edge) -> None:
    """Wait until an edge has no session."""
    with trio.fail_after(5):
        while edge.sessions:
            await trio.sleep(0.001)


@asynccontextmanager
async def open_balanced(ports: Sequence[int], **changes: Any) -> AsyncIterator[LiveBalanced]:
    """Give a balanced destination over real sockets, without an edge; `changes` are arguments of Balanced."""
    async with open_connector() as (connector, reactor):
        context = attrs.evolve(make_context(), reactor=reactor)
        recipe = te.Balanced([address(each) for each in ports], **({"policy": "round_robin"} | changes))
        yield LiveBalanced(recipe, connector, context, 5.0, 0)
