"""Hand a session whose source has become known to the worker of that source, and take those of the other workers.

| a session is | event | action |
| --- | --- | --- |
| behind the handshake that names its source | another worker has it, and is ready | send it there; forget it here |
| the same | it is tied to this worker, cannot be written, or the inbox is full | it goes on here |
| in the inbox | a turn of the reactor | register it; go on behind the handshake |
| in the inbox | this process has no descriptor left | refused, ``overload`` |
| in the inbox | it cannot be read | ``fault``, logged |
| in the inbox | the worker dies | its successor takes it |
"""

import array
import os
import socket
import time
from collections.abc import Callable
from typing import Final, Protocol

import trio

from ...loop.reactor import BUFFER_BYTES, Reactor
from ...services.registry import Registry
from ...services.service import Service
from ...session.session import Session
from ...session.surroundings import Home
from ...session.verdict import Completed, Outcome, Reason
from ...telemetry.log import STOPS, EdgeLog
from .lines import Away, Guest
from .message import may_leave, packed, restored, unpacked

TAKES_PER_TURN: Final = 16
"""Sessions that are taken out of the inbox before other sockets have their turn."""

LATE_SECONDS: Final = 0.25
"""How long a worker that drains still takes what others have sent before they knew."""

_RIGHTS: Final = socket.CMSG_SPACE(2 * array.array("i").itemsize)
_STREAM: Final = int(socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
_PACKETS: Final = int(socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)


class SourceWorkers(Protocol):
    """The workers of one edge, as one of them sees them.

    Attributes:
        inbox: of this worker, non-blocking; the other workers write to it.
    """

    inbox: socket.socket

    def inbox_of(self, source: bytes) -> socket.socket | None:
        """Give the inbox of the worker that has a source; None if it is this one, or is not ready."""

    def gave(self, number: int) -> bool:
        """Tell whether an id of a session is one of those that this process gives."""


class GoOn(Protocol):
    """Goes on with a session behind one of its handshakes."""

    def __call__(self, session: Session, sock: socket.SocketType, handshake: int, held: bytes, /) -> None: ...


class HandingOver:
    """The sessions that one run of an edge hands to other workers, and takes from them.

    Attributes:
        left: takes a session that was handed over out of the registered ones.
        go_on: goes on with a session behind one of its handshakes.
    """

    def __init__(
        self, workers: SourceWorkers, reactor: Reactor, log: EdgeLog, live: Registry, unnamed: Service, home: Home,
        left: Callable[[Session], object], new_id: Callable[[], int],
    ) -> None:  # fmt: skip
        """Hand none over yet; :meth:`run` does.

        Args:
            workers: of the edge.
            reactor: watches the inbox.
            log: counts and logs what goes wrong.
            live: the registered sessions.
            unnamed: the service of a session before a stage names one.
            home: the edge, as its sessions see it.
            left: to be called with a session that was handed over, once it waits for its client no more; it takes it
                out of `live`.
            new_id: gives an id that no live session of this process has.
        """
        self._workers, self._reactor, self._log, self._live = workers, reactor, log, live
        self._unnamed, self._home, self.left, self._new_id = unnamed, home, left, new_id
        self.go_on: GoOn | None = None
        self._away: set[Away] = set()
        self._hands = self._said = False
        self._settled: trio.Event | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hand sessions over and take them until cancelled; then counts for those of other workers are released."""
        self._reactor.add_listener(self._workers.inbox.fileno(), self)
        self._hands = True
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self._stop()
            for away in tuple(self._away):
                away.end(Completed(Reason.DRAINED))

    async def drain(self) -> None:
        """Hand no more over, take what comes late, and wait for sessions that are counted here and carried there."""
        self._hands = False
        await trio.sleep(LATE_SECONDS)
        self._stop()
        if self._away:
            self._settled = trio.Event()
            await self._settled.wait()

    def _stop(self) -> None:
        self._hands = False
        self._reactor.remove(self._workers.inbox.fileno())

    # Here, and then there.

    def hand(self, session: Session, sock: socket.SocketType, handshake: int, held: bytearray) -> bool:
        """Hand a session to the worker of its source.

        Args:
            session: a registered one.
            sock: its client's.
            handshake: the number of the one that has ended.
            held: the client's bytes behind it that were read.

        Returns:
            True if it is the other worker's now: the caller closes `sock`, and calls :attr:`left`.
        """
        if not self._hands or type(sock) is not socket.SocketType or not session.source_bytes:
            return False
        inbox = self._workers.inbox_of(session.source_bytes)
        if inbox is None or not may_leave(session):
            return False
        offset = self._reactor.clock() - time.monotonic()
        try:
            data = packed(session, handshake, bytes(held), sock.family, offset)
        except STOPS:
            raise
        except BaseException as fault:
            self._tell_why(f"{type(fault).__name__}: a value in its state cannot be pickled")
            return False
        if len(data) > BUFFER_BYTES:
            self._tell_why("its values take more than 64 KiB")
            return False
        return self._send(inbox, data, session, sock)

    def _tell_why(self, why: str) -> None:
        """Log once that sessions stay, because it is the same with each of them."""
        if not self._said:
            self._said = True
            self._log.notice("sessions stay in the worker that accepts them, and not in that of their source", why=why)

    def _send(self, inbox: socket.socket, data: bytes, session: Session, sock: socket.SocketType) -> bool:
        """Send a session, and a line if anything is counted for it here."""
        fds = array.array("i", [sock.fileno()])
        away = theirs = None
        try:
            if session.deferred:
                ours, theirs = socket.socketpair(socket.AF_UNIX, _PACKETS)
                fds.append(theirs.fileno())
                away = Away(session, ours, self._reactor, self._ended)
            inbox.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        except OSError:  # it is full, or this process has no descriptor left
            if away is not None:
                away.drop()
            return False
        finally:
            if theirs is not None:
                theirs.close()
        session.carrier = away
        if away is not None:
            self._away.add(away)
        return True

    def _ended(self, away: Away, session: Session, outcome: Outcome) -> None:
        """Run the clean-ups of a session that another worker has carried, and counted."""
        self._away.discard(away)
        for fault in session.end(outcome):
            self._log.fault("clean-up failed", fault, session=session.id)
        if self._settled is not None and not self._away:
            self._settled.set()

    # There, and then here.

    def on_ready(self, fd: int, mask: int) -> None:  # noqa: ARG002 - the reactor's shape
        inbox, buffer = self._workers.inbox, self._reactor.buffer
        for _ in range(TAKES_PER_TURN):
            try:
                size, rights, flags, _ = inbox.recvmsg_into([buffer], _RIGHTS, socket.MSG_CMSG_CLOEXEC)
            except OSError:  # BlockingIOError, mostly
                return
            if not size:  # all other workers are dead, and so is the parent
                self._stop()
                return
            fds = array.array("i")
            for _, _, some in rights:
                fds.frombytes(some[: len(some) - len(some) % fds.itemsize])
            if not fds or flags & socket.MSG_CTRUNC:
                for each in fds:
                    os.close(each)
                self._log.refused[Reason.OVERLOAD] += 1
                self._log.notice("shedding: out of file descriptors", live=len(self._live))
                continue
            self._take(buffer[:size], fds)

    def crashed(self, fault: BaseException) -> None:
        """Go on taking; the reactor has logged the exception."""

    def _take(self, data: memoryview, fds: "array.array[int]") -> None:
        """Go on with a session of another worker; one that cannot be read is ended."""
        try:
            handed = unpacked(data)
            number = handed.id
            if self._workers.gave(number) or self._live.get(number) is not None:  # of a worker that has died since
                number = self._new_id()
            offset = self._reactor.clock() - time.monotonic()
            session = restored(handed, number, offset, self._home, self._unnamed)
        except STOPS:
            raise
        except BaseException as fault:
            self._log.fault("session cannot be taken from another worker", fault)
            self._log.count(Completed(Reason.FAULT))
            for each in fds:
                os.close(each)
            return
        sock = socket.SocketType(handed.family, _STREAM, 0, fds[0])
        if len(fds) > 1:
            Guest(session, socket.SocketType(socket.AF_UNIX, _PACKETS, 0, fds[1]), self._reactor)
        self._live.add(session)
        session.service.opened -= 1  # the first worker has counted it
        assert self.go_on is not None, "there are handshakes"
        self.go_on(session, sock, handed.handshake, handed.held)
