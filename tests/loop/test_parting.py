"""Sockets that are closed in order behind the last words to their clients."""

import socket
from contextlib import suppress

import pytest
import trio

from tests.support.reactors import deadlines_of, open_reactor
from tests.support.wires import receive_all, stream, tcp_pair
from trioedge.loop.parting import MAX_PARTING, PARTING_BYTES, PARTING_SECONDS, part
from trioedge.loop.reactor import Reactor


async def until_none(reactor: Reactor) -> None:
    with trio.fail_after(5):
        while reactor.parting:
            await trio.sleep(0.001)
    assert deadlines_of(reactor) == 0
    assert len(reactor) == 0


async def read(client: trio.SocketStream) -> bytes:
    """Receive to the end of the connection; a reset raises."""
    with trio.fail_after(5):
        return await receive_all(client)


@pytest.mark.parametrize("unread", [0, 10, 200_000])
@pytest.mark.parametrize("half_closed", [True, False])
async def test_a_client_reads_the_words_and_the_end_however_much_of_it_is_unread(
    unread: int, half_closed: bool
) -> None:
    near, far = tcp_pair()
    async with open_reactor() as reactor, stream(far) as client, trio.open_nursery() as nursery:
        requested = trio.Event()
        nursery.start_soon(request, client, unread, half_closed, requested)
        await trio.sleep(0.01)
        reactor.refresh()
        part(reactor, near, b"sorry")
        assert await read(client) == b"sorry"
        await requested.wait()
        await client.aclose()
        await until_none(reactor)
    assert near.fileno() == -1


async def request(client: trio.SocketStream, size: int, half_closed: bool, requested: trio.Event) -> None:
    await client.send_all(bytes(size))
    if half_closed:
        await client.send_eof()
    requested.set()


async def test_an_end_that_comes_with_the_last_bytes_is_seen() -> None:
    near, far = tcp_pair()
    far.send(b"request")
    far.shutdown(socket.SHUT_WR)
    async with open_reactor() as reactor:
        await trio.sleep(0.01)
        reactor.refresh()
        part(reactor, near, b"sorry")
        with trio.fail_after(PARTING_SECONDS / 2):
            await until_none(reactor)
        assert far.recv(100) == b"sorry"
        assert far.recv(100) == b""
    far.close()


async def test_a_client_that_stays_is_reset_in_the_end() -> None:
    near, far = tcp_pair()
    async with open_reactor() as reactor:
        reactor.refresh()
        part(reactor, near, b"sorry")
        began = trio.current_time()
        await until_none(reactor)
        assert trio.current_time() - began > PARTING_SECONDS / 2
        assert near.fileno() == -1
    far.close()


async def test_a_client_that_floods_is_closed() -> None:
    near, far = tcp_pair()
    async with open_reactor() as reactor, stream(far) as client:
        reactor.refresh()
        part(reactor, near)
        with pytest.raises(trio.BrokenResourceError), trio.fail_after(5):
            await client.send_all(bytes(20 * PARTING_BYTES))
        await until_none(reactor)


async def test_a_client_that_is_gone_is_closed_at_once() -> None:
    near, far = tcp_pair()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    far.close()
    async with open_reactor() as reactor:
        await trio.sleep(0.01)
        part(reactor, near, b"sorry")
        await until_none(reactor)
    assert near.fileno() == -1


async def test_a_client_whose_buffers_are_full_costs_no_time() -> None:
    near, far = tcp_pair()
    with suppress(BlockingIOError):
        while True:
            near.send(bytes(1 << 16))
    async with open_reactor() as reactor:
        part(reactor, near, b"sorry")
    assert near.fileno() == -1
    far.close()


async def test_the_one_that_parts_for_the_longest_gives_way() -> None:
    near, far = tcp_pair()
    others = [socket.socketpair() for _ in range(MAX_PARTING)]
    async with open_reactor() as reactor:
        reactor.refresh()
        part(reactor, near)
        for mine, _ in others:
            mine.setblocking(False)
            part(reactor, mine)
        assert near.fileno() == -1
        assert len(reactor.parting) == MAX_PARTING
    assert {mine.fileno() for mine, _ in others} == {-1}
    for _, theirs in others:
        theirs.close()
    far.close()


async def test_an_exception_of_a_callback_closes_its_socket() -> None:
    near, far = tcp_pair()
    async with open_reactor() as reactor:
        part(reactor, near)
        (parting,) = reactor.parting
        parting.crashed(LookupError("a bug"))
        parting.crashed(LookupError("again"))
        await until_none(reactor)
    assert near.fileno() == -1
    far.close()


async def test_a_socket_that_cannot_be_watched_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = tcp_pair()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Reactor, "add_reader", refuse)
    async with open_reactor() as reactor:
        part(reactor, near, b"sorry")
        assert near.fileno() == -1
        assert len(reactor.parting) == 0
    assert far.recv(10) == b"sorry"
    far.close()
