"""Sessions that ended, and edges with an Otel, for the tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trioedge as te

STAGES = ("Gate", "Token", "Forward")


def ended(number: int = 1, **changes: Any) -> te.SessionEnd:
    """Make the record of a session that ran for two seconds."""
    fields: dict[str, Any] = {
        "id": number, "outcome": te.Completed(), "listener": "tcp://127.0.0.1:6380", "peer": "192.0.2.7",
        "source": "192.0.2.1", "service": "shop", "device": None, "destination": None, "upstream": None,
        "connected": None, "bytes_up": 3, "bytes_down": 4, "seconds": 2.0, "ended_at": 102.0, "trace": (1_000, 2_000),
    }  # fmt: skip
    return te.SessionEnd(**fields | changes)


def batch_of(*ends: te.SessionEnd, **more: Any) -> te.Batch:
    return te.Batch(ended=ends, stages=STAGES, offset=1_700_000_000.0, **more)


@te.decision
def only_ours(session: te.Session) -> te.Verdict:
    return te.CONTINUE if session.source == "127.0.0.1" else te.Reject(te.Reason.POLICY, "not ours")


async def echo(stream: trio.SocketStream) -> None:
    async with stream:
        async for data in stream:
            await stream.send_all(data)


@asynccontextmanager
async def served(*observers: Any, upstream: int | None = None) -> AsyncIterator[tuple[te.Edge, int]]:
    """Serve an edge in front of an echo server, and give it and its port."""
    async with trio.open_nursery() as nursery:
        if upstream is None:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, echo, listeners)
            upstream = listeners[0].socket.getsockname()[1]
        forward = te.Forward(f"tcp://127.0.0.1:{upstream}", retries=0)
        edge = te.Edge("tcp://127.0.0.1:0", [only_ours], forward, observers=observers)
        await nursery.start(edge.serve)
        yield edge, int(edge.addresses[0].rpartition(":")[2])
        nursery.cancel_scope.cancel()


async def talk(port: int, source: str = "127.0.0.1") -> None:
    """Make a round trip and close; the edge may refuse."""
    try:
        async with await trio.open_tcp_stream("127.0.0.1", port, local_address=source) as stream:
            await stream.send_all(b"ping")
            await stream.receive_some()
            await stream.send_eof()
            await stream.receive_some()
    except (OSError, trio.BrokenResourceError):
        pass
