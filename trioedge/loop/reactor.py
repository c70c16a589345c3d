"""One task over an epoll of its own: plain sockets are served by callbacks, without a task or a scope each.

Trio waits for the epoll object itself; everything ready behind it is then handled in one go. Registration is
edge-triggered for reading and writing at once, so a socket costs one `epoll_ctl` in its life: whoever handles
it reads and writes until the kernel says no, or asks to be called again.

Events are hints. A file descriptor closed and reused within one batch can get an event that was meant for its
former owner, so a handler believes only what its own system calls answer.
"""

import select
from collections import deque
from collections.abc import Callable
from math import inf
from os import sched_yield
from time import perf_counter
from typing import Final, Protocol, TypeAlias

import trio

from ..structures.deadlines import Deadlines
from ..telemetry.observer import Observer

BUFFER_BYTES: Final = 65536
"""The most one read takes, and so the most a direction can hold back when its reader is slow."""

TURN_SECONDS: Final = 0.001
"""How long the reactor works before it lets every other task run once."""

BATCH_EVENTS: Final = 64
"""Events taken, and callbacks resumed, at a time."""

LONG_YIELD_SECONDS: Final = 0.002
"""Whoever was yielded to for longer is no peer that answers, but has work of its own on this core."""

YIELDS_FORGONE: Final = 200
"""How many times the reactor then parks without yielding, before it tries again."""

TICK_SECONDS: Final = 0.05
"""Deadlines fire at most this late."""

READABLE: Final = select.EPOLLIN
WRITABLE: Final = select.EPOLLOUT
FAILED: Final = select.EPOLLERR
HUNG_UP: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
READ_ON: Final = HUNG_UP | select.EPOLLPRI
"""A short read no longer means an empty socket: its end, or a mark of urgent data, lies behind it."""
_SOCKET: Final = READABLE | WRITABLE | select.EPOLLRDHUP | select.EPOLLPRI | select.EPOLLET


Events: TypeAlias = list[tuple[int, int]]
"""File descriptors, and what each is ready for."""


class Ready(Protocol):
    """What is registered: told when its file descriptor may be read or written."""

    def on_ready(self, fd: int, mask: int, /) -> None:
        """Do all there is to do, or ask for :meth:`Reactor.again`. Must not wait."""

    def crashed(self, fault: Exception, /) -> None:
        """Give up: `on_ready`, `resume` or `expire` raised what nobody expected."""


class Resumable(Protocol):
    """What asked to be called again."""

    def resume(self) -> None:
        """Go on."""

    def crashed(self, fault: Exception, /) -> None:
        """Give up: something raised what nobody expected."""


class Expiring(Protocol):
    """What has a deadline."""

    def expire(self, now: float, /) -> None:
        """The deadline has passed; it is no longer set."""

    def crashed(self, fault: Exception, /) -> None:
        """Give up: something raised what nobody expected."""


class Reactor:
    """The loop, its deadlines and its one read buffer. Belongs to one trio run and one thread.

    Attributes:
        now: the time of the current batch, in seconds of trio's clock. Whoever calls from a task, and not from
            the reactor, calls :meth:`refresh` first.
        buffer: what every read of plain sockets goes into; empty again before the next one.
    """

    __slots__ = ("_again", "_clock", "_deadlines", "_epoll", "_observer", "_ready", "_timer", "buffer", "now")

    def __init__(self, observer: Observer) -> None:
        """Open the epoll object; only within a trio run.

        Args:
            observer: told of exceptions that nobody expected.
        """
        self._observer = observer
        self._clock: Callable[[], float] = trio.lowlevel.current_clock().current_time
        self._epoll = select.epoll()
        self._ready: dict[int, Ready] = {}
        self._again: deque[Resumable] = deque()
        self._deadlines: Deadlines[Expiring] = Deadlines(TICK_SECONDS)
        self._timer = trio.CancelScope()
        self.now = self._clock()
        self.buffer = memoryview(bytearray(BUFFER_BYTES))

    def __len__(self) -> int:
        """File descriptors registered."""
        return len(self._ready)

    def refresh(self) -> float:
        """Bring `now` up to date and give it."""
        self.now = self._clock()
        return self.now

    def add(self, fd: int, ready: Ready) -> None:
        """Register a non-blocking socket, edge-triggered; what is ready already is reported in the next batch."""
        self._epoll.register(fd, _SOCKET)
        self._ready[fd] = ready

    def add_listener(self, fd: int, ready: Ready) -> None:
        """Register a listening socket, level-triggered, so that an accept loop may stop early."""
        self._epoll.register(fd, READABLE)
        self._ready[fd] = ready

    def hand_over(self, fd: int, ready: Ready) -> None:
        """Give a registered socket another owner; no system call, and no event is repeated for it."""
        self._ready[fd] = ready

    def repeat(self, fd: int) -> None:
        """Report once more, in the next batch, what a registered socket is ready for; for those who looked away."""
        self._epoll.modify(fd, _SOCKET)

    def forget(self, fd: int) -> None:
        """Drop a socket that is about to be closed: closing takes it out of the epoll object."""
        self._ready.pop(fd, None)

    def remove(self, fd: int) -> None:
        """Drop a socket that stays open."""
        if self._ready.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def again(self, resumable: Resumable) -> None:
        """Call `resumable.resume()` once, after everybody else who is ready had a turn.

        For whoever was called by the reactor: nobody is woken. Others :meth:`repeat`.
        """
        self._again.append(resumable)

    def set_deadline(self, item: Expiring, due: float) -> int:
        """Call `item.expire()` once `due` has come; the answer is for :meth:`drop_deadline`."""
        if due < self._timer.deadline:
            self._timer.deadline = due
        return self._deadlines.add(item, due)

    def drop_deadline(self, item: Expiring, tick: int) -> None:
        """Do not, after all."""
        self._deadlines.discard(item, tick)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Whoever registered sockets closes them; the epoll object is closed here."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._expire)
                task_status.started()
                await self._serve()
        finally:
            self._epoll.close()

    async def _serve(self) -> None:
        poll, clock, epoll_fd = self._epoll.poll, self._clock, self._epoll.fileno()
        forgone = 0
        left: Events = []
        while True:
            await trio.lowlevel.wait_readable(epoll_fd)
            turn_ends = clock() + TURN_SECONDS
            while True:
                # Peers on this machine answer while we work, so look again before paying for a park in Trio; and
                # if nothing is there, let a peer on this core have it for a moment and look once more. Measured:
                # half of a round trip, a fifth of a session (docs/explanation/performance.md).
                events = left or poll(0, BATCH_EVENTS)
                if not events and not self._again:
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
                left = self._dispatch(events, turn_ends)
                if self._again:
                    self._resume(turn_ends)
                    now = clock()
                if left or now >= turn_ends:
                    await trio.lowlevel.checkpoint()
                    turn_ends = clock() + TURN_SECONDS

    def _dispatch(self, events: Events, turn_ends: float) -> Events:
        """Tell owners of their events, and give those that there was no time for: one may take half a turn."""
        ready = self._ready
        for number, (fd, mask) in enumerate(events, 1):
            owner = ready.get(fd)
            if owner is not None:
                try:
                    owner.on_ready(fd, mask)
                except Exception as fault:
                    self._give_up(owner, fault)
            if number < len(events) and self._clock() >= turn_ends:
                return events[number:]
        return []

    def _resume(self, turn_ends: float) -> None:
        again = self._again
        for _ in range(min(len(again), BATCH_EVENTS)):
            resumable = again.popleft()
            try:
                resumable.resume()
            except Exception as fault:
                self._give_up(resumable, fault)
            if again and self._clock() >= turn_ends:
                return

    async def _expire(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._deadlines.next_due()) as self._timer:
                await trio.sleep_forever()
            self._timer.deadline = inf
            turn_ends = self.refresh() + TURN_SECONDS
            while (item := self._deadlines.take(self.now)) is not None:
                try:
                    item.expire(self.now)
                except Exception as fault:
                    self._give_up(item, fault)
                if self.refresh() >= turn_ends:
                    await trio.lowlevel.checkpoint()
                    turn_ends = self.refresh() + TURN_SECONDS

    def _give_up(self, owner: Ready | Resumable | Expiring, fault: Exception) -> None:
        self._observer.fault("reactor: a callback failed", fault)
        owner.crashed(fault)
