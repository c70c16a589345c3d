"""The parent of workers in parts: a memory, children that are no processes, a log that keeps its lines."""

import itertools
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import trio

import trioedge as te
from trioedge.process.parent.children import Child, Children
from trioedge.process.parent.inheritance import Inheritance
from trioedge.process.parent.listening import ParentListening, hub_socket
from trioedge.process.workers.memory import SharedMemory, shared_memory
from trioedge.process.workers.orders import Orders, order_pair
from trioedge.process.workers.slots import CONTROL, ProcessState

_PIDS = itertools.count(10**7)  # beyond the kernel's


class FakeLog:
    """Keeps events and facts."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def _say(self, event: str, **facts: Any) -> None:
        self.lines.append((event, facts))

    info = warning = error = critical = _say

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.lines]


class FakeChildren(Children):
    """Children that are no processes; the test has their ends of the orders, and sees the signals that they get."""

    def __init__(self, memory: SharedMemory, generation: int = 0) -> None:
        super().__init__(memory, generation)
        self.memory = memory
        self.ends: dict[int, Orders] = {}
        self.signals: list[tuple[int, int]] = []

    def add(self, number: int, generation: int = 0, *, state: ProcessState = ProcessState.READY) -> Child:
        """Add a child."""
        pid = next(_PIDS)
        column = self.memory.slots.take(number, generation, 0.0)
        assert column is not None
        self.memory.slots.set_state(column, state)
        ours, theirs = order_pair()
        self.ends[pid] = Orders(theirs)
        child = self.all[pid] = Child(pid, column, number, generation, ours, 0.0)
        return child

    def told(self, child: Child) -> list[dict[str, Any]]:
        """The orders that a child has got since the last call."""
        return [dict(message) for message, _ in self.ends[child.pid].receive()]

    def signal(self, child: Child, number: int) -> None:
        self.signals.append((child.pid, number))

    def beat(self, child: Child, now: float, live: int = 0) -> None:
        """Have a child's event loop run."""
        assert child.column is not None
        self.memory.slots.beat(child.column, now, live)


@contextmanager
def fake_children(workers: int = 2, generation: int = 0) -> Iterator[FakeChildren]:
    """A control process and workers that are ready, in this generation."""
    memory, _ = shared_memory(None, workers)
    children = FakeChildren(memory, generation)
    for number in range(CONTROL, workers):
        children.add(number, generation)
    try:
        yield children
    finally:
        for child in children.all.values():
            child.orders.close()
        for end in children.ends.values():
            end.close()
        os.close(memory.fd)


def in_fork(work: Callable[[], object]) -> int:
    """Call a function in a fork, and give the exit code: 0 unless it raises."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Inherited:
    """What children of a parent have, with the parent's end of their orders; the test is the parent."""

    def __init__(self, edges: Mapping[str, te.Edge], workers: int = 2) -> None:
        self.memory, _ = shared_memory(None, workers)
        self.workers = workers
        self.listening = ParentListening(edges, workers, self.memory.steering_salt, FakeLog())
        self.listening.bind([], [])
        self.hub = hub_socket()
        self._orders: list[Orders] = []

    def child(self, number: int) -> tuple[Inheritance, Orders]:
        """Give what a child has, and the parent's end of its orders."""
        column = self.memory.slots.take(number, 0, 0.0)
        assert column is not None
        parent, theirs = order_pair()
        self._orders += parent, Orders(theirs)
        found = Inheritance(
            number, self.workers, column, 0, self.memory, self._orders[-1], self.listening, self.hub, b"s" * 32, 5.0
        )
        return found, parent

    def close(self) -> None:
        for each in self._orders:
            each.close()
        self.listening.close()
        self.listening.close_admins()
        self.hub.close()
        os.close(self.memory.fd)


@contextmanager
def inherited(edges: Mapping[str, te.Edge], workers: int = 2) -> Iterator[Inherited]:
    """Be the parent of children in this process, whose signals come back at the end."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    found = Inherited(edges, workers)
    try:
        yield found
    finally:
        found.close()
        for number, handler in before.items():
            signal.signal(number, handler)


async def said(orders: Orders, say: str) -> dict[str, Any]:
    """Wait for a message of a child."""
    while True:
        for message, fd in orders.receive():
            if fd is not None:
                os.close(fd)
            if message["say"] == say:
                return dict(message)
        assert not orders.over, f"it ended, and did not say {say!r}"
        await trio.sleep(0.005)
