"""The children of the parent: how one is forked, and what is known of it.

| a child | event | action | then |
| --- | --- | --- | --- |
| - | it is due | fork it with a column of its own | starting |
| starting | it is ready for an edge | the parent listens, and steers clients to it | ready |
| ready | its loop is silent for ``stall_seconds`` | leave it out of the steering | silent |
| silent | its loop runs again | steer clients to it | ready |
| starting | its loop is silent for ``START_SECONDS`` | log it | silent |
| silent | as long again | kill it | silent |
| ready, silent | a restart has its successor ready, or the parent drains | tell it to drain | draining |
| draining | it has not ended in time | kill it | draining |
| any | it dies | release its parts of the limits and its column | - |
"""

import contextlib
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs

from ..signals import STOP_SIGNALS
from ..workers.memory import SharedMemory
from ..workers.orders import Orders, order_pair
from ..workers.slots import CONTROL, ProcessState
from .restart import flush_prints, socket_of

START_SECONDS: Final = 60.0
"""How long the event loop of a child that starts may be silent: a stage may open large tables."""

SIGNALS: Final = (*STOP_SIGNALS, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)
"""The signals that the parent handles."""

PAUSE_SECONDS: Final = 1.0
"""Between two looks at the children: the parent was stopped, as a container is that is paused."""


@attrs.define(eq=False)
class Child:
    """A process that the parent has forked, in this image or before a restart.

    Attributes:
        pid: of the process.
        column: its row in the slots, and its column in the limits; None for one whose memory is another version's.
        number: of the worker; -1 for the control process.
        generation: how many restarts came before it.
        orders: to it, and from it.
        born: when it was forked, in seconds of the monotonic clock.
        ready: the edges whose clients it is ready to accept.
        silent: whether its event loop does not run.
        told: the last order to end, or an empty text.
        deadline: when it is killed if it has not ended.
        strange: whether it has sent a message that cannot be followed.
    """

    pid: int
    column: int | None
    number: int
    generation: int
    orders: Orders
    born: float
    ready: set[str] = attrs.field(factory=set)
    silent: bool = False
    told: str = ""
    deadline: float | None = None
    strange: bool = False

    @property
    def is_control(self) -> bool:
        """Whether it is the control process."""
        return self.number == CONTROL

    @property
    def accepts(self) -> bool:
        """Whether clients are to be steered to it."""
        return not self.silent and not self.told

    @property
    def title(self) -> str:
        """Name it for people."""
        return "control process" if self.is_control else f"worker {self.number}"


class Children:
    """All children that live."""

    def __init__(self, memory: SharedMemory, generation: int) -> None:
        """Start with none.

        Args:
            memory: has their slots and their parts of the limits.
            generation: of those that are forked from now on.
        """
        self._memory = memory
        self.generation = generation
        self._mends = False
        self._watched = self._awake_since = 0.0
        self.all: dict[int, Child] = {}

    def __len__(self) -> int:
        return len(self.all)

    def workers(self, *, old: bool | None = None) -> list[Child]:
        """Give the workers: all of them, those of former generations, or (``old=False``) those of this one."""
        return [
            child
            for child in self.all.values()
            if not child.is_control and old in (None, child.generation != self.generation)
        ]

    def controls(self, *, old: bool) -> list[Child]:
        """Give the control processes of former generations, or that of this one."""
        return [
            child for child in self.all.values() if child.is_control and (child.generation != self.generation) is old
        ]

    def fork(self, number: int, work: Callable[[Orders, int], int]) -> Child | None:
        """Fork a child, which calls `work` with its orders and its column, and ends with the exit code that it gives.

        Returns:
            The child; None while no column is free.

        Raises:
            OSError: the system has no process, or no descriptor, left.
        """
        now = time.monotonic()
        slots = self._memory.slots
        flush_prints()  # else each child has a copy of what waits
        orders, theirs = order_pair()
        column = slots.take(number, self.generation, now)
        try:
            pid = None if column is None else os.fork()
        except OSError:
            assert column is not None
            slots.free(column)
            orders.close()
            theirs.close()
            raise
        if column is None or pid is None:
            orders.close()
            theirs.close()
            return None
        if not pid:
            code = 1
            try:
                self._be_child(orders)
                code = work(Orders(theirs), column)
            except BaseException:
                traceback.print_exc()  # a mistake of the program itself: the child logs those of its own work
            finally:
                flush_prints()
                os._exit(code)
        theirs.close()
        slots.set_pid(column, pid)
        child = self.all[pid] = Child(pid, column, number, self.generation, orders, now)
        return child

    def _be_child(self, own: Orders) -> None:
        """Forget what is the parent's: the ends of its orders, which would hide its death, and its signals.

        Until the child handles signals it ignores those that end it: the parent's orders reach it anyway.
        """
        os.environ.pop("NOTIFY_SOCKET", None)  # the service manager hears of the parent only
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.SIG_IGN)
        own.sock.close()
        for child in self.all.values():
            child.orders.sock.close()
        self.all.clear()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def passed(self) -> list[dict[str, Any]]:
        """Describe them for the next image of the parent."""
        return [
            {
                "pid": child.pid, "column": child.column, "number": child.number, "generation": child.generation,
                "born": child.born, "ready": sorted(child.ready), "told": child.told, "deadline": child.deadline,
                "orders": child.orders.sock.fileno(),
            }
            for child in self.all.values()
        ]  # fmt: skip

    def adopt(self, passed: Iterable[dict[str, Any]], *, with_columns: bool) -> None:
        """Have the children of the former image.

        Args:
            passed: as :meth:`passed` has described them.
            with_columns: whether their columns are in the memory of this image.
        """
        for each in passed:
            found = {**each, "orders": Orders(socket_of(each["orders"])), "ready": set(each["ready"])}
            if not with_columns:
                found["column"] = None
            self.all[each["pid"]] = Child(**found)

    def died(self, pid: int) -> Child | None:
        """Release what a dead child had, and give it; None for a process that is no child of this table."""
        child = self.all.pop(pid, None)
        if child is not None:
            child.orders.close()
            if child.column is not None:
                self._memory.limits.release(child.column)
                self._mends = True
                self._memory.slots.free(child.column)
        return child

    def signal(self, child: Child, number: int) -> None:
        """Send a signal to a child, if it lives."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, number)

    def watch(self, now: float, stall_seconds: float, log: Any) -> set[int]:
        """Note which children are silent, and kill those that stay silent; call it each 0.1 s.

        After a pause of the parent itself, in which its children may have been stopped too, they get their time anew.

        Returns:
            The numbers of those of this generation that are ready.
        """
        if now - self._watched > PAUSE_SECONDS:
            self._awake_since = now
        self._watched = now
        ready = set()
        for child in self.all.values():
            if child.column is None:
                continue
            row = self._memory.slots.row(child.column)
            if row.state is ProcessState.READY and child.generation == self.generation:
                ready.add(child.number)
            silence = now - max(row.beat, self._awake_since)
            limit = max(stall_seconds, START_SECONDS) if row.state is ProcessState.STARTING else stall_seconds
            was, child.silent = child.silent, silence > limit
            if child.silent and not was:
                log.error("event loop is blocked", child=child.title, pid=child.pid, seconds=round(silence, 1))
            elif was and not child.silent:
                log.warning("event loop runs again", child=child.title, pid=child.pid)
            if child.silent and silence > 2 * limit:
                log.error("child is killed: its event loop is blocked", child=child.title, pid=child.pid)
                self.signal(child, signal.SIGKILL)
        return ready

    def ready_workers(self) -> list[Child]:
        """Give the workers that have started, and have not been told to end."""
        return [child for child in self.workers() if not child.told and self.is_ready(child)]

    def live(self) -> int:
        """Count the live sessions of all workers, as they noted them last."""
        return sum(self._memory.slots.row(each.column).live for each in self.all.values() if each.column is not None)

    def repair(self) -> None:
        """Free the locks of the limits that dead children have left; call it again and again."""
        self._mends = self._mends and not self._memory.limits.repair()

    def is_ready(self, child: Child) -> bool:
        """Whether a child has started."""
        return child.column is None or self._memory.slots.row(child.column).state is not ProcessState.STARTING
