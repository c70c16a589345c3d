"""A relay without a kernel: its sockets and its reactor do exactly as a test says."""

import errno
import select
import socket
from typing import Any

import pytest

from trioedge.loop.reactor import READABLE, WRITABLE
from trioedge.relay.relay_side import RelaySide
from trioedge.relay.socket_relay import Relay
from trioedge.session.allowance import Allowance
from trioedge.session.session import Session
from trioedge.session.verdict import Outcome
from trioedge.testing import make_session

CLIENT_FD, UPSTREAM_FD = 1_000_010, 1_000_011
"""Descriptors of no file, of whose buffers the kernel knows nothing."""

ENDED = select.EPOLLRDHUP
"""The mask of a socket whose peer has finished sending."""

FULL = BlockingIOError(errno.EAGAIN, "full")
EMPTY = BlockingIOError(errno.EAGAIN, "empty")
GONE = BrokenPipeError(errno.EPIPE, "gone")


class ScriptedSocket(socket.SocketType):
    """A socket that gives `reads`, and takes as `writes` say: so many bytes, or an error; all when they say no more.

    Attributes:
        took: bytes that were written to it.
        error: its SO_ERROR.
        trail: the calls that end it, in order.
        shutdown_fails: whether a half-close fails.
    """

    def __init__(self, fd: int, reads: list[bytes | OSError], writes: list[int | OSError]) -> None:
        self.fd, self.reads, self.writes = fd, reads, writes
        self.took = b""
        self.error = 0
        self.trail: list[str] = []
        self.shutdown_fails = False

    def fileno(self) -> int:
        return self.fd

    def recv_into(self, buffer: memoryview, size: int = 0) -> int:  # type: ignore[override]
        read = self.reads.pop(0) if self.reads else EMPTY
        if isinstance(read, OSError):
            raise read
        if size and size < len(read):
            self.reads.insert(0, read[size:])
            read = read[:size]
        buffer[: len(read)] = read
        return len(read)

    def getsockopt(self, *option: int) -> int:  # type: ignore[override]
        if option == (socket.SOL_SOCKET, socket.SO_KEEPALIVE):
            return 1  # so the relay sets no option
        assert option == (socket.SOL_SOCKET, socket.SO_ERROR)
        return self.error

    def send(self, data: memoryview) -> int:  # type: ignore[override]
        write = self.writes.pop(0) if self.writes else len(data)
        if isinstance(write, OSError):
            raise write
        self.took += bytes(data[:write])
        return min(write, len(data))

    def shutdown(self, how: int) -> None:
        assert how == socket.SHUT_WR
        if self.shutdown_fails:
            raise OSError(errno.ENOTCONN, "not connected")
        self.trail.append("half-closed")

    def setsockopt(self, *option: Any) -> None:
        self.trail.append("to be reset")

    def close(self) -> None:
        self.trail.append("closed")


class ScriptedReactor:
    """The reactor as a relay sees it; nothing in it runs by itself.

    Attributes:
        agains: sides that asked to be called again.
        repeated: file descriptors whose events are to be repeated.
        deadlines: the deadlines that are set, by tick.
        watched: the descriptors that it watches, in the order in which they came; a former owner handed over its own.
    """

    def __init__(self) -> None:
        self.now = 100.0
        self.buffer = memoryview(bytearray(65536))
        self.agains: list[RelaySide] = []
        self.repeated: list[int] = []
        self.deadlines: dict[int, float] = {}
        self.watched: list[tuple[str, int]] = []

    def again(self, side: RelaySide) -> None:
        self.agains.append(side)

    def run(self) -> None:
        """Resume every side that asked, until none asks."""
        for _ in range(100):
            if not self.agains:
                return
            self.agains.pop(0).resume()
        pytest.fail("a side asks to be called again for ever")

    def repeat(self, fd: int) -> None:
        self.repeated.append(fd)

    def add_reader(self, fd: int, side: RelaySide) -> None:
        self.watched.append(("added", fd))

    def hand_over(self, fd: int, side: RelaySide) -> None:
        self.watched.append(("handed over", fd))

    def forget(self, fd: int) -> None:
        self.watched = [each for each in self.watched if each[1] != fd]

    def set_deadline(self, item: object, due: float) -> int:
        tick = max(self.deadlines, default=0) + 1
        self.deadlines[tick] = due
        return tick

    def drop_deadline(self, item: object, tick: int) -> None:
        self.deadlines.pop(tick, None)


class ScriptedRelay:
    """A relay over two scripted sockets.

    Attributes:
        outcomes: what the relay said at the end; more than one is a fault.
    """

    def __init__(
        self,
        *,
        client: list[bytes | OSError] | None = None,
        to_client: list[int | OSError] | None = None,
        upstream: list[bytes | OSError] | None = None,
        to_upstream: list[int | OSError] | None = None,
        allowance: Allowance | None = None,
        source: str = "192.0.2.1",
    ) -> None:
        self.reactor = ScriptedReactor()
        self.client = ScriptedSocket(CLIENT_FD, client or [], to_client or [])
        self.upstream = ScriptedSocket(UPSTREAM_FD, upstream or [], to_upstream or [])
        self.session = make_session(source)
        self.session.allowance = allowance
        self.outcomes: list[Outcome] = []
        reactor: Any = self.reactor
        down: Any = self.client
        up: Any = self.upstream
        self.session.carrier = self.relay = Relay(self.session, reactor, down, up, self._ended)
        self.down, self.up = self.relay.down, self.relay.up

    def _ended(self, session: Session, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def run(self) -> None:
        """Repeat the events that are to be repeated, and resume every side that asked, until none asks."""
        for fd in self.reactor.repeated:
            (self.down if fd == CLIENT_FD else self.up).on_ready(fd, READABLE | WRITABLE)
        self.reactor.repeated.clear()
        self.reactor.run()
