import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from tests.support.wires import receive_exactly, tcp_pair
from trioedge.relay.streams import PlainStream, ReplayStream

Make = Callable[[socket.socket], PlainStream | ReplayStream]


class Unprintable:
    def __repr__(self) -> str:
        raise LookupError("no text")


MAKES: list[Make] = [PlainStream, lambda sock: ReplayStream(PlainStream(sock))]


async def test_a_plain_stream_passes_trios_check_of_half_closeable_streams() -> None:
    async def make() -> tuple[PlainStream, PlainStream]:
        near, far = tcp_pair()
        return PlainStream(near), PlainStream(far)

    await trio.testing.check_half_closeable_stream(make, None)


async def test_a_sender_waits_for_a_full_socket_until_it_is_closed_and_other_senders_find_it_busy() -> None:
    near, far = map(PlainStream, tcp_pair())
    with trio.move_on_after(0.1) as scope:
        await near.send_all(bytes(64 << 20))
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await near.send_all(bytes(64 << 20))

        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await near.send_all(b"x")
        with pytest.raises(trio.BusyResourceError):
            await near.wait_send_all_might_not_block()
        with pytest.raises(trio.BusyResourceError):
            await near.send_eof()
        assert await far.receive_some(1000) == bytes(1000)
        await trio.aclose_forcefully(near)
    await far.aclose()


async def test_unread_bytes_are_received_first_and_never_more_than_asked() -> None:
    near, far = map(PlainStream, tcp_pair())
    await far.send_all(b"third")
    near.unread(b"second ")
    near.unread(b"first ")
    assert await near.receive_some(4) == b"firs"
    assert await receive_exactly(near, 14) == b"t second third"
    await near.aclose()
    await far.aclose()


async def test_a_detached_stream_is_closed_and_its_socket_is_open() -> None:
    near, far = map(PlainStream, tcp_pair())
    near.unread(b"early")
    sock, early = near.detach()
    assert early == b"early"
    assert sock.fileno() > 0
    with pytest.raises(trio.ClosedResourceError):
        await near.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        near.detach()
    await near.aclose()
    sock.close()
    await far.aclose()


async def test_a_bare_socket_is_carried_as_it_is_and_is_whole_once_it_is_asked_for() -> None:
    sock, far = tcp_pair()
    bare = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, sock.detach())
    bare.setblocking(False)
    near, fd = PlainStream(bare), bare.fileno()
    heard: list[bytes] = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def hear() -> None:
            heard.append(await near.receive_some())

        await trio.testing.wait_all_tasks_blocked()
        whole = near.socket
        assert (type(whole), whole.fileno(), whole.gettimeout()) == (socket.socket, fd, 0.0)
        assert near.socket is whole
        far.send(b"early")
    assert heard == [b"early"]
    assert near.detach() == (whole, b"")
    whole.close()
    far.close()


async def test_the_first_read_of_a_fresh_stream_gives_no_other_task_a_turn_if_bytes_are_there() -> None:
    sock, far = tcp_pair()
    near = PlainStream(sock, fresh=True)
    far.send(b"of a client")
    with pytest.raises(AssertionError), trio.testing.assert_checkpoints():
        await near.receive_some(2)
    for _ in range(3):
        with trio.testing.assert_checkpoints():
            await near.receive_some(2)
    await near.aclose()
    far.close()


async def test_the_first_read_of_a_fresh_stream_may_be_cancelled() -> None:
    sock, far = tcp_pair()
    near = PlainStream(sock, fresh=True)
    far.send(b"all of it")
    with trio.CancelScope() as scope:
        scope.cancel()
        await near.receive_some()
    assert scope.cancelled_caught
    assert await near.receive_some() == b"all of it"
    await near.aclose()
    far.close()


async def test_a_cancelled_receive_receives_nothing() -> None:
    near, far = map(PlainStream, tcp_pair())
    with trio.move_on_after(0.01) as scope:
        await near.receive_some()
    assert scope.cancelled_caught
    await far.send_all(b"all of it")
    with trio.CancelScope() as scope:
        scope.cancel()
        await near.receive_some()
    assert await near.receive_some() == b"all of it"
    await near.aclose()
    await far.aclose()


@pytest.mark.parametrize("make", MAKES)
async def test_a_cancelled_receive_leaves_the_unread_bytes(
    make: Make,
) -> None:
    sock, other = tcp_pair()
    near, far = make(sock), PlainStream(other)
    near.unread(b"early")
    with trio.CancelScope() as scope:
        scope.cancel()
        await near.receive_some()
    assert scope.cancelled_caught
    with trio.fail_after(5):
        assert await near.receive_some() == b"early"
    await near.aclose()
    await far.aclose()


@pytest.mark.parametrize("make", MAKES)
async def test_after_a_cancelled_wait_for_room_another_task_may_send(
    make: Make,
) -> None:
    sock, other = tcp_pair()
    near, far = make(sock), PlainStream(other)
    for _ in range(3):  # the kernel makes room once more, a little later
        with suppress(BlockingIOError):
            while sock.send(bytes(1 << 20)):
                pass
        await trio.sleep(0.01)
    with trio.move_on_after(0.01) as scope:
        await near.wait_send_all_might_not_block()
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.wait_send_all_might_not_block)
        while nursery.child_tasks:
            await far.receive_some()
    await near.aclose()
    await far.aclose()


@pytest.mark.parametrize("make", MAKES)
async def test_after_a_cancelled_half_close_the_stream_still_sends(make: Make) -> None:
    sock, other = tcp_pair()
    near, far = make(sock), PlainStream(other)
    with trio.CancelScope() as scope:
        scope.cancel()
        await near.send_eof()
    assert scope.cancelled_caught
    await near.send_all(b"more")
    await near.send_eof()
    assert await receive_exactly(far, 5) == b"more"
    await near.aclose()
    await far.aclose()


async def test_a_reset_breaks_a_waiting_receiver() -> None:
    near, far = map(PlainStream, tcp_pair())
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await near.receive_some()

        await trio.testing.wait_all_tasks_blocked()
        far.close_reset()
    await near.aclose()


async def test_a_replay_stream_passes_trios_check_and_takes_bytes_back() -> None:
    async def make() -> tuple[ReplayStream, ReplayStream]:
        near, far = trio.testing.memory_stream_pair()
        return ReplayStream(near), ReplayStream(far)

    await trio.testing.check_half_closeable_stream(make, None)
    near, far = await make()
    await far.send_all(b"third")
    near.unread(b"second ")
    near.unread(b"first ")
    assert await near.receive_some(4) == b"firs"
    assert await receive_exactly(near, 14) == b"t second third"


async def test_unread_bytes_are_not_received_once_the_stream_is_closed() -> None:
    near, far = map(PlainStream, tcp_pair())
    near.unread(b"early")
    near.close()
    with pytest.raises(trio.ClosedResourceError):
        await near.receive_some()
    await far.aclose()


async def test_a_receive_of_no_bytes_is_refused_also_when_bytes_were_unread() -> None:
    near, far = map(PlainStream, tcp_pair())
    near.unread(b"early")
    with pytest.raises(ValueError, match="at least 1"):
        await near.receive_some(0)
    assert await near.receive_some() == b"early"
    await near.aclose()
    await far.aclose()


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("data", [b"head", bytearray(b"head"), memoryview(b"head"), memoryview(b"h.e.a.d.")[::2]])
async def test_anything_bytes_like_can_be_unread(make: Make, data: bytes | bytearray | memoryview) -> None:
    near, far = tcp_pair()
    plain = make(near)
    plain.unread(data)
    assert await plain.receive_some() == b"head"
    await plain.aclose()
    far.close()


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("data", [5, "head", [104, 101], None, Unprintable()])
async def test_what_is_not_bytes_like_cannot_be_unread(make: Make, data: Any) -> None:
    near, far = tcp_pair()
    plain = make(near)
    plain.unread(b"head")
    with pytest.raises(TypeError, match=r"stream\.unread\(.+\) needs bytes, a bytearray or a memoryview"):
        plain.unread(data)
    assert await plain.receive_some() == b"head"
    await plain.aclose()
    far.close()


async def test_what_can_be_sent_and_received_at_once_is_and_the_rest_is_left() -> None:
    near, far = map(PlainStream, tcp_pair())
    assert near.receive_now() is None
    assert near.send_now(b"") == 0
    sent = near.send_now(bytes(64 << 20))
    assert 0 < sent < 64 << 20
    assert near.send_now(b"more") == 0
    assert 0 < near.queued() == near.undelivered() <= sent
    assert far.has_bytes()
    got = 0
    while (data := far.receive_now()) is not None:
        got += len(data)
    assert 0 < got <= sent
    near.close()
    far.close()
    assert (near.queued(), near.undelivered(), near.has_bytes()) == (0, 0, False)
    for act in (near.receive_now, lambda: near.send_now(b"x")):
        with pytest.raises(trio.ClosedResourceError):
            act()


async def test_a_read_that_came_back_short_makes_the_next_one_wait_before_it_tries() -> None:
    near, far = map(PlainStream, tcp_pair())
    await far.send_all(b"all of it")
    assert near.receive_now(100) == b"all of it"
    await far.send_all(b"more")
    assert near.receive_now(100) is None
    assert near.receive_now(100) == b"more"
    await far.send_all(b"and more")
    assert await near.receive_some(3) == b"and"
    assert near.receive_now(100) == b" more"
    await far.send_eof()
    assert await near.receive_some() == b""
    assert await near.receive_some() == b""
    near.close()
    far.close()


async def test_bytes_in_a_local_socket_are_with_their_reader_already() -> None:
    one, other = socket.socketpair()
    one.setblocking(False)
    near = PlainStream(one)
    assert near.send_now(b"unread") == 6
    assert near.queued() > 0
    assert near.undelivered() == 0
    near.close()
    other.close()


async def test_discarded_bytes_make_room_for_the_sender_and_a_broken_stream_has_none() -> None:
    near, far = map(PlainStream, tcp_pair())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(far.send_all, bytes(32 << 20))
        await trio.testing.wait_all_tasks_blocked()
        while nursery.child_tasks:
            near.discard()
            await trio.lowlevel.checkpoint()
    while near.has_bytes():
        near.discard()
    await far.send_all(b"short")
    near.discard()
    assert not near.has_bytes(), "although the last read came back short"
    far.close_reset()
    await trio.lowlevel.wait_readable(near.socket)
    near.discard()
    assert not near.has_bytes()
    near.close()
    near.discard()


async def test_a_socket_that_takes_no_more_is_broken_and_a_busy_one_says_so() -> None:
    near, far = map(PlainStream, tcp_pair())
    far.close_reset()
    with pytest.raises(trio.BrokenResourceError):
        near.send_now(b"x")
    near.close()
    near, far = map(PlainStream, tcp_pair())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_all, bytes(64 << 20))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            near.send_now(b"x")
        nursery.cancel_scope.cancel()
    near.close()
    far.close()
