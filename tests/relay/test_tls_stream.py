"""TLS over the streams of sessions that have a task."""

import socket

import pytest
import trio
import trio.testing

from tests.support.tls import SAID, TlsPairs, TlsPeer, client_context, server_context
from trioedge.relay.streams import BareReplayStream, PlainStream
from trioedge.relay.tls_info import TlsError
from trioedge.relay.tls_stream import start_tls
from trioedge.session.verdict import Reason


async def over_a_socket(pairs: TlsPairs) -> tuple[TlsPeer, PlainStream]:
    """Have a stream over a socket start TLS, some bytes having been read ahead, and some un-read."""
    far, near = pairs.sockets()
    peer = TlsPeer(far, client_context())
    peer.step()
    stream = PlainStream(near)
    hello = await stream.receive_some()
    stream.unread(hello[100:])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.shake)
        same, info = await start_tls(stream, server_context(), hello[:100])
    assert same is stream
    assert info.version == "TLSv1.3"
    return peer, stream


async def test_a_stream_over_a_socket_goes_on_in_clear_and_gives_its_socket_away(pairs: TlsPairs) -> None:
    peer, stream = await over_a_socket(pairs)
    peer.send(b"hello")
    assert await stream.receive_some() == b"hello"
    await stream.send_all(b"answer")
    assert await peer.read(6) == b"answer"
    sock, rest = stream.detach()
    assert rest == b""
    assert sock.send(b"more") == 4
    assert await peer.read(4) == b"more"
    sock.close()


async def test_the_end_behind_the_last_bytes_is_received_though_the_socket_is_not_readable(pairs: TlsPairs) -> None:
    peer, stream = await over_a_socket(pairs)
    peer.tls.write(b"last")
    peer.say_end()
    with trio.fail_after(2):
        assert await stream.receive_some(4) == b"last"
        assert await stream.receive_some() == b""
    await stream.aclose()


async def test_an_upload_to_a_slow_reader_is_whole_and_its_end_waits_for_room(pairs: TlsPairs) -> None:
    peer, stream = await over_a_socket(pairs)
    data = SAID * 30

    async def send() -> None:
        await stream.send_all(data)
        await stream.send_eof()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            heard, how = await peer.read_to_end(65_536, 0.0001)
    assert (heard == data, how) == (True, "end")
    await stream.aclose()


async def test_a_cancelled_handshake_leaves_a_stream_that_can_be_closed(pairs: TlsPairs) -> None:
    far, near = pairs.sockets()
    stream = PlainStream(near)
    with trio.move_on_after(0.05) as scope:
        await start_tls(stream, server_context(), b"")
    assert scope.cancelled_caught
    stream.close_reset()
    with pytest.raises(ConnectionResetError):
        far.recv(1)


async def test_a_client_that_leaves_or_says_no_tls_is_told_apart(pairs: TlsPairs) -> None:
    far, near = pairs.sockets()
    far.send(b"GET / HTTP/1.1\r\n\r\n")
    stream = PlainStream(near)
    with pytest.raises(TlsError) as caught:
        await start_tls(stream, server_context(), b"")
    assert caught.value.reason is Reason.PROTOCOL
    stream.close()
    far, near = pairs.sockets()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    far.close()
    stream = PlainStream(near)
    with pytest.raises((TlsError, trio.BrokenResourceError)):
        await start_tls(stream, server_context(), b"")
    stream.close()


async def test_any_other_stream_has_tls_around_it_and_no_half_close() -> None:
    near, far = trio.testing.memory_stream_pair()
    client = trio.SSLStream(far, client_context(), server_hostname="localhost")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        stream, info = await start_tls(near, server_context(), b"")
    assert info.version == "TLSv1.3"
    assert type(stream) is BareReplayStream
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, b"hello")
        assert await stream.receive_some() == b"hello"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"answer")
        assert await client.receive_some() == b"answer"


async def test_over_any_other_stream_a_client_that_says_no_tls_is_refused_with_the_same_reason() -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.send_all(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(TlsError, match="TLS: ") as caught:
        await start_tls(near, server_context(), b"")
    assert caught.value.reason is Reason.PROTOCOL
    await far.aclose()
    near, far = trio.testing.memory_stream_pair()
    await far.send_eof()
    with pytest.raises((TlsError, trio.BrokenResourceError)):
        await start_tls(near, server_context(), b"")
