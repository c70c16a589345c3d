"""A pool of idle upstream connections, made before a session needs one and replaced after a session took one.

So the first session does not pay for a connect that could have been made earlier.

| a connection is | event | action |
| --- | --- | --- |
| missing | no pause | start to connect it |
| connecting | connected | it is idle; if the pool is full since a `resize`, close it |
| connecting | refused | forget it and pause |
| connecting | surplus | cancel it; connecting ones go before idle ones |
| idle | the upstream sends first | it stays, and is readable |
| idle | the upstream closes it | close it and pause |
| idle | surplus | close it, the oldest first |
| idle | a session takes it | hand it over, the newest first; if it is dead, close it and try the next |

During a pause nothing is connected; surplus connections are closed as always. Pauses double with each failure until a
session takes a live connection, or until the upstream closes one that was idle for :data:`STEADY_SECONDS`.
"""

import random
import socket
from typing import Final

import trio
from trio_util import AsyncBool

from ..errors import quote_fault
from ..loop.reactor import HUNG_UP, Reactor
from ..session.verdict import Reason
from ..structures.backoff import Backoff
from ..telemetry.observer import STOPS, Observer
from .attempt import Attempt
from .connector import Connecting, Target
from .errors import UpstreamError

FIRST_RETRY_SECONDS: Final = 0.1
MAX_RETRY_SECONDS: Final = 30.0

AT_ONCE: Final = 16
"""Connections opened or closed before other tasks run: less than a millisecond of work."""

STEADY_SECONDS: Final = 1.0
"""After this idle time a disconnect resets the backoff: the upstream does accept connections that wait."""


class _Idle:
    """A connection that waits for a session."""

    __slots__ = ("_pool", "readable", "since", "sock")

    def __init__(self, pool: "IdlePool", sock: socket.socket, since: float, readable: bool) -> None:
        self._pool = pool
        self.since = since
        self.sock = sock
        self.readable = readable

    def on_ready(self, fd: int, mask: int) -> None:  # noqa: ARG002 - the reactor's shape
        self.readable = True
        if mask & HUNG_UP or not self.alive():
            self._pool.lost(self)

    def alive(self) -> bool:
        """Tell whether the upstream has neither closed nor reset the connection; unread data does not matter."""
        try:
            return bool(self.sock.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def crashed(self, fault: BaseException) -> None:  # noqa: ARG002 - the reactor has logged it
        self._pool.lost(self)


class _Refill:
    """A connect attempt of the pool."""

    __slots__ = ("_pool", "attempt")

    def __init__(self, pool: "IdlePool") -> None:
        self._pool = pool
        self.attempt: Attempt | None = None

    def connected(self, sock: socket.socket, readable: bool) -> None:
        self._pool.filled(self, sock, readable)

    def failed(self, error: UpstreamError) -> None:
        self._pool.refused(self, error)


class IdlePool:
    """Keeps `size` idle connections to one destination."""

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
            reactor: watches them while they are idle.
            observer: logs, at most once a second, that the upstream refuses or closes connections.
            target: the destination.
            size: idle connections to keep, at least 0; each takes a file descriptor.
        """
        self._connector = connector
        self._reactor = reactor
        self._observer = observer
        self._target = target
        self._size = size
        # Both together have at most `_size` members once the worker has closed the surplus. `_idle` is by file
        # descriptor, the longest idle first; each of its sockets is registered in the reactor.
        self._idle: dict[int, _Idle] = {}
        self._refills: set[_Refill] = set()
        self._changed = AsyncBool()  # set when the size or a connection changed; cleared by the worker
        self._backoff = Backoff(FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, random.random)
        self._retry_seconds = 0.0  # the pause that is due or under way; 0 for none
        self._closing = False

    def __len__(self) -> int:
        """Idle connections."""
        return len(self._idle)

    def resize(self, size: int) -> None:
        """Keep `size` idle connections from now on. The worker closes surplus ones soon, the oldest first."""
        self._size = size
        self._changed.value = True

    def close(self) -> None:
        """Keep no connection any more; :meth:`run` ends when the last one is closed."""
        self._closing = True
        self.resize(0)

    def take(self) -> tuple[socket.socket, bool] | None:
        """Take the newest live connection out of the pool, without waiting.

        Returns:
            The socket, which stays registered in the reactor, and whether it is readable already: the event that said
            so has passed. None when there is no live connection: the session then connects by itself.
        """
        while self._idle:
            _, idle = self._idle.popitem()
            self._changed.value = True
            if idle.alive():
                self._backoff.succeeded()
                return idle.sock, idle.readable
            self._close(idle)
        return None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the pool filled until it is closed. After a cancel every connection is closed.

        The pause after a failure is 0.1 to 30 s.
        """
        task_status.started()
        self._changed.value = True
        try:
            while True:
                await self._look()
                if self._retry_seconds:
                    await self._pause()
                if self._closing:
                    return
                await self._fill()
        finally:
            while self._drop_one():
                pass

    async def _pause(self) -> None:
        """Wait before the next connect, and close what becomes surplus meanwhile; :meth:`close` ends the pause."""
        with trio.move_on_after(self._retry_seconds):
            while not self._closing:
                await self._look()
        self._retry_seconds = 0.0

    async def _look(self) -> None:
        """Wait for a change, then close surplus connections."""
        await self._changed.wait_value(True)
        self._changed.value = False
        await self._shrink()

    async def _fill(self) -> None:
        """Start to connect missing connections, a few at a time, so that sessions run in between."""
        self._reactor.refresh()
        begun = 0
        while len(self._idle) + len(self._refills) < self._size and not self._retry_seconds:
            self._connect()  # if this fails at once, so would the next
            begun += 1
            if begun % AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
                self._reactor.refresh()

    async def _shrink(self) -> None:
        """Close surplus connections, a few at a time."""
        closed = 0
        while len(self._idle) + len(self._refills) > self._size and self._drop_one():
            closed += 1
            if closed % AT_ONCE == 0:
                await trio.lowlevel.checkpoint()

    def _drop_one(self) -> bool:
        """Cancel a connect attempt, else close the oldest idle connection; False when there is neither."""
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
        except STOPS:
            raise
        except BaseException as fault:  # a user's outbound may raise anything
            self._observer.fault("outbound failed", fault, upstream=str(self._target.address))
            self.refused(refill, UpstreamError(Reason.FAULT, quote_fault(fault)))

    def filled(self, refill: _Refill, sock: socket.socket, readable: bool) -> None:
        """Add a connection that was made; one that :meth:`resize` made surplus is closed at once."""
        self._refills.discard(refill)
        if len(self._idle) >= self._size:
            self._reactor.forget(sock.fileno())
            sock.close()
            return
        idle = self._idle[sock.fileno()] = _Idle(self, sock, self._reactor.now, readable)
        self._reactor.hand_over(sock.fileno(), idle)
        if readable and not idle.alive():
            self.lost(idle)

    def refused(self, refill: _Refill, error: UpstreamError) -> None:
        """Note that a connection could not be made; a pause begins unless there is one."""
        self._refills.discard(refill)
        if not self._retry_seconds:
            self._retry_seconds = self._backoff.failed()
            self._observer.notice("preconnect failed", upstream=str(self._target.address), error=error.detail)
        self._changed.value = True

    def lost(self, idle: _Idle) -> None:
        """Close an idle connection that the upstream closed; a pause begins unless there is one."""
        if self._idle.pop(idle.sock.fileno(), None) is None:
            return
        self._close(idle)
        if self._reactor.now - idle.since >= STEADY_SECONDS:
            self._backoff.succeeded()
        else:
            self._observer.notice("preconnect: the upstream hangs up at once", upstream=str(self._target.address))
        self._retry_seconds = self._retry_seconds or self._backoff.failed()
        self._changed.value = True

    def _close(self, idle: _Idle) -> None:
        self._reactor.forget(idle.sock.fileno())
        idle.sock.close()
