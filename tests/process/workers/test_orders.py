import os
import socket
from typing import Any

import pytest
import trio

from tests.support.open_files import open_files
from trioedge.process.workers.orders import MAX_AT_ONCE, Orders, order_pair


@pytest.fixture
def ends() -> Any:
    parent, child = order_pair()
    yield parent, Orders(child)
    parent.close()


def test_messages_come_whole_and_in_order_with_their_descriptors(ends: tuple[Orders, Orders]) -> None:
    parent, child = ends
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        child.send({"say": "ready", "edge": "a"})
        child.send({"say": "keep", "address": "tcp://x"}, sock.fileno())
        (first, none), (second, fd) = parent.receive()
        assert (first, none) == ({"say": "ready", "edge": "a"}, None)
        assert second["say"] == "keep"
        assert fd is not None
        with socket.socket(fileno=fd) as copy:
            assert copy.getsockname() == sock.getsockname()
            assert not os.get_inheritable(fd)
    assert parent.receive() == []
    child.close()


def test_what_finds_the_buffer_full_is_sent_later_and_nothing_is_lost(ends: tuple[Orders, Orders]) -> None:
    parent, child = ends
    sent = 0
    while not parent.waits:
        parent.send({"number": sent})
        sent += 1
    parent.send({"number": sent})
    got: list[int] = []
    while len(got) <= sent:
        parent.flush()
        got += [message["number"] for message, _ in child.receive()]
    assert got == [*range(sent + 1)]
    child.close()


def test_a_descriptor_that_waits_is_a_copy(ends: tuple[Orders, Orders]) -> None:
    parent, child = ends
    while not child.waits:
        child.send({"say": "forget"})
    reading, writing = os.pipe()
    child.send({"say": "keep"}, writing)
    os.close(writing)
    found: list[int] = []
    while not found:
        child.flush()
        found += [fd for _, fd in parent.receive() if fd is not None]
    os.write(found[0], b"x")
    assert os.read(reading, 1) == b"x"
    os.close(found[0])
    os.close(reading)
    child.close()


def test_the_end_of_the_other_side_is_seen_behind_its_last_message(ends: tuple[Orders, Orders]) -> None:
    parent, child = ends
    child.send({"say": "ready"})
    child.close()
    assert [message for message, _ in parent.receive()] == [{"say": "ready"}]
    assert parent.over
    parent.send({"do": "drain"})  # does nothing
    assert not parent.waits


async def test_a_child_waits_for_an_order_and_a_cancel_loses_none(
    ends: tuple[Orders, Orders], nursery: trio.Nursery
) -> None:
    parent, child = ends
    with trio.move_on_after(0.01):
        await child.next()
    parent.send({"do": "drain"})
    parent.send({"do": "cut"})
    assert await child.next() == {"do": "drain"}
    assert await child.next() == {"do": "cut"}
    parent.close()
    assert await child.next() is None
    child.close()


async def test_a_child_sends_what_waits_while_it_runs(ends: tuple[Orders, Orders], nursery: trio.Nursery) -> None:
    parent, child = ends
    while not child.waits:
        child.send({"say": "forget"})
    nursery.start_soon(child.run)
    while child.waits:
        parent.receive()
        await trio.sleep(0.01)
    nursery.cancel_scope.cancel()
    child.close()


@pytest.mark.parametrize("data", [b"nonsense", b"[1]", b"\xff\xfe", b"[" * 4000, b'{"a": "' + b"x" * 5000 + b'"}'])
def test_a_message_that_cannot_be_read_is_empty_and_the_next_one_is_read(
    ends: tuple[Orders, Orders], data: bytes
) -> None:
    parent, child = ends
    child.sock.send(data)
    child.send({"say": "ready"})
    assert parent.receive() == [({}, None), ({"say": "ready"}, None)]
    assert not parent.over
    child.close()


def test_a_side_that_sends_without_pause_is_read_a_part_at_a_time(ends: tuple[Orders, Orders]) -> None:
    parent, child = ends
    for number in range(MAX_AT_ONCE + 10):
        child.send({"number": number})
    got: list[int] = []
    while len(got) < MAX_AT_ONCE + 10:
        found = parent.receive()
        assert len(found) <= MAX_AT_ONCE
        child.flush()
        got += [message["number"] for message, _ in found]
    assert got == [*range(MAX_AT_ONCE + 10)]
    child.close()


def test_a_message_with_more_descriptors_than_one_leaks_none(ends: tuple[Orders, Orders]) -> None:
    parent, child = ends
    before = open_files()
    socket.send_fds(child.sock, [b'{"say": "keep"}'], [0, 1, 2])
    ((message, fd),) = parent.receive()
    assert message == {"say": "keep"}
    assert fd is not None
    os.close(fd)
    assert open_files() == before
    child.close()
