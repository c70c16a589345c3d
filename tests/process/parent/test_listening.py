import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trioedge as te
from tests.support.open_files import open_files
from tests.support.parents import FakeLog, in_fork
from trioedge.addresses.address import parse_address
from trioedge.process.parent.listening import ParentListening, hub_socket
from trioedge.process.workers.orders import Orders, order_pair


def make_edge(*listen: str, **more: Any) -> te.Edge:
    return te.Edge(listen or ["tcp://127.0.0.1:0"], [], te.Forward("tcp://127.0.0.1:1"), **more)


def listens(where: Any) -> bool:
    with socket.socket() as client:
        client.settimeout(2)
        return client.connect_ex(where) == 0


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
def listening(log: FakeLog) -> Iterator[ParentListening]:
    found = ParentListening({"a": make_edge(), "b": make_edge()}, 2, 7, log)
    assert found.bind([], []) == []
    yield found
    found.close()
    found.close_admins()


@pytest.fixture
def orders() -> Iterator[Orders]:
    parent, child = order_pair()
    yield Orders(child)
    parent.close()
    child.close()


def test_an_edge_listens_when_it_is_served_and_the_others_do_not(listening: ParentListening, log: FakeLog) -> None:
    first, second = listening.groups
    listening.serve("a", frozenset())
    assert not listening.listens("a")
    listening.serve("a", frozenset({0, 1}))
    assert listening.listens("a")
    assert listens(first.where)
    assert not listens(second.where)
    listening.close_edge("a")
    assert not listens(first.where)
    assert log.lines == []


def test_a_kernel_without_steering_is_told_of_once_and_makes_limits_shared(
    monkeypatch: pytest.MonkeyPatch, log: FakeLog
) -> None:
    monkeypatch.setattr("trioedge.process.parent.sockets.steer", lambda *_: (_ for _ in ()).throw(OSError(1, "no")))
    found = ParentListening({"a": make_edge(), "b": make_edge()}, 2, 7, log)
    found.bind([], [])
    assert log.events == ["clients are not steered, so every limit by source is shared"]
    assert not found.is_steered("a")
    found.serve("a", frozenset({0}))
    assert listens(found.groups[0].where)
    found.close()


def test_a_kernel_that_is_out_of_memory_steers_as_before(
    listening: ParentListening, log: FakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioedge.process.parent.sockets.steer", lambda *_: (_ for _ in ()).throw(OSError(12, "full")))
    listening.serve("a", frozenset({0}))
    assert log.events == ["clients are steered as before"]
    assert listens(listening.groups[0].where)


def test_a_new_image_has_the_sockets_of_the_old_one_and_gives_back_what_no_edge_names(
    listening: ParentListening, log: FakeLog
) -> None:
    edges = {"a": make_edge(), "c": make_edge()}
    again = ParentListening(edges, 3, 7, log)
    left = again.bind([*listening.groups], [])
    assert [(group.edge, len(group.sockets)) for group in again.groups] == [("a", 3), ("c", 3)]
    assert again.groups[0] is listening.groups[0]
    assert left == [listening.groups[1]]
    again.close()
    assert again.given() == []


def test_nothing_stays_bound_if_an_address_is_in_use(log: FakeLog) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        before = open_files()
        found = ParentListening(
            {"a": make_edge(), "b": make_edge(f"tcp://127.0.0.1:{other.getsockname()[1]}")}, 2, 7, log
        )
        with pytest.raises(te.ListenError):
            found.bind([], [])
        assert open_files() == before


def test_listeners_of_services_are_kept_until_they_are_forgotten(listening: ParentListening) -> None:
    for _ in range(2):  # the second one is the successor's, and takes the place of the first
        with socket.create_server(("127.0.0.1", 0)) as sock:
            listening.keep("a", "tcp://127.0.0.1:7001", os.dup(sock.fileno()))
    assert [*listening.kept] == [("a", parse_address("tcp://127.0.0.1:7001", listening=True))]
    listening.forget("a", "tcp://127.0.0.1:7001")
    listening.forget("a", "tcp://127.0.0.1:7001")
    assert listening.kept == {}
    with pytest.raises(te.ConfigurationError):
        listening.forget("a", "no address")


def test_a_listener_of_an_edge_that_is_no_more_is_closed(listening: ParentListening) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        where, fd = sock.getsockname(), os.dup(sock.fileno())
    listening.keep("gone", "tcp://127.0.0.1:7001", fd)
    assert listening.kept == {}
    assert not listens(where)


def test_a_worker_has_its_sockets_and_the_listeners_that_fall_to_it_and_no_other_descriptor(
    listening: ParentListening, orders: Orders
) -> None:
    addresses = [f"tcp://127.0.0.1:{port}" for port in range(7001, 7009)]
    for each in addresses:
        sock = socket.create_server(("127.0.0.1", 0))
        listening.keep("a", each, sock.detach())

    def look(number: int) -> None:
        before = open_files()
        found = listening.for_worker(number, orders)
        mine = [each for each in addresses if found["a"].has(parse_address(each, listening=True))]
        assert 0 < len(mine) < 8
        assert found["a"].own[0].sock.getsockname() == listening.groups[0].where
        assert before - open_files() == 2 + 8 - len(mine)  # of the other worker
        for each in mine:
            taken = found["a"].take(parse_address(each, listening=True))
            assert taken is not None

    assert [in_fork(lambda number=number: look(number)) for number in (0, 1)] == [0, 0]  # type: ignore[misc]


def test_the_control_process_has_the_sockets_of_admin_apis_and_no_other(tmp_path: Path, log: FakeLog) -> None:
    admin = te.Admin("tcp://127.0.0.1:0", token=te.Secret(env="ADMIN_TOKEN"))
    found = ParentListening({"a": make_edge(admin=f"unix://{tmp_path}/a"), "b": make_edge(admin=admin)}, 2, 7, log)
    found.bind([], [])

    def look() -> None:
        before = open_files()
        admins = found.for_control()
        assert {name: len(sockets) for name, sockets in admins.items()} == {"a": 1, "b": 1}
        assert before - open_files() == 4

    assert in_fork(look) == 0
    assert [edge for edge, _ in found.given()] == ["a", "b", "a", "b"]
    found.close()
    assert (tmp_path / "a").is_socket()
    found.close_admins()
    assert not (tmp_path / "a").exists()


def test_the_hub_has_a_name_that_needs_no_file() -> None:
    with hub_socket() as sock:
        name = sock.getsockname()
        assert name[:1] == b"\0"
        assert not sock.getblocking()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(name)
