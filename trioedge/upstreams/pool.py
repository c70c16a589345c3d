"""Upstream connections made before anyone asks: taken by a session, replaced behind its back.

Seed, layer five: the first session does not pay for what could have been ready. A connection that dies while it
waits is noticed by its event and replaced; one that died since is noticed when it is taken.
"""

import random
import socket
from typing import Final

import trio

from ..loop.reactor import HUNG_UP, Reactor
from ..loop.wakeup import Wakeup
from ..session.verdict import Reason
from ..structures.backoff import Backoff
from ..telemetry.observer import Observer
from .connector import Attempt, Connecting, Target
from .errors import UpstreamError

FIRST_RETRY_SECONDS: Final = 0.1
MAX_RETRY_SECONDS: Final = 30.0

AT_ONCE: Final = 16
"""Connections that are opened or closed before others have their turn: less than a millisecond's work."""

STEADY_SECONDS: Final = 1.0
"""A connection that waited this long was welcome: losing it counts as the first failure."""


class _Idle:
    """A connection that waits for a session."""

    __slots__ = ("_pool", "greeted", "since", "sock")

    def __init__(self, pool: "IdlePool", sock: socket.socket, since: float, greeted: bool) -> None:
        self._pool = pool
        self.since = since
        self.sock = sock
        self.greeted = greeted

    def on_ready(self, fd: int, mask: int) -> None:  # noqa: ARG002 - the reactor's shape
        self.greeted = True
        if mask & HUNG_UP or not self.alive():
            self._pool.lost(self)

    def alive(self) -> bool:
        """Tell whether the upstream is still there; one that has spoken first is."""
        try:
            return bool(self.sock.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def crashed(self, fault: Exception) -> None:  # noqa: ARG002 - whatever it was, this one is no use
        self._pool.lost(self)


class _Refill:
    """One connect attempt on behalf of the pool."""

    __slots__ = ("_pool", "attempt")

    def __init__(self, pool: "IdlePool") -> None:
        self._pool = pool
        self.attempt: Attempt | None = None

    def connected(self, sock: socket.socket, greeted: bool) -> None:
        self._pool.filled(self, sock, greeted)

    def failed(self, error: UpstreamError) -> None:
        self._pool.refused(self, error)


class IdlePool:
    """Keeps `size` connections to one destination ready."""

    def __init__(
        self,
        connector: Connecting,
        reactor: Reactor,
        observer: Observer,
        target: Target,
        *,
        size: int,
    ) -> None:
        """Make an empty pool; :meth:`run` fills it.

        Args:
            connector: opens the connections.
            reactor: watches them while they wait.
            observer: told, at most once a second, that the upstream refuses or hangs up.
            target: where to.
            size: connections to keep ready; its file descriptors are the pool's.
        """
        self._connector = connector
        self._reactor = reactor
        self._observer = observer
        self._target = target
        self._size = size
        self._idle: dict[int, _Idle] = {}
        self._refills: set[_Refill] = set()
        self._wakeup = Wakeup()
        self._backoff = Backoff(FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, random.random)
        self._retry_seconds = 0.0
        self._closing = False

    def __len__(self) -> int:
        """Connections ready."""
        return len(self._idle)

    def resize(self, size: int) -> None:
        """Keep more or fewer connections ready from now on; those too many are closed soon, the oldest first."""
        self._size = size
        self._wakeup.set()

    def close(self) -> None:
        """Keep none any more: :meth:`run` ends when the last is closed."""
        self._closing = True
        self.resize(0)

    def take(self) -> tuple[socket.socket, bool] | None:
        """Give the newest connection that is alive, registered in the reactor, and whether it has spoken already.

        None when there is none: the session connects for itself, and never waits for the pool.
        """
        while self._idle:
            _, idle = self._idle.popitem()
            self._wakeup.set()
            if idle.alive():
                self._backoff.succeeded()
                return idle.sock, idle.greeted
            self._close(idle)
        return None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fill the pool and keep it full; after a failure wait 0.1 to 30 s, doubling until a session took one.

        Ends once it is closed. Closes every connection when cancelled.
        """
        task_status.started()
        self._wakeup.set()
        try:
            while True:
                await self._wakeup.wait()
                await self._shrink()
                if self._retry_seconds:
                    await self._pause()
                if self._closing:
                    return
                await self._fill()
        finally:
            while self._drop_one():
                pass

    async def _pause(self) -> None:
        """Let the upstream be for a while; what becomes too many meanwhile is closed all the same."""
        with trio.move_on_after(self._retry_seconds):
            while not self._closing:
                await self._wakeup.wait()
                await self._shrink()
        self._retry_seconds = 0.0

    async def _fill(self) -> None:
        """Begin to connect what is missing, a few at a time; sessions have their turn in between."""
        self._reactor.refresh()
        begun = 0
        while len(self._idle) + len(self._refills) < self._size and not self._retry_seconds:
            self._connect()  # if it fails at once, so would the next
            begun += 1
            if begun % AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
                self._reactor.refresh()

    async def _shrink(self) -> None:
        """Close what is too many, a few at a time."""
        closed = 0
        while len(self._idle) + len(self._refills) > self._size and self._drop_one():
            closed += 1
            if closed % AT_ONCE == 0:
                await trio.lowlevel.checkpoint()

    def _drop_one(self) -> bool:
        """Give up a connection that is on its way, or else close the oldest; False when there is neither."""
        if self._refills:
            refill = self._refills.pop()
            if refill.attempt is not None:
                refill.attempt.cancel()
        elif self._idle:
            self._close(self._idle.pop(next(iter(self._idle))))
        else:
            return False
        return True

    def _connect(self) -> None:
        refill = _Refill(self)
        self._refills.add(refill)
        try:
            refill.attempt = self._connector.start(self._target, refill)
        except Exception as fault:  # of an outbound of the user's
            self._observer.fault("outbound failed", fault, upstream=str(self._target.address))
            self.refused(refill, UpstreamError(Reason.FAULT, repr(fault)))

    def filled(self, refill: _Refill, sock: socket.socket, greeted: bool) -> None:
        """A connection is there; one too many, since :meth:`resize`, is closed at once."""
        self._refills.discard(refill)
        if len(self._idle) >= self._size:
            self._reactor.forget(sock.fileno())
            sock.close()
            return
        idle = self._idle[sock.fileno()] = _Idle(self, sock, self._reactor.now, greeted)
        self._reactor.hand_over(sock.fileno(), idle)
        if greeted and not idle.alive():
            self.lost(idle)

    def refused(self, refill: _Refill, error: UpstreamError) -> None:
        """A connection could not be made; the next try waits longer."""
        self._refills.discard(refill)
        if not self._retry_seconds:
            self._retry_seconds = self._backoff.failed()
            self._observer.notice("preconnect failed", upstream=str(self._target.address), error=error.detail)
        self._wakeup.set()

    def lost(self, idle: _Idle) -> None:
        """The upstream closed a connection that waited; one that closes them all at once is asked less often."""
        if self._idle.pop(idle.sock.fileno(), None) is None:
            return
        self._close(idle)
        if self._reactor.now - idle.since >= STEADY_SECONDS:
            self._backoff.succeeded()
        else:
            self._observer.notice("preconnect: the upstream hangs up at once", upstream=str(self._target.address))
        self._retry_seconds = self._retry_seconds or self._backoff.failed()
        self._wakeup.set()

    def _close(self, idle: _Idle) -> None:
        self._reactor.forget(idle.sock.fileno())
        idle.sock.close()
