import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing

from trioedge.addresses.address import Address, parse_address
from trioedge.process.child.worker_sockets import ParentsSocket, WorkerSockets
from trioedge.process.workers.orders import Orders, order_pair


def address(port: int) -> Address:
    return parse_address(f"tcp://127.0.0.1:{port}", listening=True)


@pytest.fixture
def parent() -> Iterator[tuple[Orders, WorkerSockets]]:
    ours, theirs = order_pair()
    child = Orders(theirs)
    yield ours, WorkerSockets("a", [], child, number=1, workers=3, steered=True)
    ours.close()
    child.close()


def heard(orders: Orders) -> list[dict[str, Any]]:
    found = []
    for message, fd in orders.receive():
        if fd is not None:
            os.close(fd)
        found.append(dict(message) | {"fd": fd is not None})
    return found


async def test_it_is_ready_once_and_waits_until_the_parent_listens(parent: tuple[Orders, WorkerSockets]) -> None:
    orders, sockets = parent
    with trio.move_on_after(0.01) as waited:
        await sockets.listening()
    assert waited.cancelled_caught
    assert heard(orders) == [{"say": "ready", "edge": "a", "fd": False}]
    sockets.listens.set()
    await sockets.listening()


def test_every_address_belongs_to_one_worker(parent: tuple[Orders, WorkerSockets]) -> None:
    orders, mine = parent
    ends = [WorkerSockets("a", [], mine._orders, number=number, workers=3, steered=True) for number in (0, 1, 2)]
    shares = [sum(each.has(address(port)) for port in range(7000, 7300)) for each in ends]
    assert sum(shares) == 300
    assert min(shares) > 60
    assert heard(orders) == []


def test_a_listener_that_the_parent_has_kept_is_taken_once(parent: tuple[Orders, WorkerSockets]) -> None:
    _, sockets = parent
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sockets.inherit(address(7000), os.dup(sock.fileno()))
        taken = sockets.take(address(7000))
        assert taken is not None
        assert taken.sock.getsockname() == sock.getsockname()
        assert taken.address == taken.given == address(7000)
        assert sockets.take(address(7000)) is None
        taken.listen()
        taken.close()


def test_a_listener_is_given_to_the_parent_and_forgotten(parent: tuple[Orders, WorkerSockets]) -> None:
    orders, sockets = parent
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sockets.keep(address(7000), sock.fileno())
    sockets.forget(address(7000))
    named = {"edge": "a", "address": "tcp://127.0.0.1:7000"}
    assert heard(orders) == [{"say": "keep", **named, "fd": True}, {"say": "forget", **named, "fd": False}]


def test_a_worker_that_drains_leaves_its_listeners_to_its_successor(parent: tuple[Orders, WorkerSockets]) -> None:
    orders, sockets = parent
    sockets.drain()
    sockets.forget(address(7000))
    assert heard(orders) == []


def test_listeners_that_no_service_has_taken_are_closed_here_and_in_the_parent(
    parent: tuple[Orders, WorkerSockets],
) -> None:
    orders, sockets = parent
    with socket.create_server(("127.0.0.1", 0)) as sock:
        fd = os.dup(sock.fileno())
        sockets.inherit(address(7000), fd)
        sockets.close_kept()
        sockets.close_kept()
    assert [each["say"] for each in heard(orders)] == ["forget"]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_socket_of_the_parent_has_the_address_that_the_edge_was_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert ParentsSocket(sock, address(7000)).given == address(7000)
        assert ParentsSocket(sock, address(7000), address(0)).given == address(0)
