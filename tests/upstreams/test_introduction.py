"""The header that introduces a session to its upstream."""

import os
import socket
from pathlib import Path
from typing import Literal

import pytest
import trio
import trio.testing

import trioedge as te
from tests.support.wires import stream, tcp_pair
from trioedge.loop.sockets import send_now
from trioedge.relay.streams import PlainStream
from trioedge.testing import make_session
from trioedge.upstreams.errors import UpstreamError
from trioedge.upstreams.introduction import Introduction
from trioedge.wire.proxy_protocol import ProxyHeader, parse_v1, parse_v2

V1, V2 = Introduction(1), Introduction(2)


def came_with(session: te.Session, header: ProxyHeader) -> te.Session:
    """Have a session come with a header, as the stage of the PROXY protocol does."""
    session.state[ProxyHeader] = header
    if header.source:
        session.set_source(header.source.partition(":///")[0], header.source_port)
    return session


@pytest.mark.parametrize(
    ("session", "line", "header"),
    [
        (
            make_session("192.0.2.7", port=4000, listener="tcp://192.0.2.1:443"),
            b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 443\r\n",
            ProxyHeader(2, False, "192.0.2.7", 4000, "192.0.2.1", 443),
        ),
        (
            make_session("2001:db8::7", port=4000, listener="tcp://[2001:db8::1]:443"),
            b"PROXY TCP6 2001:db8::7 2001:db8::1 4000 443\r\n",
            ProxyHeader(2, False, "2001:db8::7", 4000, "2001:db8::1", 443),
        ),
        (
            make_session("192.0.2.7", port=4000, listener="tcp://[::]:443"),
            b"PROXY TCP6 ::ffff:c000:0207 :: 4000 443\r\n",
            ProxyHeader(2, False, "192.0.2.7", 4000, "::", 443),
        ),
        (
            make_session("fe80::7", port=4000, listener="tcp://[fe80::1%lo]:443"),
            b"PROXY TCP6 fe80::7 fe80::1 4000 443\r\n",
            ProxyHeader(2, False, "fe80::7", 4000, "fe80::1", 443),
        ),
        (
            make_session("unix", port=0, listener="unix:///run/edge.sock"),
            b"PROXY UNKNOWN\r\n",
            ProxyHeader(2, False, "unix", 0, "unix:///run/edge.sock", 0),
        ),
        (make_session("unix", port=0, listener="tcp://192.0.2.1:443"), b"PROXY UNKNOWN\r\n", ProxyHeader(2)),
        (make_session("192.0.2.7", listener="unix:///run/edge.sock"), b"PROXY UNKNOWN\r\n", ProxyHeader(2)),
        (make_session("192.0.2.7", listener="tcp://localhost:443"), b"PROXY UNKNOWN\r\n", ProxyHeader(2)),
    ],
    ids=["IPv4", "IPv6", "IPv4 beside IPv6", "a link", "local", "local at TCP", "moved at local", "a name"],
)
def test_a_session_in_memory_has_its_source_and_its_listener(
    session: te.Session, line: bytes, header: ProxyHeader
) -> None:
    assert V1.header(session, None) == line
    assert parse_v2(V2.header(session, None)) == header


@pytest.mark.parametrize(
    ("came", "told"),
    [
        (
            ProxyHeader(1, False, "198.51.100.7", 4000, "198.51.100.1", 443),
            ProxyHeader(2, False, "198.51.100.7", 4000, "198.51.100.1", 443),
        ),
        (
            ProxyHeader(2, False, "unix:///run/client.sock", 0, "unix:///run/lb.sock", 0),
            ProxyHeader(2, False, "unix:///run/client.sock", 0, "unix:///run/lb.sock", 0),
        ),
        (ProxyHeader(2, False, "unix", 0, "unix", 0), ProxyHeader(2, False, "unix", 0, "unix", 0)),
        (ProxyHeader(2, True), ProxyHeader(2, False, "192.0.2.7", 4000, "192.0.2.1", 443)),
        (ProxyHeader(1), ProxyHeader(2, False, "192.0.2.7", 4000, "192.0.2.1", 443)),
    ],
    ids=["TCP", "local sockets", "local sockets without a path", "LOCAL", "UNKNOWN"],
)
def test_a_session_that_came_with_a_header_is_introduced_with_its_ends(came: ProxyHeader, told: ProxyHeader) -> None:
    session = came_with(make_session("192.0.2.7", port=4000, listener="tcp://192.0.2.1:443"), came)
    assert parse_v2(V2.header(session, None)) == told


@pytest.mark.parametrize(("version", "told"), [(1, ProxyHeader(1)), (2, ProxyHeader(2, local=True))])
def test_a_check_of_the_edge_itself_names_no_client(version: Literal[1, 2], told: ProxyHeader) -> None:
    header = Introduction(version).header(None, None)
    assert (parse_v1(header) if version == 1 else parse_v2(header)) == told


def test_a_source_that_a_later_stage_has_moved_is_the_one_that_is_told() -> None:
    session = came_with(make_session("192.0.2.7"), ProxyHeader(1, False, "198.51.100.7", 4000, "198.51.100.1", 443))
    session.set_source("203.0.113.9", 5)
    assert V1.header(session, None) == b"PROXY TCP4 203.0.113.9 198.51.100.1 5 443\r\n"


def test_a_source_that_a_later_stage_has_made_local_is_the_one_that_is_told() -> None:
    session = came_with(make_session("192.0.2.7"), ProxyHeader(1, False, "198.51.100.7", 4000, "198.51.100.1", 443))
    session.set_source("unix")
    assert parse_v2(V2.header(session, None)) == ProxyHeader(2)


def test_the_destination_is_the_address_of_the_accepted_socket_and_no_wildcard() -> None:
    client, accepted = tcp_pair()
    with client, accepted:
        session = make_session("127.0.0.1", port=client.getsockname()[1], listener="tcp://0.0.0.0:1")
        line = f"PROXY TCP4 127.0.0.1 127.0.0.1 {client.getsockname()[1]} {accepted.getsockname()[1]}\r\n"
        assert V1.header(session, accepted) == line.encode()


def test_a_client_of_ipv4_at_a_socket_of_ipv6_has_two_addresses_of_ipv4() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, listener.accept()[0] as accepted:
            session = make_session("127.0.0.1", port=4000)
            assert V1.header(session, accepted) == f"PROXY TCP4 127.0.0.1 127.0.0.1 4000 {port}\r\n".encode()
            assert client.getpeername()[1] == port


def test_a_local_socket_has_the_path_that_it_was_accepted_at(tmp_path: Path) -> None:
    path = str(tmp_path / "edge.sock")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(path)
        listener.listen()
        client.connect(path)
        with listener.accept()[0] as accepted:
            session = make_session("unix", port=0, listener=f"unix://{path}")
            assert parse_v2(V2.header(session, accepted)) == ProxyHeader(2, False, "unix", 0, f"unix://{path}", 0)
    near, far = socket.socketpair()
    with near, far:
        assert parse_v2(V2.header(session, near)) == ProxyHeader(2, False, "unix", 0, "unix", 0)


def test_the_rest_that_a_socket_does_not_take_is_given_back() -> None:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        big = os.urandom(1 << 20)
        rest = send_now(near, big)
        assert 0 < len(rest) < len(big)
        assert send_now(near, rest) == rest  # it is full
        taken = b""
        while len(taken) < len(big):
            taken += far.recv(1 << 16)
            rest = send_now(near, rest)
        assert taken == big
        far.close()
        assert send_now(near, b"more") == b"more"  # it has failed, which the next write meets too


async def test_a_stream_gets_the_header_first() -> None:
    up, upstream = trio.testing.memory_stream_pair()
    await V1.send(make_session("192.0.2.7", port=4000, listener="tcp://192.0.2.1:443"), up)
    assert await upstream.receive_some() == b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 443\r\n"


async def test_a_session_with_a_task_has_the_address_of_its_accepted_socket() -> None:
    (client, accepted), (near, far) = tcp_pair(), tcp_pair()
    async with stream(far) as upstream, PlainStream(near) as up, PlainStream(accepted) as down:
        session = make_session("127.0.0.1", port=4000, listener="tcp://0.0.0.0:1")
        session.stream = down
        await V1.send(session, up)
        port = accepted.getsockname()[1]
        assert await upstream.receive_some() == f"PROXY TCP4 127.0.0.1 127.0.0.1 4000 {port}\r\n".encode()
    client.close()


async def test_a_stream_that_breaks_is_closed_and_the_error_says_so() -> None:
    near, far = tcp_pair()
    far.close()
    near.shutdown(socket.SHUT_WR)
    with pytest.raises(UpstreamError, match="took no header") as raised:
        await V1.send(make_session(), PlainStream(near))
    assert raised.value.reason is te.Reason.RESET
    assert near.fileno() == -1


async def test_a_stream_that_takes_no_header_is_closed_by_a_cancel() -> None:
    up, _ = trio.testing.lockstep_stream_pair()
    with trio.move_on_after(0.01) as scope:
        await V1.send(make_session(), up)
    assert scope.cancelled_caught
    with pytest.raises(trio.ClosedResourceError):
        await up.send_all(b"x")
