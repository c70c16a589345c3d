"""TlsReader beside a peer of OpenSSL: bytes of which no event tells, and the ends that it tells apart."""

import errno
import socket
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tests.support.tls import BOTH, SAID, TlsPairs, buffer, read_all, stuff
from trioedge.relay.tls_reader import READ_BYTES, TlsReader


def test_a_short_read_means_that_nothing_is_held(pairs: TlsPairs) -> None:
    peer, near = pairs.pair()
    read_all(near)
    peer.send(b"one")
    peer.send(b"two")
    assert near.recv_into(buffer()) == 6
    assert not near.more
    with pytest.raises(BlockingIOError):
        near.recv_into(buffer())


def test_bytes_that_a_small_read_left_are_told_and_given_though_the_kernel_has_none(pairs: TlsPairs) -> None:
    peer, near = pairs.pair()
    read_all(near)
    peer.send(b"abcdef")
    memory = buffer()
    assert near.recv_into(memory, 4) == 4
    assert near.more
    assert near.recv_into(memory, 4) == 2
    assert bytes(memory[:2]) == b"ef"


@pytest.mark.parametrize("size", [32_700, 40_000, 65_536, 100_000, 200_000])
def test_bytes_that_the_kernel_still_has_are_told_though_the_last_read_was_of_held_ones(
    pairs: TlsPairs, size: int
) -> None:
    peer, near = pairs.pair(local=True)
    read_all(near)
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 400_000)
    peer.send(SAID[:size])
    assert read_all(near) == SAID[:size]


def test_bytes_behind_those_that_were_read_ahead_are_told(pairs: TlsPairs) -> None:
    peer, near = pairs.pair("1.2", client=True)
    peer.send(SAID[:40_000])
    assert near.recv(1, socket.MSG_PEEK) == SAID[:1]
    assert read_all(near) == SAID[:40_000]


@given(some.lists(some.integers(1, 70_000), min_size=1, max_size=6), some.integers(1, 40_000))
@settings(max_examples=30, deadline=None)
def test_every_byte_arrives_once_whatever_the_sizes_of_writes_and_reads(sizes: list[int], room: int) -> None:
    with TlsPairs() as pairs:
        peer, near = pairs.pair(local=True)
        said, heard = b"", b""
        for size in sizes:
            said += SAID[:size]
            peer.tls.write(SAID[:size])
            rest = peer.outgoing.read()
            while rest:
                try:
                    rest = rest[peer.sock.send(rest) :]
                except BlockingIOError:
                    heard += read_all(near, room)
        while more := read_all(near, room):
            heard += more
        assert heard == said


@BOTH
def test_close_notify_is_the_end_also_in_one_packet_with_the_last_bytes(pairs: TlsPairs, version: str) -> None:
    peer, near = pairs.pair(version)
    peer.tls.write(b"last")
    peer.say_end()
    memory = buffer()
    assert near.recv_into(memory) == 4
    assert near.more, "no event will tell of the end"
    assert near.recv_into(memory) == 0
    assert near.recv_into(memory) == 0


def test_the_end_of_the_connection_without_close_notify_is_a_reset_behind_the_last_byte(pairs: TlsPairs) -> None:
    peer, near = pairs.pair()
    peer.send(b"cut")
    peer.sock.shutdown(socket.SHUT_WR)
    memory = buffer()
    assert near.recv_into(memory) == 3
    with pytest.raises(ConnectionResetError, match="without close_notify"):
        near.recv_into(memory)


def test_bytes_that_are_no_record_are_an_error_and_the_peer_is_told(pairs: TlsPairs) -> None:
    peer, near = pairs.pair()
    read_all(near)
    peer.sock.send(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(OSError, match="TLS: ") as caught:
        near.recv_into(buffer())
    assert caught.value.errno == errno.EPROTO
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        peer.read_now()


def test_a_look_leaves_the_bytes_and_sees_the_end_behind_them(pairs: TlsPairs) -> None:
    peer, near = pairs.pair(client=True)
    with pytest.raises(BlockingIOError):  # tickets alone are nothing to read
        near.recv(1, socket.MSG_PEEK)
    peer.send(b"greeting")
    assert near.recv(1, socket.MSG_PEEK) == b"g"
    assert near.recv(1, socket.MSG_PEEK) == b"g"
    assert read_all(near) == b"greeting"
    peer.say_end()
    assert near.recv(1, socket.MSG_PEEK) == b""


def test_a_peer_that_wants_answers_and_reads_none_is_given_up(pairs: TlsPairs) -> None:
    """Written into OpenSSL's memory by hand, because Python asks for no KeyUpdate."""
    peer, near = pairs.pair()
    stuff(near)

    def ask() -> None:
        for _ in range(10):
            near._outgoing.write(b"an answer" * 1_000)
            peer.send(b"and more")
            read_all(near)

    with pytest.raises(OSError, match="asks for answers") as caught:
        ask()
    assert caught.value.errno == errno.ENOBUFS


def test_a_peer_that_sends_messages_without_data_is_given_up(pairs: TlsPairs, monkeypatch: pytest.MonkeyPatch) -> None:
    """As new keys without end are; Python sends none, so here nothing is decrypted."""
    peer, near = pairs.pair()
    read_all(near)
    monkeypatch.setattr(TlsReader, "_decrypt", lambda *_: 0)
    for _ in range(2):
        peer.sock.send(bytes(READ_BYTES))
        assert read_all(near) == b""
    peer.sock.send(b"x")
    with pytest.raises(OSError, match="too many messages without data") as caught:
        near.recv_into(buffer())
    assert caught.value.errno == errno.EPROTO


def test_a_large_record_that_comes_in_small_parts_is_no_such_message(pairs: TlsPairs) -> None:
    peer, near = pairs.pair()
    heard = b""
    for _ in range(8):
        peer.tls.write(SAID[:16_384])
        records = peer.outgoing.read()
        for start in range(0, len(records), 700):
            peer.sock.send(records[start : start + 700])
            heard += read_all(near)
    assert heard == SAID[:16_384] * 8


def test_an_answer_behind_close_notify_is_not_sent(pairs: TlsPairs) -> None:
    peer, near = pairs.pair()
    near.shutdown(socket.SHUT_WR)
    near._outgoing.write(b"an answer")
    peer.send(b"the upload")
    assert read_all(near) == b"the upload"
