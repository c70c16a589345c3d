"""A pool of idle upstream connections, made before a session needs one and replaced after a session took one.

So the first session does not pay for a connect that could have been made earlier.

| a connection is | event | action |
| --- | --- | --- |
| missing, no pause | the pool begins, grows, or has closed an idle connection | start to connect it |
| missing, no pause | a session that took one ends, or fewer than half are left | start to connect one |
| missing, no pause | :data:`.TOP_UP_SECONDS` after a session took one | start to connect all, one a turn of the loop |
| missing, no pause | the same, at an address of this machine that takes a connection at once | it is idle |
| connecting | connected | it is idle; if the pool is full since a `resize`, close it |
| connecting | refused | forget it and pause |
| connecting | surplus | cancel it; connecting ones go before idle ones |
| idle | the upstream sends first | it stays, and is readable |
| idle | the upstream closes it, or does not answer a keepalive probe | close it and pause; the upstream is impatient |
| idle | :data:`.MAX_IDLE_SECONDS` pass | close it: the upstream is patient |
| idle | its address is not in the renewed answer for the name | close it |
| idle | surplus | close it, the oldest first |
| idle | a session takes it | hand it over, the newest first; if it is dead, close it and try the next |

During a pause nothing is connected; surplus connections are closed as always. Pauses double with each failure until a
session takes a live connection, or until one has lived unused for its whole time. While the upstream is impatient, a
pause comes before each single connect, so that a server that does not wait for clients is left alone more and more.
"""

import random
import socket
from math import inf
from typing import Final

import trio
from trio_util import AsyncBool

from ...addresses.address import packed_ip
from ...errors import quote_fault
from ...loop.reactor import Reactor
from ...loop.sockets import connect_at_once
from ...services.context import SocketAddress
from ...session.verdict import Reason
from ...structures.backoff import Backoff
from ...telemetry.log import STOPS, EdgeLog
from ..attempt import Attempt
from ..connector import Connecting, Target
from ..errors import UpstreamError
from .idle import SETTLED_SECONDS, Idle, IdleConnections
from .pace import Pace
from .renewal import Renewal

FIRST_RETRY_SECONDS: Final = 0.1
MAX_RETRY_SECONDS: Final = 30.0

AT_ONCE: Final = 16
"""Surplus connections closed before other tasks run: less than a millisecond of work."""


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
        self, connector: Connecting, reactor: Reactor, log: EdgeLog, target: Target, *, size: int,
        where: SocketAddress | None = None,
    ) -> None:  # fmt: skip
        """Make an empty pool; :meth:`run` fills it.

        Args:
            connector: opens the connections. Connections follow the names that it resolves.
            reactor: watches them while they are idle.
            log: logs that the upstream refuses or closes connections.
            target: the destination.
            size: idle connections to keep, at least 0; each takes a file descriptor.
            where: the family and the socket address of a destination on this machine, see :class:`.Upstream`.
        """
        self._connector = connector
        self._reactor = reactor
        self._log = log
        self._target = target
        self._where = where
        self._size = size
        # Both together have at most `_size` members once the worker has closed the surplus.
        self._idle = IdleConnections(reactor)
        self._refills: set[_Refill] = set()
        # These have the times of the worker's next tasks: connect what is missing, renew the answer for the name, close
        # old connections. `_changed` is set when one of them may be earlier than the worker knows.
        self._pace = Pace(Backoff(FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, random.random))
        self._released = 0  # sessions that have ended, and whose connections are to be replaced in this batch
        self._renewal = Renewal(connector, target, reactor, self._keep)
        self._tend_at = inf
        self._changed = AsyncBool()
        self._closing = False

    def __len__(self) -> int:
        """Idle connections."""
        return len(self._idle)

    @property
    def _missing(self) -> int:
        return self._size - len(self._idle) - len(self._refills)

    @property
    def _few_are_left(self) -> bool:
        """Whether fewer than half are idle or being connected."""
        return 2 * self._missing > self._size

    def resize(self, size: int) -> None:
        """Keep `size` idle connections from now on. The worker closes surplus ones soon, the oldest first."""
        self._size = size
        self._pace.soon(self._reactor.now)
        self._changed.value = True

    def close(self) -> None:
        """Keep no connection any more; :meth:`run` ends when the last one is closed."""
        self._closing = True
        self.resize(0)

    def take(self) -> tuple[socket.SocketType, bool] | None:
        """Take the newest live connection out of the pool, without waiting.

        When its session ends, :meth:`released` replaces it.

        Returns:
            The socket, which stays registered in the reactor, and whether it is readable already: the event that said
            so has passed. None when there is no live connection: the session then connects by itself.
        """
        while self._idle:
            idle = self._idle.pop_newest()
            if idle.alive():
                if self._pace.took(self._reactor.now):
                    self._changed.value = True
                if self._few_are_left:
                    self._reactor.again(self)
                return idle.sock, idle.readable
            self._idle.discard(idle)
            self._note_lost(idle)
        return None

    def released(self) -> None:
        """Replace a connection that a session took, because that session has ended."""
        self._released += 1
        self._reactor.again(self)

    def resume(self) -> None:
        """Connect one connection: for a session that has ended, or because fewer than half are left."""
        released, self._released = self._released, max(0, self._released - 1)
        if self._missing > 0 and not self._pace.pausing and (released or self._few_are_left):
            self._connect()
            self._reactor.again(self)  # for the next one, if still fewer than half are left

    def crashed(self, fault: BaseException) -> None:  # noqa: ARG002 - the reactor has logged it
        self._pause()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the pool filled until it is closed. After a cancel every connection is closed.

        The pause after a failure is 0.1 to 30 s.
        """
        task_status.started()
        self._pace.soon(self._reactor.now)
        try:
            while True:
                now = self._reactor.refresh()
                self._tend(now)
                self._renewal.begin(now)
                await self._shrink()
                if self._closing:
                    return
                await self._fill()
                with trio.CancelScope(deadline=min(self._pace.fill_at, self._tend_at, self._renewal.due)):
                    await self._changed.wait_value(True)
                self._changed.value = False
        finally:
            self._size = 0  # a session that ends later must not connect anything
            while self._drop_one():
                pass

    async def _fill(self) -> None:
        """Connect missing connections when it is time, one a turn of the loop, so that sessions run in between."""
        if not self._pace.begins(self._reactor.refresh()):
            return
        while self._missing > 0 and not self._pace.pausing:
            await trio.lowlevel.checkpoint()
            self._reactor.refresh()
            if self._missing > 0:
                self._connect()  # if this fails at once, so would the next
            if self._pace.impatient and self._missing > 0:
                self._pause()

    def _tend(self, now: float) -> None:
        """Probe idle connections, and close a part of those that have lived long enough."""
        if now >= self._tend_at:
            if self._idle.tend(now, max(1, self._size // 4)):
                self._pace.proved_patient()
                self._pace.soon(now)
            self._tend_at = self._idle.next_tending(now)

    def _keep(self, peers: set[bytes | None]) -> None:
        """Close the connections to addresses that the name does not have any more."""
        for idle in [each for each in self._idle if packed_ip(each.peer) not in peers]:
            self._idle.close(idle)
            self._pace.soon(self._reactor.now)
        self._changed.value = True

    async def _shrink(self) -> None:
        """Close surplus connections, a few at a time."""
        closed = 0
        while self._missing < 0 and self._drop_one():
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
            self._idle.close(self._idle.oldest)
        else:
            return False
        return True

    def _connect(self) -> None:
        refill = _Refill(self)
        self._refills.add(refill)
        try:
            if self._where is not None and (sock := connect_at_once(*self._where)) is not None:
                self.filled(refill, sock, readable=False)
            else:
                refill.attempt = self._connector.start(self._target, refill)
        except STOPS:
            raise
        except BaseException as fault:  # of a user's outbound, or the kernel has no memory left to watch a socket
            self._log.fault("outbound failed", fault, upstream=str(self._target.address))
            self.refused(refill, UpstreamError(Reason.FAULT, quote_fault(fault)))

    def filled(self, refill: _Refill, sock: socket.SocketType, readable: bool) -> None:
        """Add a connection that was made; one that :meth:`resize` made surplus is closed at once."""
        self._refills.discard(refill)
        if len(self._idle) >= self._size:
            self._reactor.forget(sock.fileno())
            sock.close()
            return
        now = self._reactor.now
        idle = Idle(sock, now, self._renewal.peer_of(sock), self._lost, readable=readable)
        self._idle.add(idle)
        if self._tend_at > now + SETTLED_SECONDS:  # so the worker wakes once a second at most
            self._tend_at = now + SETTLED_SECONDS
            self._changed.value = True
        if readable and not idle.alive():
            self._lost(idle)

    def refused(self, refill: _Refill, error: UpstreamError) -> None:
        """Note that a connection could not be made; a pause begins unless there is one."""
        self._refills.discard(refill)
        if self._pause():
            self._log.notice("preconnect failed", upstream=str(self._target.address), error=error.detail)

    def _lost(self, idle: Idle) -> None:
        """Close an idle connection that the upstream closed."""
        if self._idle.close(idle):
            self._note_lost(idle)

    def _note_lost(self, idle: Idle) -> None:
        now = self._reactor.now
        if self._pace.lost(now):
            self._log.notice(
                "preconnect: the upstream closes unused connections", upstream=str(self._target.address),
                after_seconds=round(now - idle.since, 1),
            )  # fmt: skip
        self._changed.value = True

    def _pause(self) -> bool:
        self._changed.value = True
        return self._pace.failed(self._reactor.now)
