import socket
from collections.abc import Callable
from contextlib import suppress

import pytest
import trio
import trio.testing

from tests.support.wires import receive_exactly, tcp_pair
from trioedge.relay.streams import PlainStream, ReplayStream

Make = Callable[[socket.socket], PlainStream | ReplayStream]
MAKES: list[Make] = [PlainStream, lambda sock: ReplayStream(PlainStream(sock))]


async def test_it_keeps_trios_own_promises_of_a_half_closeable_stream() -> None:
    async def make() -> tuple[PlainStream, PlainStream]:
        near, far = tcp_pair()
        return PlainStream(near), PlainStream(far)

    await trio.testing.check_half_closeable_stream(make, None)


async def test_a_full_socket_holds_the_sender_until_the_reader_reads_or_it_is_closed() -> None:
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


async def test_what_is_unread_is_received_first_and_never_more_than_asked() -> None:
    near, far = map(PlainStream, tcp_pair())
    await far.send_all(b"third")
    near.unread(b"second ")
    near.unread(b"first ")
    assert await near.receive_some(4) == b"firs"
    assert await receive_exactly(near, 14) == b"t second third"
    await near.aclose()
    await far.aclose()


async def test_detached_it_is_closed_and_the_socket_is_not() -> None:
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


async def test_a_cancelled_receive_takes_nothing() -> None:
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
async def test_a_cancelled_receive_leaves_what_was_unread(
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
async def test_a_cancelled_wait_for_room_lets_others_send(
    make: Make,
) -> None:
    sock, other = tcp_pair()
    near, far = make(sock), PlainStream(other)
    for _ in range(3):  # the kernel moves some on, a little later
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
async def test_a_cancelled_end_was_not_said(make: Make) -> None:
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


async def test_a_reset_breaks_whoever_waits() -> None:
    near, far = map(PlainStream, tcp_pair())
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await near.receive_some()

        await trio.testing.wait_all_tasks_blocked()
        far.close_reset()
    await near.aclose()


async def test_any_stream_can_be_unread_and_is_itself_otherwise() -> None:
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
