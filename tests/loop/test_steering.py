import socket

import pytest

from trioedge.addresses.steering import Steering
from trioedge.loop.steering import steer


def make_group(workers: int, family: socket.AddressFamily = socket.AF_INET) -> list[socket.socket]:
    """Open sockets that listen on one port, in order."""
    host, port, group = ("127.0.0.1" if family == socket.AF_INET else "::"), 0, []
    for _ in range(workers):
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, port))
        port = sock.getsockname()[1]
        sock.listen(64)
        group.append(sock)
    return group


def socket_that_gets(source: str, group: list[socket.socket]) -> int:
    with socket.socket() as client:
        client.bind((source, 0))
        client.connect(("127.0.0.1", group[0].getsockname()[1]))
        for number, sock in enumerate(group):
            try:
                accepted, _ = sock.accept()
            except BlockingIOError:
                continue
            accepted.close()
            return number
    raise AssertionError("no socket has the connection")


SOURCES = [f"127.{number}.{number * 7 % 256}.9" for number in range(1, 41)]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv4 clients of a dual stack"])
@pytest.mark.parametrize("left_out", [set(), {1}], ids=["all", "without one"])
def test_the_kernel_gives_each_source_to_the_worker_that_python_names(
    family: socket.AddressFamily, left_out: set[int]
) -> None:
    steering = Steering(3, 0xC0FFEE).leaving_out(left_out)
    group = make_group(3, family)
    try:
        steer(group[0], steering.program())
        found = [socket_that_gets(source, group) for source in SOURCES for _ in (0, 1)]
        wanted = [steering.worker_of(socket.inet_aton(source)) for source in SOURCES for _ in (0, 1)]
        assert found == wanted
        assert len({*found}) == 3 - len(left_out)
    finally:
        for sock in group:
            sock.close()


def test_another_program_replaces_the_first() -> None:
    group = make_group(2)
    try:
        for left_out in ({0}, {1}):
            steer(group[1], Steering(2, 5).leaving_out(left_out).program())
            assert {socket_that_gets(source, group) for source in SOURCES[:8]} == {0, 1} - left_out
    finally:
        for sock in group:
            sock.close()


def test_a_socket_without_a_group_is_refused() -> None:
    with socket.socket() as sock, pytest.raises(OSError, match=r"."):
        steer(sock, Steering(2, 5).program())
