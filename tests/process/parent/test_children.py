import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.open_files import open_files
from tests.support.parents import FakeChildren, FakeLog, fake_children
from trioedge.process.parent import children as module
from trioedge.process.parent.children import Child, Children
from trioedge.process.workers.memory import shared_memory
from trioedge.process.workers.orders import Orders
from trioedge.process.workers.slots import CONTROL, ProcessState


@pytest.fixture
def children() -> Iterator[Children]:
    memory, _ = shared_memory(None, 2)
    yield Children(memory, 3)
    os.close(memory.fd)


@pytest.fixture
def fakes() -> Iterator[FakeChildren]:
    with fake_children() as found:
        yield found


def ended(child: Child) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])


def test_a_child_has_a_column_and_orders_and_ends_with_the_code_of_its_work(children: Children) -> None:
    def work(orders: Orders, column: int) -> int:
        orders.send({"say": "ready", "edge": str(column)})
        return 4

    child = children.fork(1, work)
    assert child is not None
    assert ended(child) == 4
    assert child.orders.receive() == [({"say": "ready", "edge": "0"}, None)]
    assert (child.number, child.generation, child.title) == (1, 3, "worker 1")
    assert children.workers() == [child]
    assert children.died(child.pid) is child
    assert len(children) == 0
    assert children.died(child.pid) is None


def test_a_child_has_no_signals_orders_and_service_manager_of_its_parent(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")

    def wait(orders: Orders, _: int) -> int:
        orders.sock.setblocking(True)
        return 0 if orders.sock.recv(1) == b"" else 1

    sibling = children.fork(CONTROL, wait)
    assert sibling is not None

    def look(_: Orders, __: int) -> int:
        ignores = all(signal.getsignal(each) is signal.SIG_IGN for each in (signal.SIGTERM, signal.SIGUSR2))
        closed = sibling.orders.sock.fileno() == -1
        return 0 if ignores and closed and "NOTIFY_SOCKET" not in os.environ and not len(children) else 1

    child = children.fork(0, look)
    assert child is not None
    assert ended(child) == 0
    children.died(sibling.pid)  # closes the orders, so it sees the end
    assert ended(sibling) == 0
    children.died(child.pid)


def test_work_that_raises_is_an_exit_code_of_one(children: Children, capfd: pytest.CaptureFixture[str]) -> None:
    child = children.fork(0, lambda *_: 1 // 0)
    assert child is not None
    assert ended(child) == 1
    assert "ZeroDivisionError" in capfd.readouterr().err
    children.died(child.pid)


def test_lines_that_are_printed_on_both_sides_of_a_fork_are_written_once(
    children: Children, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def work(_: Orders, __: int) -> int:
        print("child")
        return 0

    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)  # a file, in which lines wait
        print("parent")
        child = children.fork(0, work)
        assert child is not None
        assert ended(child) == 0
    assert (tmp_path / "out").read_text() == "parent\nchild\n"
    children.died(child.pid)


@pytest.mark.parametrize("broken", ["os.fork", "order_pair"])
def test_a_fork_that_fails_leaks_neither_a_column_nor_a_descriptor(
    children: Children, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail() -> None:
        raise OSError(11, "Resource temporarily unavailable")

    before = open_files()
    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fork") if broken == "os.fork" else (module, "order_pair")), fail)
        for _ in range(20):  # there are 8 columns
            with pytest.raises(OSError, match="temporarily"):
                children.fork(0, lambda *_: 0)
    assert open_files() == before
    child = children.fork(0, lambda *_: 0)
    assert child is not None
    ended(child)
    children.died(child.pid)


def test_a_child_waits_for_its_fork_while_no_column_is_free(fakes: FakeChildren) -> None:
    old = [fakes.add(0, -1) for _ in range(5)]
    before = open_files()
    assert fakes.fork(0, lambda *_: 0) is None
    assert open_files() == before
    fakes.died(old[0].pid)
    child = fakes.fork(0, lambda *_: 0)
    assert child is not None
    ended(child)
    fakes.died(child.pid)


def test_a_silent_child_is_told_of_and_left_out_and_killed_after_as_long_again(fakes: FakeChildren) -> None:
    log, (_, worker, other) = FakeLog(), fakes.all.values()
    for tenth in range(105):
        now = tenth / 10
        for each in fakes.all.values():
            if each is not worker:
                fakes.beat(each, now)
        fakes.watch(now, 5.0, log)
        assert worker.silent == (tenth > 50)
        assert fakes.signals == ([] if tenth <= 100 else [(worker.pid, signal.SIGKILL)] * (tenth - 100))
    assert other.accepts
    assert log.events[0] == "event loop is blocked"
    assert log.events[1] == "child is killed: its event loop is blocked"


def test_a_child_that_goes_on_accepts_again(fakes: FakeChildren) -> None:
    log, (_, worker, _) = FakeLog(), fakes.all.values()
    for tenth in range(60):
        fakes.watch(tenth / 10, 5.0, log)
    assert not worker.accepts
    fakes.beat(worker, 6.0)
    fakes.watch(6.0, 5.0, log)
    assert worker.accepts
    assert log.events.count("event loop runs again") == 1


def test_children_that_were_stopped_together_with_their_parent_are_not_killed_for_that(fakes: FakeChildren) -> None:
    log = FakeLog()
    fakes.watch(1.0, 5.0, log)
    fakes.watch(100.0, 5.0, log)  # as after a container was paused: the parent is the first that runs again
    assert log.lines == []
    assert not any(each.silent for each in fakes.all.values())
    for tenth in range(1001, 1052):
        fakes.watch(tenth / 10, 5.0, log)
    assert all(each.silent for each in fakes.all.values())
    assert fakes.signals == []


def test_a_child_that_starts_is_not_silent(fakes: FakeChildren) -> None:
    child = fakes.add(0, state=ProcessState.STARTING)
    for tenth in range(200):
        for each in fakes.all.values():
            if each is not child:
                fakes.beat(each, tenth / 10)
        assert fakes.watch(tenth / 10, 1.0, FakeLog()) == {-1, 0, 1}
    assert not child.silent
    assert not fakes.is_ready(child)
    assert child not in fakes.ready_workers()


def test_children_are_passed_on_with_all_that_is_known_of_them(fakes: FakeChildren) -> None:
    worker = fakes.workers()[0]
    worker.ready, worker.told, worker.deadline = {"a"}, "drain", 9.0
    passed = [{**each, "orders": os.dup(each["orders"])} for each in fakes.passed()]
    again = FakeChildren(fakes.memory, 1)
    again.adopt(passed, with_columns=True)
    found = again.all[worker.pid]
    assert (found.number, found.ready, found.told, found.deadline, found.column) == (0, {"a"}, "drain", 9.0, 1)
    assert again.workers(old=True) == again.workers()
    assert [each.number for each in again.controls(old=True)] == [CONTROL]
    found.orders.send({"do": "cut"})
    assert fakes.told(worker) == [{"do": "cut"}]
    for each in again.all.values():
        each.orders.close()


def test_children_of_another_memory_are_ready_and_never_silent(fakes: FakeChildren) -> None:
    again = FakeChildren(fakes.memory, 1)
    again.adopt([{**each, "orders": os.dup(each["orders"])} for each in fakes.passed()], with_columns=False)
    assert again.watch(1e9, 1.0, FakeLog()) == set()
    assert len(again.ready_workers()) == 2
    assert again.live() == 0
    for pid in tuple(again.all):
        again.died(pid)
    assert len(fakes.memory.slots.rows()) == 3


def test_live_sessions_are_those_of_all_workers(fakes: FakeChildren) -> None:
    for worker in fakes.workers():
        fakes.beat(worker, 0.0, live=3)
    assert fakes.live() == 6


def test_a_signal_to_a_child_that_has_gone_does_nothing(children: Children) -> None:
    child = children.fork(0, lambda *_: 0)
    assert child is not None
    ended(child)
    children.signal(child, signal.SIGTERM)
    children.died(child.pid)
