"""An event loop within a Trio task: plain sockets are served by callbacks, without a task or a cancel scope each.

Trio waits for an epoll object, and the reactor then handles all sockets that are ready behind it. A socket is
registered once, edge-triggered: its owner reads and writes until the kernel refuses, or asks to be called again. Most
sockets always take what they are given, so a relay's sockets are registered for reading, and for writing too once a
write was refused.

Events are hints. A file descriptor that is closed and reused within one batch can get an event that was meant for its
former owner, so an owner relies only on the results of its own system calls.

| event | callback |
| --- | --- |
| a registered socket is ready | `on_ready`, once for each change; for a listener once a batch while a client waits |
| :meth:`Reactor.again` was called | `resume`, once, after the sockets of the current batch |
| a deadline has passed | `expire`, once |
| one of these raised | `crashed`, of the same object; if that raises too, it is logged and dropped |
"""

import select
from collections import deque
from collections.abc import Callable
from math import inf
from os import sched_yield
from time import perf_counter
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import trio

from ..structures.deadlines import NEVER, Deadlines
from ..telemetry.log import STOPS, EdgeLog

if TYPE_CHECKING:
    from .parting import Parting

BUFFER_BYTES: Final = 65536
"""The most bytes of one read, and so the longest backlog of one direction of a session."""

TURN_SECONDS: Final = 0.001
"""How long the reactor works before every other task runs once."""

BATCH_EVENTS: Final = 64
"""The most events, and the most callbacks to resume, in one batch."""

LONG_YIELD_SECONDS: Final = 0.002
"""A process that keeps the processor for longer has work of its own, and is no peer that answers."""

YIELDS_FORGONE: Final = 200
"""Parks without `sched_yield` after one took longer than `LONG_YIELD_SECONDS`."""

RETRY_SECONDS: Final = 0.01
"""The pause when the kernel has no memory left to wait for sockets; then the reactor looks whether any is ready."""

TICK_SECONDS: Final = 0.05
"""The resolution of deadlines: they expire at most so late."""

READABLE: Final = select.EPOLLIN
WRITABLE: Final = select.EPOLLOUT
FAILED: Final = select.EPOLLERR
HUNG_UP: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
READ_ON: Final = HUNG_UP | select.EPOLLPRI
"""After these events a short read does not prove an empty socket: read on."""
_READER: Final = READABLE | select.EPOLLRDHUP | select.EPOLLPRI | select.EPOLLET
_SOCKET: Final = _READER | WRITABLE

Events: TypeAlias = list[tuple[int, int]]
"""File descriptors, each with the mask of what it is ready for."""

_NO_EVENTS: Final[Events] = []


class Ready(Protocol):
    """The owner of a registered socket."""

    def on_ready(self, fd: int, mask: int, /) -> None:
        """Read and write until the kernel refuses, or call :meth:`Reactor.again`. Must not wait."""

    def crashed(self, fault: BaseException, /) -> None:
        """Close everything: `on_ready`, `resume` or `expire` raised an exception."""


class Resumable(Protocol):
    """An object that asked to be called again."""

    def resume(self) -> None:
        """Continue. Must not wait."""

    def crashed(self, fault: BaseException, /) -> None:
        """Close everything: a callback raised an exception."""


class Expiring(Protocol):
    """An object that has a deadline."""

    def expire(self, now: float, /) -> None:
        """Handle the deadline, which has passed and is not set any more. Must not wait."""

    def crashed(self, fault: BaseException, /) -> None:
        """Close everything: a callback raised an exception."""


class Reactor:
    """The event loop, its deadlines and its read buffer. Belongs to one Trio run and one thread.

    Attributes:
        now: the time of the current batch, in seconds of Trio's clock. A caller outside of a callback must call
            :meth:`refresh` first.
        batch: how many sockets are ready in the current batch of events.
        buffer: the memory that all reads share. A callback must use up or copy what it read before it returns.
        clock: gives the present time, and leaves `now` as it is.
        starting: tasks of sessions that callbacks have started and that have not run yet; their owner counts them.
        parting: the sockets that are being closed in order, the first one first; see :mod:`.parting`.
    """

    __slots__ = ("_again", "_deadlines", "_due", "_epoll", "_log", "_ready", "_timer", "batch", "buffer", "clock",
                 "now", "parting", "starting")  # fmt: skip

    def __init__(self, log: EdgeLog) -> None:
        """Open the epoll object; only within a Trio run.

        Args:
            log: logs the exceptions that callbacks raise.
        """
        self._log = log
        self.clock: Callable[[], float] = trio.lowlevel.current_clock().current_time
        self._epoll = select.epoll()
        # `_ready` has the owner of every registered descriptor. `_again` is in the order of the calls; an object may be
        # in it twice. `_timer` is due at `_due`, no later than the earliest of the `_deadlines`.
        self._ready: dict[int, Ready] = {}
        self._again: deque[Resumable] = deque()
        self._deadlines: Deadlines[Expiring] = Deadlines(TICK_SECONDS)
        self._timer = trio.CancelScope()
        self._due = inf
        self.now = self.clock()
        self.batch = self.starting = 0
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        self.parting: dict[Parting, None] = {}

    def __len__(self) -> int:
        """Registered file descriptors."""
        return len(self._ready)

    def __contains__(self, fd: int) -> bool:
        """Tell whether a file descriptor is registered."""
        return fd in self._ready

    def refresh(self) -> float:
        """Set `now` to the current time and return it."""
        self.now = self.clock()
        return self.now

    def add(self, fd: int, ready: Ready) -> None:
        """Register a non-blocking socket, edge-triggered. If it is ready already, the next batch says so."""
        self._epoll.register(fd, _SOCKET)
        self._ready[fd] = ready

    def add_reader(self, fd: int, ready: Ready) -> None:
        """Register a socket as :meth:`add` does, but report only what it gives, until :meth:`repeat` is called."""
        self._epoll.register(fd, _READER)
        self._ready[fd] = ready

    def add_listener(self, fd: int, ready: Ready) -> None:
        """Register a listening socket, level-triggered, so that its owner may stop to accept early."""
        self._epoll.register(fd, READABLE)
        self._ready[fd] = ready

    def hand_over(self, fd: int, ready: Ready) -> None:
        """Give a registered socket another owner. Costs no system call; events that have passed are not repeated."""
        self._ready[fd] = ready

    def repeat(self, fd: int) -> None:
        """Have the next batch report again what a registered socket gives and takes; also wakes the reactor.

        From now on it is also reported when it takes bytes again.
        """
        self._epoll.modify(fd, _SOCKET)

    def forget(self, fd: int) -> None:
        """Unregister a socket that the caller closes next; the close removes it from the epoll object."""
        self._ready.pop(fd, None)

    def remove(self, fd: int) -> None:
        """Unregister a socket that stays open; does nothing if it is not registered."""
        if self._ready.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def again(self, resumable: Resumable) -> None:
        """Call ``resume()`` once, behind this batch; only from a callback: a task wakes it by :meth:`repeat`."""
        self._again.append(resumable)

    def set_deadline(self, item: Expiring, due: float) -> int:
        """Set a deadline: call ``item.expire(now)`` once, at `due` or up to 0.05 s later.

        Args:
            item: has ``expire(now)``, which must not wait, and ``crashed(fault)``, for an exception of that one.
            due: the time in seconds of the edge's clock, as ``session.now`` and :meth:`refresh` give it.

        Returns:
            The tick that :meth:`drop_deadline` needs.
        """
        tick = self._deadlines.add(item, due)
        if due < self._due and tick != NEVER:
            self._due = self._timer.deadline = due
        return tick

    def drop_deadline(self, item: Expiring, tick: int) -> None:
        """Cancel a deadline; does nothing if it has expired.

        Args:
            item: the object whose deadline it is.
            tick: the result of :meth:`set_deadline`.
        """
        self._deadlines.discard(item, tick)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, then close the epoll object and the sockets that are parting; no other socket."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._expire)
                task_status.started()
                await self._serve()
        finally:
            for each in tuple(self.parting):  # which have no other owner
                each.close()
            self._epoll.close()
            self._ready.clear()  # an owner that is ended after this still removes its socket

    async def _serve(self) -> None:
        poll, clock, epoll_fd, ready = self._epoll.poll, self.clock, self._epoll.fileno(), self._ready
        forgone, left = 0, _NO_EVENTS
        while True:
            try:
                await trio.lowlevel.wait_readable(epoll_fd)
            except OSError as error:  # Trio's own epoll object has no room for ours
                self._log.notice("reactor cannot wait for sockets: it looks again soon", error=error.strerror)
                await trio.sleep(RETRY_SECONDS)
            turn_ends = clock() + TURN_SECONDS
            while True:
                # Peers on this machine answer while the reactor works, so poll again before it parks in Trio. If no
                # socket is ready, yield the processor to a peer on this core, and poll once more: this saves half of a
                # round trip (docs/explanation/performance.md). Tasks that start bring it sockets: they run first.
                events = left or poll(0, BATCH_EVENTS)
                if not events and not self._again and not self.starting:
                    if forgone:
                        forgone -= 1
                        break
                    before = perf_counter()
                    sched_yield()
                    if perf_counter() - before > LONG_YIELD_SECONDS:
                        forgone = YIELDS_FORGONE
                    events = poll(0, BATCH_EVENTS)
                    if not events:
                        break
                self.now = now = clock()
                self.batch = len(events)
                if self.batch == 1:
                    fd, mask = events[0]
                    owner = ready.get(fd)
                    if owner is not None:
                        try:
                            owner.on_ready(fd, mask)
                        except STOPS:
                            raise
                        except BaseException as fault:
                            _give_up(self._log, owner, fault)
                    left = _NO_EVENTS
                else:
                    left = self._dispatch(events, turn_ends)
                if self._again:
                    self._resume(turn_ends)
                    now = clock()
                if left or now >= turn_ends or (self.starting and not events):
                    await trio.lowlevel.checkpoint()
                    turn_ends = clock() + TURN_SECONDS

    def _dispatch(self, events: Events, turn_ends: float) -> Events:
        """Call the owners of ready sockets, and return the events that the turn had no time for."""
        ready = self._ready
        for number, (fd, mask) in enumerate(events, 1):
            owner = ready.get(fd)
            if owner is not None:
                try:
                    owner.on_ready(fd, mask)
                except STOPS:
                    raise
                except BaseException as fault:
                    _give_up(self._log, owner, fault)
            if number < len(events) and self.clock() >= turn_ends:
                return events[number:]
        return _NO_EVENTS

    def _resume(self, turn_ends: float) -> None:
        again = self._again
        for _ in range(min(len(again), BATCH_EVENTS)):
            resumable = again.popleft()
            try:
                resumable.resume()
            except STOPS:
                raise
            except BaseException as fault:
                _give_up(self._log, resumable, fault)
            if again and self.clock() >= turn_ends:
                return

    async def _expire(self) -> None:
        while True:
            self._due = self._deadlines.next_due()
            with trio.CancelScope(deadline=self._due) as self._timer:
                await trio.sleep_forever()
            self._due = inf
            turn_ends = self.refresh() + TURN_SECONDS
            while (item := self._deadlines.take(self.now)) is not None:
                try:
                    item.expire(self.now)
                except STOPS:
                    raise
                except BaseException as fault:
                    _give_up(self._log, item, fault)
                if self.refresh() >= turn_ends:
                    await trio.lowlevel.checkpoint()
                    turn_ends = self.refresh() + TURN_SECONDS


def _give_up(log: EdgeLog, owner: Ready | Resumable | Expiring, fault: BaseException) -> None:
    """Log an exception of a callback and have its object end itself; no exception of these comes out."""
    try:
        try:
            log.fault("reactor: a callback failed", fault)
        finally:
            owner.crashed(fault)
    except STOPS:
        raise
    except BaseException as second:
        _give_in(log, second)


def _give_in(log: EdgeLog, fault: BaseException) -> None:
    """Log that the log or the end of an object failed; if that fails too, there is nothing left to do."""
    try:
        log.fault("reactor: an object cannot be ended", fault)
    except STOPS:
        raise
    except BaseException:
        return
