import errno
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf
from pathlib import Path

import pytest

from tests.support.open_files import open_files
from tests.support.ports import closed_port
from tests.support.socket_rates import UNPACED, paced_at
from tests.support.wires import tcp_pair
from trioedge.loop.sockets import (
    KEEP_ALIVE_SECONDS,
    connect_at_once,
    ephemeral_ports,
    for_users,
    is_connected_to_itself,
    is_owed,
    keep_alive,
    no_delay,
    pace,
    probe,
    received_bytes,
    reset,
    scoped,
    send_in_pieces,
    unacknowledged_bytes,
    unsent_bytes,
)  # fmt: skip


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = tcp_pair()
    with near, far:
        yield near, far


def test_the_peer_sees_a_reset() -> None:
    near, far = tcp_pair()
    far.setblocking(True)
    reset(near)
    with pytest.raises(ConnectionResetError):
        far.recv(1)
    assert near.fileno() == -1
    far.close()


def test_a_reset_of_a_closed_or_local_socket_only_closes_it() -> None:
    near, far = socket.socketpair()
    reset(near)
    reset(near)
    assert far.recv(1) == b""
    far.close()


def test_accepted_sockets_inherit_no_delay_from_their_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        no_delay(listener)
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.mark.parametrize(
    ("rate", "kernel"),
    [
        (1_000_000.0, 1_000_000),
        (1_500.9, 1_500),
        (0.01, 1),
        (1e10, 10**10),
        (1e19, 10**19),
        (2.0**64, UNPACED),
        (1e300, UNPACED),
        (inf, UNPACED),
    ],
)
def test_any_rate_is_set_as_one_that_the_kernel_understands(
    rate: float, kernel: int, pair: tuple[socket.socket, socket.socket]
) -> None:
    near, far = pair
    pace(near, rate)
    assert (paced_at(near), paced_at(far)) == (kernel, UNPACED)
    pace(near, inf)
    assert paced_at(near) == UNPACED


@pytest.mark.parametrize("count", [unsent_bytes, unacknowledged_bytes])
def test_bytes_in_the_send_buffer_are_counted(
    count: Callable[[socket.socket], int], pair: tuple[socket.socket, socket.socket]
) -> None:
    near, far = pair
    assert count(near) == 0
    sent = 0
    try:
        while True:
            sent += near.send(bytes(65536))
    except BlockingIOError:
        pass
    assert 0 < count(near) <= sent
    far.setblocking(True)
    while sent:
        sent -= len(far.recv(1 << 20))
    deadline = time.monotonic() + 5
    while count(near):  # until the acknowledgement has arrived
        assert time.monotonic() < deadline


def test_no_byte_is_unacknowledged_once_the_other_end_has_reset_the_connection(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = pair
    with suppress(BlockingIOError):
        while True:
            near.send(bytes(65536))
    assert unacknowledged_bytes(near) > 0
    reset(far)
    assert unacknowledged_bytes(near) == 0
    assert not is_owed(near)


def test_bytes_that_were_sent_and_not_acknowledged_are_not_unsent() -> None:
    near, far = socket.socketpair()  # the peer acknowledges when it reads, and no byte waits to be sent
    with near, far:
        near.send(bytes(1000))
        assert unacknowledged_bytes(near) >= 1000
        assert unsent_bytes(near) == 0


@pytest.mark.parametrize(
    ("rate", "piece"),
    [(1.0, 1400), (20_000.0, 1400), (200_000.0, 4000), (1e6, 20_000), (3_276_800.0, 0), (1e9, 0), (inf, 0)],
)
def test_a_low_rate_has_pieces_of_a_fiftieth_of_a_second(
    rate: float, piece: int, pair: tuple[socket.socket, socket.socket]
) -> None:
    segment = pair[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    assert pace(pair[0], rate) == min(piece, segment)


@pytest.mark.parametrize(("rate", "piece"), [(20_000.0, 1448), (200_000.0, 2 * 1448), (3e6, 41 * 1448)])
def test_a_piece_has_whole_segments(rate: float, piece: int) -> None:
    """With the segments of Ethernet; otherwise each piece would end with a packet of a few bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as near:
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
        near.connect(listener.getsockname())
        segment = near.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        if segment != 1448:
            pytest.skip(f"a segment has {segment} bytes here")
        assert pace(near, rate) == max(piece, 1400) if rate > 1e5 else 1400


def test_pieces_are_sent_until_the_socket_takes_no_more(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    data = memoryview(bytes(range(256)) * 20_000)
    sent = send_in_pieces(near, data, 1400)
    assert 0 < sent < len(data)
    with pytest.raises(BlockingIOError):
        send_in_pieces(near, data[sent:], 1400)
    far.setblocking(True)
    assert far.recv(sent, socket.MSG_WAITALL) == data[:sent]


def test_the_interface_of_an_address_becomes_its_number() -> None:
    number = socket.if_nametoindex("lo")
    assert scoped("::1", 80) == ("::1", 80)
    assert scoped("fe80::1%lo", 80) == scoped(f"fe80::1%{number}", 80) == ("fe80::1", 80, 0, number)


@pytest.mark.parametrize("zone", ["eth987", "987654", "9" * 40, "²"])
def test_an_interface_that_this_machine_does_not_have_is_named(zone: str) -> None:
    with pytest.raises(OSError, match=f"this machine has no interface '{zone}'") as raised:
        scoped(f"fe80::1%{zone}", 80)
    assert raised.value.errno == errno.ENODEV


@pytest.mark.parametrize(
    ("text", "ports"),
    [("32768\t60999\n", range(32768, 61000)), (None, range(1024, 65536)), ("x\n", range(1024, 65536))],
)
def test_the_ephemeral_ports_are_those_of_the_kernel(
    text: str | None, ports: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ip_local_port_range"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr("trioedge.loop.sockets._PORT_RANGE", path)
    assert ephemeral_ports.__wrapped__() == ports


def test_a_socket_may_be_its_own_peer() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        assert is_connected_to_itself(sock)
    near, far = tcp_pair()
    with near, far:
        assert not is_connected_to_itself(near)
        assert not is_connected_to_itself(far)
        reset(far)
        assert not is_connected_to_itself(near)


def test_bytes_that_wait_are_counted_and_the_error_of_the_socket_is_kept() -> None:
    near, far = tcp_pair()
    with near:
        assert received_bytes(near) == 0
        far.send(b"answer")
        reset(far)
        assert received_bytes(near) == 6
        assert near.recv(6) == b"answer"
        assert received_bytes(near) == 0
    near, far = tcp_pair()
    with near:
        reset(far)
        assert received_bytes(near) == 0
        with pytest.raises(ConnectionResetError):
            near.recv(1)


def test_keepalive_gives_up_after_twice_the_silence_and_is_inherited_from_a_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        keep_alive(listener, 60)
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            idle, interval, probes = (accepted.getsockopt(socket.IPPROTO_TCP, each) for each in options)
    assert (idle, interval, probes) == (60, 15, 4)
    assert idle + interval * probes == 120


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_a_connect_to_this_machine_gives_a_socket_at_once(family: socket.AddressFamily, tmp_path: Path) -> None:
    where = str(tmp_path / "socket") if family == socket.AF_UNIX else ("127.0.0.1", 0)
    with socket.socket(family) as listener:
        listener.bind(where)
        listener.listen(8)
        sock = connect_at_once(family, listener.getsockname())
        assert sock is not None
        far, _ = listener.accept()
        assert sock.send(b"x") == 1
        assert far.recv(1) == b"x"
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        sock.close()
        far.close()


def test_a_connect_that_is_refused_or_not_answered_at_once_or_to_itself_leaves_nothing_open() -> None:
    files = open_files()
    assert connect_at_once(socket.AF_INET, ("127.0.0.1", closed_port())) is None
    assert connect_at_once(socket.AF_UNIX, "/nowhere/at/all") is None
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        made = [connect_at_once(socket.AF_INET, listener.getsockname()) for _ in range(4)]
        assert made[-1] is None, "its backlog is full"
        for sock in made:
            if sock is not None:
                sock.close()
    assert open_files() == files


def test_a_connection_to_itself_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel gives one when it chooses the destination's port as the local one."""

    class ToItself(socket.SocketType):
        def getsockname(self) -> object:
            return where

    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = listener.getsockname()
        monkeypatch.setattr("trioedge.loop.sockets.socket.SocketType", ToItself)
        assert connect_at_once(socket.AF_INET, where) is None


def test_a_probe_is_set_where_its_owner_has_set_none() -> None:
    near, far = tcp_pair()
    with near, far:
        probe(near)
        assert near.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == KEEP_ALIVE_SECONDS
        keep_alive(far, 20)
        probe(far)
        assert far.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 20
    probe(near)  # closed
    local, other = socket.socketpair()
    with local, other:
        probe(local)


def test_a_bare_socket_becomes_one_that_users_know() -> None:
    near, far = tcp_pair()
    bare = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, near.detach())
    fd = bare.fileno()
    with for_users(bare) as full, far:
        assert (full.fileno(), bare.fileno(), full.gettimeout()) == (fd, -1, 0.0)
        assert full.family is socket.AF_INET
        far.send(b"x")
        assert full.recv(1) == b"x"
