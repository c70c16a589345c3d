import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.open_files import open_files
from tests.support.parents import FakeChildren, fake_children
from trioedge.process.parent.noted_signals import TICK_SECONDS, NotedSignals


@pytest.fixture
def children() -> Iterator[FakeChildren]:
    with fake_children() as found:
        yield found


def test_signals_are_noted_in_order_and_the_former_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    descriptors = open_files()
    signals = NotedSignals()
    with signals.noted():
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR2, signal.SIGUSR2):
            signal.raise_signal(number)
        assert signals.waiting == [signal.SIGHUP, signal.SIGTERM, signal.SIGUSR2, signal.SIGUSR2]
    assert signal.getsignal(signal.SIGTERM) == before
    assert open_files() == descriptors


def test_signals_that_an_earlier_image_has_blocked_come_at_once() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)  # other threads block nothing
        signals = NotedSignals()
        with signals.noted():
            assert signals.waiting == [signal.SIGTERM]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_a_wait_ends_with_a_signal_that_came_just_before_it(
    children: FakeChildren, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge.process.parent.noted_signals.TICK_SECONDS", 60)
    signals = NotedSignals()
    with signals.noted():
        signal.raise_signal(signal.SIGHUP)
        signals.wait(children.all.values())
    assert signals.waiting == [signal.SIGHUP]


def test_a_wait_ends_with_a_message_of_a_child_and_with_room_for_one_to_it(
    children: FakeChildren, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge.process.parent.noted_signals.TICK_SECONDS", 60)
    worker, other = children.workers()
    signals = NotedSignals()
    with signals.noted():
        children.ends[worker.pid].send({"say": "ready", "edge": "a"})
        signals.wait(children.all.values())
        assert worker.orders.receive()
        while not other.orders.waits:
            other.orders.send({"do": "reload"})
        children.told(other)
        signals.wait(children.all.values())


def test_a_child_that_has_hung_up_does_not_make_the_parent_spin(children: FakeChildren) -> None:
    worker = children.workers()[0]
    children.ends[worker.pid].close()
    worker.orders.receive()
    signals = NotedSignals()
    with signals.noted():
        began = time.monotonic()
        signals.wait(children.all.values())
        assert time.monotonic() - began > TICK_SECONDS / 2


def test_a_signal_wakes_a_wait(children: FakeChildren, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trioedge.process.parent.noted_signals.TICK_SECONDS", 60)
    signals = NotedSignals()
    with signals.noted():
        sender = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGUSR2))
        sender.start()
        signals.wait(children.all.values())
        sender.join()
        assert signals.waiting == [signal.SIGUSR2]
