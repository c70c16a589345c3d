"""An application on a listening socket of the edge's own, beside its sessions: HTTP/1.1 and HTTP/2, all of it bounded.

| a connection | event | action |
| --- | --- | --- |
| of :data:`MAX_CONNECTIONS` | one more client connects | it waits in the kernel's backlog |
| without a request under way | :data:`IDLE_SECONDS` pass, its bytes or not | close it |
| with requests under way | the client ends, or is gone | tell the applications; close it once all are complete |
| any | more than :data:`MAX_UNDER_WAY` requests are under way | close it |
| any | the client takes no byte for :data:`WRITE_SECONDS` | close it, its applications are cancelled |
| any | a request that the protocol cannot read | close it |
| any | a cancel | close it at once |

A fault of an application is logged, and its request is answered with 500.
"""

import errno
import socket
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, Final

import trio

from ...relay.direction import BROKEN
from ...telemetry.log import EdgeLog
from .exchange import Exchange
from .hypercorn_protocols import Answer, HttpServer, Put
from .messages import Application, Message

MAX_CONNECTIONS: Final = 64
MAX_UNDER_WAY: Final = 16
"""Requests of one connection at once, of HTTP/2."""

IDLE_SECONDS: Final = 15.0
WRITE_SECONDS: Final = 15.0
MAX_HEAD_BYTES: Final = 16_384
RECEIVE_BYTES: Final = 65_536

PAUSE_SECONDS: Final = 0.1
"""Behind an accept that failed, as it does when the process has no descriptor left."""

_PASSING: Final = {
    errno.ECONNABORTED, errno.EINTR, errno.EPERM, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EOPNOTSUPP,
}  # fmt: skip
"""Errors of one client, which accept(2) gives."""


async def serve_application(
    application: Application, sock: socket.socket, log: EdgeLog, *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:  # fmt: skip
    """Answer clients until cancelled; every connection is closed then.

    Args:
        application: answers each request; it has no lifespan.
        sock: listens; the caller closes it.
        log: for the faults of the application.
        task_status: started at once.
    """
    server = HttpServer(MAX_HEAD_BYTES)
    room = trio.Semaphore(MAX_CONNECTIONS)
    accepting = trio.socket.from_stdlib_socket(sock.dup())
    try:
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                await room.acquire()
                try:
                    client, _ = await accepting.accept()
                except OSError as error:
                    room.release()
                    if error.errno not in _PASSING:
                        await trio.sleep(PAUSE_SECONDS)
                    continue
                nursery.start_soon(_answer, application, server, trio.SocketStream(client), log, room)
    finally:
        accepting.close()


async def _answer(
    application: Application, server: HttpServer, stream: trio.SocketStream, log: EdgeLog, room: trio.Semaphore
) -> None:
    """Answer one client."""
    try:
        await OwnConnection(application, server, stream, log).run()
    finally:
        stream.socket.close()  # without a wait
        room.release()


class OwnConnection:
    """One client of the edge's own server."""

    def __init__(
        self, application: Application, server: HttpServer, stream: trio.abc.HalfCloseableStream, log: EdgeLog
    ) -> None:
        """Take a connected client; :meth:`run` does the rest."""
        self._application, self._stream, self._log = application, stream, log
        self._protocol = server.protocol(self, {}, None, None, None)
        self._scope = trio.CancelScope()  # of the whole connection
        self._reading = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._sending = trio.Lock()
        self._corked: list[bytes] | None = None
        self._under_way = 0
        self._quiet = trio.Event()
        self.over = False

    async def run(self) -> None:
        """Answer requests until the connection is over; call it once. The caller closes the stream."""
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    await self._protocol.begin()
                    with self._reading:
                        await self._read()
                    await self._protocol.end()
                    while self._under_way and not self.over:
                        self._quiet = trio.Event()
                        await self._quiet.wait()
                    self.over = True
                    with trio.move_on_after(WRITE_SECONDS):
                        await self._end_sending()
        finally:
            self._nursery = None
            self._protocol.release()
            del self._protocol, self._application  # so that no cycle is left for the garbage collector

    async def _read(self) -> None:
        """Have the protocol take the client's bytes until either of them ends."""
        self._reading.deadline = trio.current_time() + IDLE_SECONDS
        while True:
            try:
                data = await self._stream.receive_some(RECEIVE_BYTES)
            except BROKEN:
                self._lose()
                return
            if not data:
                return
            try:
                await self._protocol.receive(bytes(data))
            except Exception:  # a request that hypercorn does not refuse, and cannot read
                self._lose()
                return

    async def _end_sending(self) -> None:
        try:
            await self._stream.send_eof()
        except BROKEN:
            return

    def _lose(self) -> None:
        """Give the client up, with all that is under way."""
        self.over = True
        self._scope.cancel()

    # For the protocol.

    async def transmit(self, data: bytes) -> None:
        """See :class:`Caller`; a client that takes nothing for :data:`WRITE_SECONDS` is given up."""
        if self._corked is not None:
            self._corked.append(data)
            return
        if self.over:
            return
        sent = False
        async with self._sending:
            with trio.move_on_after(WRITE_SECONDS):
                try:
                    await self._stream.send_all(data)
                    sent = True
                except BROKEN:
                    pass
        if not sent:
            self._lose()
            await trio.lowlevel.checkpoint()

    def hang_up(self) -> None:
        """See :class:`Caller`."""
        self._reading.cancel()

    def spawn(self, function: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        """See :class:`Caller`."""
        assert self._nursery is not None, "called by tasks of the connection"
        self._nursery.start_soon(function, *arguments)

    def open_exchange(self, scope: Message, answer: Answer) -> Put:
        """See :class:`Caller`."""
        if self._under_way >= MAX_UNDER_WAY:
            self._lose()
        self._under_way += 1
        self._reading.deadline = inf
        exchange = Exchange(self, scope, answer)
        self.spawn(exchange.run, self._application)
        return exchange.put

    # For exchanges.

    @property
    def multiplexes(self) -> bool:
        """Whether the connection may have several requests at once."""
        return self._protocol.multiplexes

    def cork(self) -> None:
        """Collect the bytes that are sent."""
        self._corked = []

    async def uncork(self) -> None:
        """Send the bytes that were collected."""
        corked, self._corked = self._corked, None
        if corked:
            await self.transmit(b"".join(corked))

    def completed(self) -> None:
        """Note that a request is complete; the next one has to come within :data:`IDLE_SECONDS`."""
        self._under_way -= 1
        if not self._under_way:
            self._reading.deadline = trio.current_time() + IDLE_SECONDS
            self._quiet.set()

    def failed(self, fault: BaseException, *, cut: bool) -> None:
        """Log a fault of the application."""
        self._log.fault("admin request failed", fault)
        if cut:
            self._lose()
