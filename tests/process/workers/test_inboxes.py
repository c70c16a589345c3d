import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.open_files import open_files
from trioedge.addresses.steering import Steering
from trioedge.process.workers.inboxes import TRUST_SECONDS, Inboxes, WorkerInboxes, ready_workers
from trioedge.process.workers.slots import CONTROL, ROW_BYTES, ProcessState, Row, Slots

NOW = 1_000.0


def row(number: int, state: ProcessState = ProcessState.READY, generation: int = 3, beat: float = NOW) -> Row:
    return Row(5, state, 77, number, generation, beat, 0)


@pytest.mark.parametrize(
    ("rows", "ready"),
    [
        ([], set()),
        ([row(0), row(1)], {0, 1}),
        ([row(0, ProcessState.STARTING), row(1)], {1}),
        ([row(0, ProcessState.DRAINING), row(1)], {1}),
        ([row(0, ProcessState.DRAINING), row(0), row(1)], {0, 1}),
        ([row(0, generation=2), row(1)], {1}),
        ([row(0, beat=NOW - 2.0), row(1, beat=NOW - 2.1)], {0}),
        ([row(CONTROL), row(1)], {1}),
        ([row(1), row(2)], {1}),
    ],
    ids=["none", "both", "starts", "drains", "a successor", "former", "silent", "control process", "too many"],
)
def test_ready_workers_have_started_do_not_drain_and_are_not_silent(rows: list[Row], ready: set[int]) -> None:
    assert ready_workers(rows, 2, 3, NOW, 2.0) == ready


def make_slots(count: int = 3) -> Slots:
    """A control process and two workers that are ready, in columns 0, 1 and 2."""
    slots = Slots(memoryview(bytearray(8 * ROW_BYTES)))
    for number in range(CONTROL, count - 1):
        column = slots.take(number, 3, time.monotonic())
        assert column is not None
        slots.set_state(column, ProcessState.READY)
    return slots


@pytest.fixture
def closing() -> Iterator[list[Any]]:
    """Closed behind the test."""
    found: list[Any] = []
    yield found
    for each in found:
        each.close()


def make_worker(slots: Slots, number: int, closing: list[Any], steering: Steering) -> WorkerInboxes:
    inboxes = Inboxes(steering.workers)
    closing.extend([inboxes, *(reads.dup() for reads, _ in inboxes._pairs)])  # as the parent keeps them
    return inboxes.of(number, steering, slots, number + 1, 30.0)


STEERING = Steering(2, 12345)
SOURCES = [bytes([192, 0, 2, number]) for number in range(100)]


def test_each_source_that_another_worker_has_goes_to_the_inbox_of_that_worker(closing: list[Any]) -> None:
    worker = make_worker(make_slots(), 0, closing, STEERING)
    found = [worker.inbox_of(source) for source in SOURCES]
    assert [each is None for each in found] == [STEERING.worker_of(source) == 0 for source in SOURCES]
    assert len({*found}) == 2


def test_sources_of_a_worker_that_is_not_ready_stay_and_go_once_it_is(
    closing: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    slots, now = make_slots(), time.monotonic()
    worker = make_worker(slots, 0, closing, STEERING)
    theirs = next(source for source in SOURCES if STEERING.worker_of(source) == 1)
    slots.set_state(2, ProcessState.STARTING)
    assert worker.inbox_of(theirs) is None
    slots.set_state(2, ProcessState.READY)
    assert worker.inbox_of(theirs) is None, "a look at the slots is good for a while"
    monkeypatch.setattr(time, "monotonic", lambda: now + 2 * TRUST_SECONDS)
    assert worker.inbox_of(theirs) is not None


def test_of_three_workers_the_sources_of_one_that_is_not_ready_go_where_the_kernel_steers_them(
    closing: list[Any],
) -> None:
    slots, steering = make_slots(4), Steering(3, 99)
    slots.set_state(3, ProcessState.DRAINING)
    worker = make_worker(slots, 0, closing, steering)
    of_kernel = steering.leaving_out({2})
    found = {of_kernel.worker_of(source): worker.inbox_of(source) for source in SOURCES}
    assert {*found} == {0, 1}
    assert found[0] is None
    assert found[1] is not None


def test_what_one_worker_sends_another_one_receives_and_so_does_its_successor(closing: list[Any]) -> None:
    slots, parents = make_slots(), Inboxes(2)
    closing.append(parents)
    theirs = next(source for source in SOURCES if STEERING.worker_of(source) == 1)
    copies = [Inboxes(0), Inboxes(0)]
    for copy in copies:  # as a fork makes them
        copy._pairs = [tuple(sock.dup() for sock in pair) for pair in parents._pairs]  # type: ignore[misc]
        for pair in copy._pairs:
            for sock in pair:
                sock.setblocking(False)
        closing.append(copy)
    first = copies[0].of(0, STEERING, slots, 1, 30.0)
    inbox = first.inbox_of(theirs)
    assert inbox is not None
    second = copies[1].of(1, STEERING, slots, 2, 30.0)
    inbox.send(b"one")
    inbox.send(b"two")
    assert second.inbox.recv(100) == b"one"
    second.inbox.close()  # it dies
    successor = parents.of(1, STEERING, slots, 2, 30.0)
    assert successor.inbox.recv(100) == b"two"
    with pytest.raises(BlockingIOError):
        successor.inbox.recv(100)


def test_a_worker_closes_the_ends_that_it_does_not_need(closing: list[Any]) -> None:
    before = open_files()
    inboxes = Inboxes(4)
    closing.append(inboxes)
    assert open_files() == before + 8
    inboxes.of(2, Steering(4, 1), make_slots(), 3, 30.0)
    assert open_files() == before + 4
    inboxes.close()
    assert open_files() == before


def fill(inbox: socket.socket) -> None:
    for _ in range(100_000):
        inbox.send(bytes(1_000))


def test_nothing_waits_for_an_inbox_that_is_full(closing: list[Any]) -> None:
    worker = make_worker(make_slots(), 0, closing, STEERING)
    inbox = next(found for source in SOURCES if (found := worker.inbox_of(source)) is not None)
    assert inbox.type == socket.SOCK_SEQPACKET
    with pytest.raises(BlockingIOError):
        fill(inbox)


@pytest.mark.parametrize(("number", "gave"), [(9, True), (17, True), (8, False), (10, False)])
def test_an_id_of_this_process_is_known_by_its_column(number: int, gave: bool, closing: list[Any]) -> None:
    assert make_worker(make_slots(), 0, closing, STEERING).gave(number) is gave
