"""A whole edge without a socket: its chain, its limits and its drain, under the clock of the test."""

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
        upstream: the other end of its sessions.
    """

    def __init__(self, edge: Edge, upstream: ScriptedUpstream) -> None:
        self.edge = edge
        self.upstream = upstream

    async def connect(
        self, source: str = "192.0.2.1", *, lockstep: bool = False, listener: str | None = None
    ) -> Client:
        """Connect a client from `source`.

        If the leading decisions refuse, ``client.outcome`` is set when this returns; await :meth:`Client.ended` for a
        refusal behind a middleware.

        Args:
            source: the client's address, in any spelling; ``unix`` for a local socket.
            lockstep: hand over bytes only when the other side receives, as a full buffer would.
            listener: the listener of a service, as its policy names it; None for the edge's own.

        Raises:
            ConfigurationError: `listener` is not open.
        """
        ours, theirs = memory_pair(lockstep=lockstep)
        session = admit(self.edge, theirs, source, listener=listener)
        await trio.lowlevel.checkpoint()
        return Client(session, ours)


@asynccontextmanager
async def open_edge(edge: Edge, upstream: ScriptedUpstream | Script = echo) -> AsyncIterator[Rehearsal]:
    """Serve `edge` in memory for the length of the block; the end of the block cancels the rest.

    The edge listens nowhere, so its addresses mean nothing here; those that policies name are open in memory, for
    ``connect(listener=…)``. Use it with pytest-trio's `autojump_clock`, and
    hours pass in milliseconds.

    Args:
        edge: any edge; it may be opened again afterwards.
        upstream: the other end of its connections, or a script of it.
    """
    if not isinstance(upstream, ScriptedUpstream):
        upstream = ScriptedUpstream(upstream)
    async with trio.open_nursery() as nursery:
        await nursery.start(upstream.run)
        await nursery.start(rehearse, edge, upstream)
        yield Rehearsal(edge, upstream)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def edge_for_check(edge: Edge, upstream: ScriptedUpstream | Script = echo) -> AsyncIterator[Rehearsal]:
    """Serve `edge` as :func:`open_edge` does, for a check of one of its parts.

    Raises:
        Exception: of the block, or the one with which the edge did not start, not in a group as nurseries raise them.
    """
    failed: Exception | None = None
    try:
        async with open_edge(edge, upstream) as world:
            try:
                yield world
            except Exception as error:
                failed = error
    except ExceptionGroup as group:
        failed = _innermost(group)
    if failed is not None:
        raise failed


def _innermost(error: Exception) -> Exception:
    """Give the exception in groups of one."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        (error,) = error.exceptions
    return error
