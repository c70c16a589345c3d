"""Edges with handshakes, each in four worlds that must do the same, and clients that talk with them."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import attrs
import trio

import trioedge as te
from tests.support.ports import closed_port
from tests.support.wires import connect, receive_exactly, server, serving
from trioedge.testing import ScriptedUpstream, open_edge

WORLDS = ("reactor", "reactor, a middleware behind", "memory", "behind a middleware")
PATIENCE = 10
"""Seconds after which a test has failed; no test comes near."""


@te.middleware
async def pass_on(session: te.Session, call_next: te.Handler) -> te.Outcome:
    return await call_next(session)


@attrs.define(eq=False)
class Talks:
    """An edge whose clients talk first, and its upstream.

    Attributes:
        edge: the edge.
        sessions: all that were accepted, the first one first.
        upstream: the bytes that each connection to the upstream received, up to its end.
        clients: all that were connected; they are closed with the edge.
    """

    edge: te.Edge
    sessions: list[te.Session]
    upstream: list[bytes]
    _world: Any
    _port: int
    clients: list[trio.abc.HalfCloseableStream] = attrs.field(factory=list)

    async def connect(self) -> trio.abc.HalfCloseableStream:
        if self._world is not None:
            self.clients.append((await self._world.connect("127.0.0.1")).stream)
            return self.clients[-1]
        count = len(self.sessions)
        self.clients.append(await connect(self._port))
        while len(self.sessions) == count:
            await trio.lowlevel.checkpoint()
        return self.clients[-1]

    async def aclose(self) -> None:
        for client in self.clients:
            await trio.aclose_forcefully(client)

    async def ended(self, number: int = -1) -> te.Completed | te.Reject:
        """Wait until a session has ended, and give its outcome."""
        with trio.fail_after(PATIENCE):
            while (outcome := self.sessions[number].outcome) is None:
                await trio.sleep(0.001)
        return outcome


@asynccontextmanager
async def open_talks(
    world: str, *stages: object, behind: tuple[object, ...] = (), endpoint: object = None, refusing: bool = False,
    **changes: Any,
) -> AsyncIterator[Talks]:  # fmt: skip
    """Serve an edge with these stages in one of the worlds.

    Args:
        world: one of :data:`WORLDS`.
        stages: handshakes, and decisions between them.
        behind: stages behind the middleware of a world that has one behind.
        endpoint: another one than `Forward` to an upstream, which answers with all that it got once that has ended.
        refusing: whether the upstream refuses connections.
        changes: of the edge.
    """
    sessions: list[te.Session] = []
    received: list[bytes] = []

    @te.decision
    def note(session: te.Session) -> te.Verdict:
        sessions.append(session)
        return te.CONTINUE

    async def answer(stream: trio.abc.HalfCloseableStream) -> None:
        data = await hear(stream)
        received.append(data[0])
        await stream.send_all(b"<" + data[0] + b">")
        await stream.send_eof()

    chain = {
        "reactor": [note, *stages],
        "reactor, a middleware behind": [note, *stages, pass_on],
        "memory": [note, *stages],
        "behind a middleware": [note, pass_on, *stages],
    }[world] + [*behind]
    if world == "memory":
        edge = te.Edge("tcp://127.0.0.1:6380", chain, endpoint or te.Forward("tcp://192.0.2.9:1"), **changes)
        refusal = te.Reason.UPSTREAM_REFUSED if refusing else None
        async with open_edge(edge, ScriptedUpstream(answer, refusal=refusal)) as rehearsal:
            async with aclosing(Talks(edge, sessions, received, rehearsal, 0)) as talks:
                yield talks
        return
    async with server(answer) as upstream:
        port = closed_port() if refusing else upstream
        to = endpoint or te.Forward(f"tcp://127.0.0.1:{port}", retries=0 if refusing else 2)
        edge = te.Edge("tcp://127.0.0.1:0", chain, to, **changes)
        async with serving(edge) as listening:
            async with aclosing(Talks(edge, sessions, received, None, listening)) as talks:
                yield talks


async def say(stream: trio.abc.HalfCloseableStream, data: bytes, *, whole: bool) -> None:
    """Send bytes at once, or one by one so that each arrives alone; the edge may hang up meanwhile."""
    try:
        for at in range(0, len(data), len(data) if whole else 1):
            await stream.send_all(data[at : at + (len(data) if whole else 1)])
            await trio.sleep(0 if whole else 0.002)
    except trio.BrokenResourceError:
        pass


async def finish(stream: trio.abc.HalfCloseableStream) -> None:
    """Say that nothing more comes; the edge may have hung up."""
    with suppress(trio.BrokenResourceError):
        await stream.send_eof()


async def hear(stream: trio.abc.HalfCloseableStream) -> tuple[bytes, str]:
    """Receive up to the ``end`` of the connection, or its ``reset``."""
    data = bytearray()
    with trio.fail_after(PATIENCE):
        try:
            while more := await stream.receive_some(1 << 20):
                data += more
        except trio.BrokenResourceError:
            return bytes(data), "reset"
    return bytes(data), "end"


async def hear_exactly(stream: trio.abc.HalfCloseableStream, data: bytes) -> None:
    with trio.fail_after(PATIENCE):
        assert await receive_exactly(stream, len(data)) == data
