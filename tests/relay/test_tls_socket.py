"""TlsSocket beside a peer of OpenSSL: its handshake, its writes, the bytes that it owes, and its ends."""

import socket
import ssl
from contextlib import suppress

import pytest

from tests.support.tls import BOTH, SAID, TlsPairs, TlsPeer, buffer, client_context, fill, read_all, shake, stuff
from trioedge.loop.sockets import close, is_local, pace, reset
from trioedge.relay.tls_info import TlsError
from trioedge.relay.tls_socket import TlsSocket
from trioedge.session.verdict import Reason


@BOTH
@pytest.mark.parametrize("client", [False, True])
def test_bytes_pass_both_ways_whichever_side_it_is(pairs: TlsPairs, version: str, client: bool) -> None:
    peer, near = pairs.pair(version, client=client)
    peer.send(b"hello")
    assert read_all(near) == b"hello"
    assert near.send(memoryview(b"answer")) == 6
    assert peer.read_now() == b"answer"


@BOTH
def test_a_peer_that_reads_nothing_is_owed_one_write_and_gets_every_byte_once(pairs: TlsPairs, version: str) -> None:
    peer, near = pairs.pair(version)
    data = SAID * 80
    sent = fill(near, data)
    assert 65_535 <= sent < len(data)
    assert near.unsent
    with pytest.raises(BlockingIOError):
        near.send(memoryview(data)[sent:][:65_536])
    heard = b""
    while len(heard) < len(data):
        heard += peer.read_now()
        sent += fill(near, data[sent:])
    assert heard == data
    assert not near.unsent


def test_the_rest_of_a_write_counts_once_it_is_gone(pairs: TlsPairs) -> None:
    peer, near = pairs.pair()
    while True:  # until a write of one byte is not taken
        try:
            near.send(b"x")
        except BlockingIOError:
            break
    heard = peer.read_now()
    assert near.send(b"x") == 1
    assert not near.unsent
    more = peer.read_now()
    assert set(heard + more) == {ord("x")}


@BOTH
def test_a_half_close_says_close_notify_and_receiving_goes_on(pairs: TlsPairs, version: str) -> None:
    peer, near = pairs.pair(version)
    near.send(b"answer")
    near.shutdown(socket.SHUT_WR)
    near.shutdown(socket.SHUT_WR)
    assert peer.read_now() == b"answer"
    peer.send(b"upload")
    assert read_all(near) == b"upload"
    peer.say_end()
    assert near.recv_into(buffer()) == 0


@BOTH
def test_a_peer_that_has_said_close_notify_may_close_before_it_hears_ours(pairs: TlsPairs, version: str) -> None:
    peer, near = pairs.pair(version)
    read_all(near)
    peer.read_now()
    peer.send(b"thanks")
    peer.say_end()
    peer.sock.close()  # it answers our close_notify with a reset, which is no cut (RFC 8446 section 6.1)
    near.shutdown(socket.SHUT_WR)
    assert read_all(near) == b"thanks"
    assert near.recv_into(buffer()) == 0


@BOTH
def test_a_peer_that_closes_without_close_notify_is_a_reset_behind_ours(pairs: TlsPairs, version: str) -> None:
    peer, near = pairs.pair(version)
    read_all(near)
    peer.read_now()
    peer.sock.close()
    near.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError):
        near.recv_into(buffer())


@BOTH
def test_a_half_close_keeps_the_bytes_that_were_held(pairs: TlsPairs, version: str) -> None:
    peer, near = pairs.pair(version)
    read_all(near)
    peer.send(b"first record")
    peer.send(b"second record")
    memory = buffer()
    assert near.recv_into(memory, 3) == 3
    near.shutdown(socket.SHUT_WR)
    assert bytes(memory[:3]) + read_all(near) == b"first recordsecond record"


def test_close_notify_waits_for_room_and_is_said_once_there_is_some(pairs: TlsPairs) -> None:
    peer, near = pairs.pair()
    stuff(near)
    with pytest.raises(BlockingIOError):
        near.shutdown(socket.SHUT_WR)
    while near.unsent:
        peer.read_now()
        with suppress(BlockingIOError):
            near.flush()
    peer.read_now()
    assert peer.tls.read(1) == b""
    assert peer.sock.recv(1) == b""


def test_a_close_in_order_says_close_notify_and_a_reset_does_not(pairs: TlsPairs) -> None:
    for ending, said in ((close, True), (reset, False)):
        peer, near = pairs.pair()
        peer.read_now()
        ending(near)
        assert near.fileno() == -1
        if said:
            peer.incoming.write(peer.sock.recv(100))
            assert peer.tls.read(1) == b""
        else:
            with pytest.raises(ConnectionResetError):
                peer.sock.recv(100)


def test_a_handshake_uses_bytes_that_were_read_ahead(pairs: TlsPairs) -> None:
    far, sock = pairs.sockets()
    peer = TlsPeer(far, client_context())
    peer.step()
    hello = sock.recv(4_096)
    near = pairs.begin(sock, hello)
    shake(peer, near)
    assert sock.fileno() == -1, "it has taken the socket over"
    info = near.info("localhost")
    assert (info.version, info.alpn, info.server_name, info.resumed) == ("TLSv1.3", None, "localhost", False)
    assert (info.subject, info.fingerprint) == (None, None)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", Reason.PROTOCOL),
        (b"\x16\x03\x01\x00\x05hello", Reason.PROTOCOL),
        (b"", Reason.HANDSHAKE),
    ],
)
def test_a_handshake_that_comes_to_nothing_says_why(pairs: TlsPairs, said: bytes, reason: Reason) -> None:
    far, sock = pairs.sockets()
    near = pairs.begin(sock)
    assert not near.handshake()
    far.send(said)
    far.shutdown(socket.SHUT_WR)
    with pytest.raises(TlsError, match="TLS: ") as caught:
        near.handshake()
    assert caught.value.reason is reason
    near.close()


def test_a_client_that_does_not_trust_the_certificate_ends_the_handshake_with_its_alert(pairs: TlsPairs) -> None:
    far, sock = pairs.sockets()
    near = pairs.begin(sock)
    peer = TlsPeer(far, ssl.create_default_context())
    peer.step()
    assert not near.handshake()
    with pytest.raises(ssl.SSLCertVerificationError):
        peer.step()
    with pytest.raises(TlsError, match="alert unknown ca") as caught:
        near.handshake()
    assert caught.value.reason is Reason.HANDSHAKE


def test_a_context_that_fails_leaves_the_socket_to_the_caller(pairs: TlsPairs) -> None:
    far, sock = pairs.sockets()
    with far, sock:
        with pytest.raises(ValueError, match="idna"):
            TlsSocket(sock, client_context(), server_name=".", client=True)
        assert sock.fileno() >= 0


def test_it_has_what_the_kernel_knows_of_the_socket_beneath(pairs: TlsPairs) -> None:
    peer, near = pairs.pair()
    assert near.getpeername() == peer.sock.getsockname()
    assert not is_local(near)
    assert pace(near, 100_000) > 0
    _, local = pairs.pair(local=True)
    assert is_local(local)
