"""Two workers of one edge in one process, over real sockets: each has the sources whose last octet says so."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import attrs
import trio

import trioedge as te
from tests.support.wires import connect
from trioedge.edge import serve_part
from trioedge.serving.part import Part
from trioedge.structures.shared.limits import SharedLimits


class PairedSources:
    """The inboxes of two workers, as one of them sees them.

    Attributes:
        inbox: of this worker.
        other: of the other one, to which this one writes.
        ready: whether the other one is ready.
    """

    def __init__(self, number: int, inbox: socket.socket, other: socket.socket) -> None:
        self._number, self.inbox, self.other = number, inbox, other
        self.ready = True

    def inbox_of(self, source: bytes) -> socket.socket | None:
        return self.other if self.ready and source[-1] % 2 != self._number else None

    def gave(self, number: int) -> bool:
        return number % 8 == self._number


@attrs.define
class Pair:
    """Two workers.

    Attributes:
        edges: of both.
        sources: the inboxes of both.
        scopes: cancel a worker.
    """

    edges: tuple[te.Edge, te.Edge]
    sources: tuple[PairedSources, PairedSources]
    scopes: tuple[trio.CancelScope, trio.CancelScope] = attrs.field(
        factory=lambda: (trio.CancelScope(), trio.CancelScope())
    )
    clients: list[trio.SocketStream] = attrs.field(factory=list)

    async def connect(self, source: str, says: bytes = b"", *, to: int = 0, header: bytes = b"") -> trio.SocketStream:
        """Connect to a worker as a balancer whose client has an address."""
        client = await connect(int(self.edges[to].addresses[0].rpartition(":")[2]))
        self.clients.append(client)
        await client.send_all((header or f"PROXY TCP4 {source} 192.0.2.99 1234 443\r\n".encode()) + says)
        return client

    def live(self) -> tuple[int, int]:
        """Count the sessions of both."""
        return len(self.edges[0].sessions), len(self.edges[1].sessions)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        with trio.fail_after(10):
            while not holds():
                await trio.sleep(0.001)

    async def until_live(self, here: int, there: int) -> None:
        """Wait until both have so many sessions."""
        await self.until(lambda: self.live() == (here, there))


@asynccontextmanager
async def open_pair(make_edge: Callable[[], te.Edge], limits: SharedLimits | None = None) -> AsyncIterator[Pair]:
    """Serve an edge by two workers for the length of the block; each has limits of its own unless some are given."""
    boxes = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) for _ in range(2)]
    sources = PairedSources(0, boxes[0][0], boxes[1][1]), PairedSources(1, boxes[1][0], boxes[0][1])
    pair = Pair((make_edge(), make_edge()), sources)

    async def serve(number: int, *, task_status: trio.TaskStatus[object]) -> None:
        shared = None if limits is None else limits.of("edge", number, 0.0)
        part = Part(number=number, count=2, column=number, columns=8, limits=shared, sources=sources[number])
        with pair.scopes[number]:
            await serve_part(pair.edges[number], part, task_status=task_status)

    try:
        async with trio.open_nursery() as nursery:
            for number in range(2):
                await nursery.start(partial(serve, number))
            yield pair
            nursery.cancel_scope.cancel()
    finally:
        for client in pair.clients:
            client.socket.close()
        for box in boxes:
            for sock in box:
                sock.close()
