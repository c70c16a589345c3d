"""A whole edge without a socket: its chain, its limits, its drain, under whatever clock the test runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from ..edge import Edge, admit, rehearse
from ..session.session import Session
from ..session.verdict import Outcome
from .upstream import Script, ScriptedUpstream, echo, memory_pair


class Client:
    """A client in memory.

    Attributes:
        session: its session, as the edge sees it.
        stream: its end of the connection, a plain trio stream.
    """

    def __init__(self, session: Session, stream: trio.abc.HalfCloseableStream) -> None:
        self.session = session
        self.stream = stream
        self._over = trio.Event()
        if session.outcome is None:
            session.defer(lambda _: self._over.set())
        else:
            self._over.set()

    @property
    def outcome(self) -> Outcome | None:
        """How the session ended; None while it lives."""
        return self.session.outcome

    async def send(self, data: bytes) -> None:
        """Send all of `data`.

        Raises:
            trio.BrokenResourceError: the edge hung up.
        """
        await self.stream.send_all(data)

    async def receive(self, count: int) -> bytes:
        """Receive exactly `count` bytes, or fewer at the end."""
        data = b""
        while len(data) < count and (more := await self.stream.receive_some(count - len(data))):
            data += more
        return data

    async def receive_all(self) -> bytes:
        """Receive until the end."""
        data = b""
        while more := await self.stream.receive_some():
            data += more
        return data

    async def finish(self) -> None:
        """Say that nothing more will be sent; receiving goes on."""
        await self.stream.send_eof()

    async def close(self) -> None:
        """Hang up."""
        await self.stream.aclose()

    async def ended(self) -> Outcome:
        """Wait until the session has ended and give its outcome."""
        await self._over.wait()
        assert self.session.outcome is not None
        return self.session.outcome


class Rehearsal:
    """An edge at work in memory.

    Attributes:
        edge: the edge: `statistics()`, `sessions`, `evict()`, `drain()`.
        upstream: what its sessions reach.
    """

    def __init__(self, edge: Edge, upstream: ScriptedUpstream) -> None:
        self.edge = edge
        self.upstream = upstream

    async def connect(self, source: str = "192.0.2.1", *, lockstep: bool = False) -> Client:
        """Connect a client from `source`.

        A refusal by the leading decisions stands in ``client.outcome`` at once; for one behind a middleware, await
        :meth:`Client.ended`.

        Args:
            source: the client's address, in any spelling; ``unix`` for a local socket.
            lockstep: hand over bytes only when the other side receives, as a full buffer would.
        """
        ours, theirs = memory_pair(lockstep=lockstep)
        session = admit(self.edge, theirs, source)
        await trio.lowlevel.checkpoint()
        return Client(session, ours)


@asynccontextmanager
async def open_edge(edge: Edge, upstream: ScriptedUpstream | Script = echo) -> AsyncIterator[Rehearsal]:
    """Serve `edge` in memory for the length of the block; leaving it cancels whatever is left.

    The edge listens nowhere, so its addresses mean nothing here. Use it with pytest-trio's `autojump_clock`, and
    hours pass in milliseconds.

    Args:
        edge: any edge; it may be opened again afterwards.
        upstream: what its connections reach; a bare function is taken for the script.
    """
    if not isinstance(upstream, ScriptedUpstream):
        upstream = ScriptedUpstream(upstream)
    async with trio.open_nursery() as nursery:
        await nursery.start(upstream.run)
        await nursery.start(rehearse, edge, upstream)
        yield Rehearsal(edge, upstream)
        nursery.cancel_scope.cancel()
