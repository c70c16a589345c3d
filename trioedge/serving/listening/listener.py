"""Accept connections, at every wake-up of the reactor.

| accept | action |
| --- | --- |
| gives a connection | admit it, at most 64 before other sockets have a turn |
| finds none | wait for the next event |
| fails: no file descriptor | free the reserve, accept, reset that connection, take the reserve again |
| fails: no memory for sockets | pause for 50 ms |
| fails otherwise | the connection is gone; accept the next one (accept(2), error handling) |

So clients of a process without file descriptors are refused at once, and the listener neither spins nor sleeps.

A listener may be released: it listens, and accepts no client before it is given to a service again.
"""

import contextlib
import errno
import os
import socket
from typing import Final, Protocol

from ...addresses.address import UNIX_SOURCE, packed_ip
from ...loop.reactor import Reactor
from ...loop.sockets import reset
from ...services.service import Service
from ...telemetry.log import EdgeLog
from .bind import Bound
from .reserve import Reserve

ACCEPTS_PER_TURN: Final = 64
"""Connections accepted before other sockets have a turn; the reactor reports the rest again."""

BUSY_EVENTS: Final = 4
"""With fewer sockets ready in a batch, a listener accepts one connection at a time."""

PAUSE_SECONDS: Final = 0.05
"""The pause of a listener when the system has no memory for sockets."""

_STREAM: Final = int(socket.SOCK_STREAM)
_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)
_NO_MEMORY: Final = (errno.ENOBUFS, errno.ENOMEM)


class Admit(Protocol):
    """Takes accepted sockets, which are in blocking mode."""

    def __call__(
        self, sock: socket.SocketType, listener: str, source: str, packed: bytes, port: int, service: Service | None, /
    ) -> None: ...


class Listener:
    """One listening socket.

    Attributes:
        address: the address, its port filled in.
    """

    _log: EdgeLog
    _admit: Admit
    _shed: "Shed"

    def __init__(self, bound: Bound, reserve: Reserve, service: Service | None = None) -> None:
        """Accept nothing yet.

        Args:
            bound: the socket.
            reserve: of the edge, shared by all its listeners.
            service: the one that has the sessions; None for a listener of the edge's own.
        """
        self._service = service
        self._bound = bound
        self._reserve = reserve
        self._sock = bound.sock
        self._family = bound.sock.family
        self.address = bound.address
        self._label = str(bound.given)
        self._released = False
        self._reactor: Reactor | None = None  # set by `open`, with the three above

    def open(self, reactor: Reactor, log: EdgeLog, admit: Admit, shed: "Shed") -> None:
        """Begin to accept.

        Args:
            reactor: reports connections that wait.
            log: logs pauses.
            admit: takes each connection.
            shed: counts a connection that was refused for want of a file descriptor.

        Raises:
            ListenError: another process listens there since this one was bound.
        """
        self._bound.listen()
        self._reactor, self._log, self._admit, self._shed = reactor, log, admit, shed
        reactor.add_listener(self._sock.fileno(), self)

    def give(self, service: Service) -> None:
        """Accept sessions of another service from now on, also if the listener was released.

        Raises:
            OSError: the kernel has no memory to watch the socket; it stays released.
        """
        assert self._reactor is not None
        self._service = service
        if self._released:
            self._reactor.add_listener(self._sock.fileno(), self)
            self._released = False

    def release(self) -> None:
        """Accept none until the listener is given to a service; clients wait in the backlog."""
        assert self._reactor is not None
        self._reactor.remove(self._sock.fileno())
        self._released = True

    def on_ready(self, fd: int, mask: int) -> None:  # noqa: ARG002 - the reactor's shape
        # As socket.accept() does, less its conversions of family and type, which cost as much as a decision.
        accept, family = self._sock._accept, self._family  # type: ignore[attr-defined]  # CPython's, as sockets use it
        admit, label, service = self._admit, self._label, self._service
        # An accept that finds none costs as much as one that finds one, so it is tried only when much is going on;
        # the reactor reports a backlog again.
        assert self._reactor is not None
        for _ in range(1 if self._reactor.batch < BUSY_EVENTS else ACCEPTS_PER_TURN):
            try:
                accepted, peer = accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_DESCRIPTOR:
                    if not self._shed_one():
                        return
                    continue
                if error.errno in _NO_MEMORY:
                    self._pause(error)
                    return
                continue
            try:
                sock = socket.SocketType(family, _STREAM, 0, accepted)
            except OSError:
                os.close(accepted)
                continue
            if type(peer) is tuple:
                source = peer[0]
                if len(peer) == 2:
                    admit(sock, label, source, socket.inet_aton(source), peer[1], service)
                    continue
                packed = packed_ip(source) or b""
                if len(packed) == 4:
                    source = socket.inet_ntoa(packed)
                admit(sock, label, source.partition("%")[0], packed, peer[1], service)
            else:
                admit(sock, label, UNIX_SOURCE, b"", 0, service)

    def _shed_one(self) -> bool:
        """Refuse one connection by means of the reserve; False if that fails too."""
        with self._reserve.lent(), contextlib.suppress(OSError):
            sock, _ = self._sock.accept()
            reset(sock)
            self._shed()
            return True
        return False

    def _pause(self, error: OSError) -> None:
        assert self._reactor is not None
        self._log.notice("listener pauses", listener=self._label, error=error.strerror)
        self._reactor.set_deadline(self, self._reactor.now + PAUSE_SECONDS)
        self._reactor.remove(self._sock.fileno())

    def expire(self, now: float) -> None:
        """End the pause; the next one begins if the kernel has no memory left to watch the socket."""
        if self._reactor is None or self._released or self._sock.fileno() < 0:
            return
        try:
            self._reactor.add_listener(self._sock.fileno(), self)
        except FileExistsError:  # it was not removed, because that failed
            pass
        except OSError:
            self._reactor.set_deadline(self, now + PAUSE_SECONDS)

    def crashed(self, fault: BaseException) -> None:
        """Go on accepting; the reactor has logged the exception."""

    def close(self) -> None:
        """Stop accepting, and remove the file of a local socket if it is still this one's.

        The kernel resets the connections that wait in the backlog, unless another process has the socket, too. A second
        call does nothing.
        """
        if self._sock.fileno() < 0:
            return
        if self._reactor is not None:
            self._reactor.remove(self._sock.fileno())  # a close removes no socket that another process has, too
        self._bound.close()


class Shed(Protocol):
    """Counts a connection that was refused before it had a session."""

    def __call__(self) -> None: ...
