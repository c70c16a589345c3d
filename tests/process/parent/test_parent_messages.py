"""A parent whose children are small functions: what they say, and how they end, never ends it."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator

import pytest

import trioedge as te
from tests.support.parents import FakeLog
from trioedge.process.exit_code import ExitCode
from trioedge.process.parent.inheritance import Inheritance
from trioedge.process.parent.parent import Parent
from trioedge.process.workers.slots import ProcessState

Work = Callable[[Inheritance], None]


class LineLog(FakeLog):
    """Writes its lines to a pipe."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self.fd = fd

    def _say(self, event: str, **facts: object) -> None:
        os.write(self.fd, f"{event} {facts}\n".encode())

    info = warning = error = critical = _say


def child(work: Work) -> Callable[[Inheritance], int]:
    """Be ready, do the work, then wait for the order to end."""

    def be(found: Inheritance) -> int:
        found.memory.slots.set_state(found.column, ProcessState.READY)
        work(found)
        while True:
            found.memory.slots.beat(found.column, time.monotonic(), 0)
            found.orders.flush()
            for message, _ in found.orders.receive():
                if message["do"] in ("drain", "end") and "edge" not in message:
                    return 0
            if found.orders.over:
                return 9
            time.sleep(0.01)

    return be


def idle(_: Inheritance) -> None:
    """Do nothing."""


def edge() -> te.Edge:
    return te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://127.0.0.1:1"))


class Run:
    """A parent in a process of its own."""

    def __init__(self, worker: Work = idle, control: Work = idle, edges: dict[str, te.Edge] | None = None) -> None:
        self._lines, theirs = os.pipe()
        self.said = ""
        self.pid = os.fork()
        if not self.pid:
            try:
                parent = Parent(
                    edges or {"a": edge()}, 2, stall_seconds=60, be_worker=child(worker), be_control=child(control),
                    log=LineLog(theirs),
                )  # fmt: skip
                os._exit(parent.run())
            finally:
                os._exit(99)
        os.close(theirs)

    def says(self, text: str) -> str:
        """Wait for a line."""
        while True:
            for line in self.said.splitlines():
                if text in line:
                    return line
            chunk = os.read(self._lines, 4096)
            assert chunk, self.said
            self.said += chunk.decode()

    def ends(self, number: int = signal.SIGTERM) -> int:
        os.kill(self.pid, number)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        while chunk := os.read(self._lines, 4096):
            self.said += chunk.decode()
        os.close(self._lines)
        return code


@pytest.fixture(autouse=True)
def _time_limit() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it takes too long"))
    signal.alarm(15)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def say(found: Inheritance, *messages: bytes) -> None:
    for each in messages:
        found.orders.sock.setblocking(True)
        found.orders.sock.send(each)
    found.orders.sock.setblocking(False)


NONSENSE = (
    b"nonsense", b"[]", b"{}", b"[" * 4000, b'{"say": 7}', b'{"say": "ready"}', b'{"say": "ready", "edge": ["a"]}',
    b'{"say": "ready", "edge": "none"}', b'{"say": "forget", "edge": "a", "address": "nowhere"}',
    b'{"say": "keep", "edge": "a", "address": "tcp://127.0.0.1:1"}', b'{"say": "end", "edge": "none"}',
    b'{"say": "end", "edge": "none", "seconds": "x"}', b'{"say": "level"}', b"x" * 9000,
)  # fmt: skip


def test_messages_that_cannot_be_followed_are_dropped_and_told_once_for_each_child() -> None:
    def worker(found: Inheritance) -> None:
        if found.number == 0:
            say(found, *NONSENSE)
            with socket.socket() as sock:
                found.orders.send({"say": "keep", "edge": "a", "address": "nowhere"}, sock.fileno())
            found.orders.send({"say": "end", "edge": "a", "seconds": None})

    run = Run(worker)
    run.says("draining")  # it has followed the last message
    assert run.ends() == ExitCode.DRAINED
    assert run.said.count("message of a child cannot be followed") == 1
    assert "child died" not in run.said


def test_a_child_that_floods_its_parent_holds_up_no_stop() -> None:
    def worker(found: Inheritance) -> None:
        while found.number == 0:
            say(found, b'{"say": "ready", "edge": "none"}')
            if any(message["do"] == "drain" for message, _ in found.orders.receive()):
                os._exit(0)

    run = Run(worker)
    time.sleep(0.2)
    assert run.ends() == ExitCode.DRAINED


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGRTMIN + 5])
def test_a_child_that_any_signal_ends_is_replaced(number: int) -> None:
    def worker(found: Inheritance) -> None:
        if found.number == 0 and found.column == 1:
            found.orders.send({"say": "level", "level": "debug"})
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    run = Run(worker)
    assert "worker 0" in run.says("child died, and is replaced")
    assert run.ends() == ExitCode.DRAINED


def test_the_last_words_of_a_child_are_heard() -> None:
    def control(found: Inheritance) -> None:
        found.orders.send({"say": "end", "edge": "a", "seconds": 30})
        os.kill(os.getpid(), signal.SIGKILL)

    run = Run(control=control)
    assert "'seconds': 30" in run.says("draining")
    assert os.waitstatus_to_exitcode(os.waitpid(run.pid, 0)[1]) in (ExitCode.DRAINED, ExitCode.FAULT)


def test_a_successor_does_not_serve_an_edge_that_an_operator_has_ended() -> None:
    edges = {"a": edge(), "b": edge()}

    def worker(found: Inheritance) -> None:
        os.write(lines, f"{found.number}: {sorted(found.listening.for_worker(found.number, found.orders))}\n".encode())

    def control(found: Inheritance) -> None:
        time.sleep(0.3)
        found.orders.send({"say": "end", "edge": "a", "seconds": None})
        with socket.socket() as sock:  # a listener that comes too late
            found.orders.send({"say": "keep", "edge": "a", "address": "tcp://127.0.0.1:7001"}, sock.fileno())
        time.sleep(0.3)
        os.kill({row.number: row.pid for row in found.memory.slots.rows()}[0], signal.SIGKILL)

    reading, lines = os.pipe()
    run = Run(worker, control, edges)
    run.says("child died, and is replaced")
    said = ""
    while said.count("0:") < 2:
        said += os.read(reading, 4096).decode()
    assert sorted(said.splitlines()) == ["0: ['a', 'b']", "0: ['b']", "1: ['a', 'b']"]
    assert run.ends() == ExitCode.DRAINED
    os.close(reading)
    os.close(lines)
