"""The idle connections of a pool, the longest idle first."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from math import inf
from typing import Final

from ...loop.reactor import HUNG_UP, WRITABLE, Reactor
from ...loop.sockets import KEEP_ALIVE_SECONDS, keep_alive, reset

MAX_IDLE_SECONDS: Final = 30.0
"""The age at which an unused connection is closed and replaced; a quarter of a pool at a time, a second apart."""

SETTLED_SECONDS: Final = 1.0
"""The age from which an idle connection is probed: one that a session takes at once does not pay for the options."""

PROBE_SECONDS: Final = 15
"""The silence before an idle connection is probed, so that a firewall on the way does not forget it."""


class Idle:
    """A connection that waits for a session.

    Attributes:
        sock: its socket, which is registered in the reactor.
        since: when it was made, in seconds of the reactor's clock.
        readable: whether the upstream has sent something.
        peer: the IP address of the upstream; empty where it does not matter.
    """

    __slots__ = ("_lost", "_probed", "peer", "readable", "since", "sock")

    def __init__(
        self, sock: socket.SocketType, since: float, peer: str, lost: Callable[["Idle"], object], *, readable: bool
    ) -> None:
        self._lost = lost
        self._probed = sock.family == socket.AF_UNIX
        self.peer = peer
        self.since = since
        self.sock = sock
        self.readable = readable

    def on_ready(self, fd: int, mask: int) -> None:  # noqa: ARG002 - the reactor's shape
        if mask == WRITABLE:  # as each new connection is
            return
        self.readable = True
        if mask & HUNG_UP or not self.alive():
            self._lost(self)

    def alive(self) -> bool:
        """Tell whether the upstream has neither closed nor reset the connection; unread data does not matter."""
        try:
            return bool(self.sock.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def probe(self) -> None:
        """Have the kernel probe it as it probes the upstream of a session, but after a shorter silence."""
        if not self._probed:
            self._probed = True
            with contextlib.suppress(OSError):  # it was reset
                keep_alive(self.sock, KEEP_ALIVE_SECONDS)
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_SECONDS)

    def crashed(self, fault: BaseException) -> None:  # noqa: ARG002 - the reactor has logged it
        self._lost(self)


class IdleConnections:
    """The connections, each registered in the reactor from :meth:`add` until it is taken or closed."""

    def __init__(self, reactor: Reactor) -> None:
        """Start without a connection."""
        self._reactor = reactor
        self._by_fd: dict[int, Idle] = {}  # the longest idle first

    def __len__(self) -> int:
        return len(self._by_fd)

    def __iter__(self) -> Iterator[Idle]:
        """Give them, the longest idle first."""
        return iter(self._by_fd.values())

    def add(self, idle: Idle) -> None:
        """Watch a connection, whose socket may be registered already.

        Raises:
            OSError: the kernel has no memory left to watch it; it is closed.
        """
        fd = idle.sock.fileno()
        if fd in self._reactor:
            self._reactor.hand_over(fd, idle)
        else:
            try:
                self._reactor.add(fd, idle)
            except OSError:
                reset(idle.sock)
                raise
        self._by_fd[fd] = idle

    def pop_newest(self) -> Idle:
        """Remove the newest one, which stays registered in the reactor."""
        return self._by_fd.popitem()[1]

    @property
    def oldest(self) -> Idle:
        """The one that is idle for longest; there must be one."""
        return next(iter(self._by_fd.values()))

    def tend(self, now: float, max_closed: int) -> int:
        """Close connections that have lived long enough, and probe those that no session took at once.

        Args:
            now: seconds.
            max_closed: how many are closed at most.

        Returns:
            How many were closed.
        """
        closed = 0
        while self and closed < max_closed and self.oldest.since + MAX_IDLE_SECONDS <= now:
            self.close(self.oldest)
            closed += 1
        for idle in self:
            if idle.since + SETTLED_SECONDS > now:
                break
            idle.probe()
        return closed

    def next_tending(self, now: float) -> float:
        """Give the time of the next :meth:`tend`; infinity without a connection."""
        if not self._by_fd:
            return inf
        newest, old_at = next(reversed(self._by_fd.values())), self.oldest.since + MAX_IDLE_SECONDS
        return now + SETTLED_SECONDS if newest.since + SETTLED_SECONDS > now or old_at <= now else old_at

    def close(self, idle: Idle) -> bool:
        """Close a connection; False if it is not here, because it was closed or taken."""
        if self._by_fd.pop(idle.sock.fileno(), None) is None:
            return False
        self.discard(idle)
        return True

    def discard(self, idle: Idle) -> None:
        """Close a connection that was removed."""
        self._reactor.forget(idle.sock.fileno())
        idle.sock.close()
