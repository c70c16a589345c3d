import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import trioedge as te
from tests.support.open_files import open_files
from trioedge.addresses.steering import Steering
from trioedge.process.parent.sockets import SocketGroup, bind_groups


@pytest.fixture
def groups() -> Iterator[list[SocketGroup]]:
    found: list[SocketGroup] = []
    yield found
    for group in found:
        group.close()


def test_an_address_of_tcp_has_a_socket_for_each_worker_on_one_port(groups: list[SocketGroup]) -> None:
    groups += bind_groups("a", ["tcp://127.0.0.1:0"], 3, 60)
    (group,) = groups
    ports = {sock.getsockname()[1] for sock in group.sockets}
    assert ports == {group.address.port}
    assert len(group.sockets) == 3
    assert group.given == "tcp://127.0.0.1:0"
    assert group.of(1, 3) == [group.sockets[1]]
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(group.where)
    group.listen()
    group.steer(Steering(3, 5))
    with socket.socket() as client:
        client.connect(group.where)


def test_a_local_socket_is_one_for_all_workers_and_its_file_goes_with_it(
    tmp_path: Path, groups: list[SocketGroup]
) -> None:
    path = tmp_path / "edge.sock"
    (group,) = bind_groups("a", [f"unix://{path}"], 3, 60)
    assert group.of(0, 3) == group.of(2, 3) == group.sockets
    assert not path.exists()
    group.listen()
    group.steer(Steering(3, 5))  # does nothing
    assert path.is_socket()
    group.close()
    assert not path.exists()


def test_an_address_that_another_edge_of_the_same_user_has_is_refused_although_both_could_share_it(
    groups: list[SocketGroup],
) -> None:
    groups += bind_groups("a", ["tcp://127.0.0.1:0"], 2, 60)
    groups[0].listen()
    with pytest.raises(te.ListenError, match="in use by another process"):
        bind_groups("b", [str(groups[0].address)], 2, 60)


def test_nothing_stays_bound_if_one_address_cannot_be_had() -> None:
    (group,) = bind_groups("a", ["tcp://127.0.0.1:0"], 1, 60)
    group.listen()
    before = open_files()
    with pytest.raises(te.ListenError):
        bind_groups("b", ["tcp://127.0.0.1:0", str(group.address)], 4, 60)
    assert open_files() == before
    group.close()


def test_more_workers_get_sockets_that_listen_and_fewer_share_those_that_are_left(groups: list[SocketGroup]) -> None:
    groups += bind_groups("a", ["tcp://127.0.0.1:0"], 2, 60)
    (group,) = groups
    group.listen()
    group.extend(4, 60)
    assert len(group.sockets) == 4
    assert all(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for sock in group.sockets)
    group.extend(2, 60)
    assert [len(group.of(number, 3)) for number in range(3)] == [2, 1, 1]


def test_ipv4_and_ipv6_of_one_port_are_two_groups_and_the_second_leaves_ipv4_out(groups: list[SocketGroup]) -> None:
    (first,) = bind_groups("a", ["tcp://0.0.0.0:0"], 2, 60)
    port = first.address.port
    first.close()
    groups += bind_groups("a", [f"tcp://0.0.0.0:{port}", f"tcp://[::]:{port}"], 2, 60)
    assert [(group.family, group.v6only) for group in groups] == [(socket.AF_INET, False), (socket.AF_INET6, True)]
    assert [group.given for group in groups] == [f"tcp://0.0.0.0:{port}", f"tcp://[::]:{port}"]


def test_a_group_that_is_passed_on_is_the_same_with_the_same_sockets(tmp_path: Path) -> None:
    for group in bind_groups("a", ["tcp://127.0.0.1:0", f"unix://{tmp_path}/s"], 2, 60):
        group.listen()
        again = SocketGroup.adopted(json.loads(json.dumps(group.passed())))
        names = [sock.getsockname() for sock in group.sockets]
        for sock in group.sockets:
            sock.detach()
        assert [sock.getsockname() for sock in again.sockets] == names
        assert (again.edge, again.given, again.address, again.listens) == ("a", group.given, group.address, True)
        again.close()
    assert not (tmp_path / "s").exists()


def test_the_file_of_a_local_socket_that_was_removed_by_hand_is_made_again_and_that_of_another_program_stays(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s"
    (group,) = bind_groups("a", [f"unix://{path}"], 2, 60)
    group.listen()
    again = SocketGroup.adopted(json.loads(json.dumps(group.passed())))
    group.sockets[0].detach()
    again.make_again()  # does nothing
    path.unlink()
    again.make_again()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    path.unlink()
    path.write_text("of another program")
    with pytest.raises(te.ListenError, match="no socket has this path"):
        again.make_again()
    again.close()
    assert path.read_text() == "of another program"
