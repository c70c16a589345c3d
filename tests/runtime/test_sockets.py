import socket

import pytest

from tests.wires import tcp_pair
from trioedge.runtime.sockets import no_delay, reset


def test_a_reset_is_seen_as_one() -> None:
    near, far = tcp_pair()
    far.setblocking(True)
    reset(near)
    with pytest.raises(ConnectionResetError):
        far.recv(1)
    assert near.fileno() == -1
    far.close()


def test_a_reset_of_what_is_closed_or_local_just_closes() -> None:
    near, far = socket.socketpair()
    reset(near)
    reset(near)
    assert far.recv(1) == b""
    far.close()


def test_no_delay_is_inherited_from_the_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        no_delay(listener)
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
