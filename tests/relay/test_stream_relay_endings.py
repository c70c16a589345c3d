"""How sessions over streams end, over real sockets: each side first gets what the other one has sent."""

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tests.support.reactors import open_reactor
from tests.support.wires import receive_all, receive_exactly, stream, tcp_pair
from tests.support.wrapped import WithoutHalfClose, Wrapped
from trioedge.relay.carry import carry
from trioedge.relay.stream_relay import StreamRelay
from trioedge.relay.streams import PlainStream
from trioedge.session.session import Session
from trioedge.session.verdict import Completed, Outcome, Reason
from trioedge.testing import make_session

WORDS = bytes(range(256)) * 240
"""More than a buffer of a paced session, and than a slow client takes at once; fewer than the kernel's buffers."""

UPLOAD = bytes(3 << 20)

MODES = ["wrapped", "paced"]


@attrs.define(eq=False)
class Ends:
    """A session over streams; `client` and `upstream` are the far ends."""

    session: Session
    client: trio.SocketStream
    upstream: trio.SocketStream
    outcomes: list[Outcome] = attrs.field(factory=list)


@asynccontextmanager
async def relayed(mode: str, wrap: Any = Wrapped, **limits: float) -> AsyncIterator[Ends]:
    """Relay between two pairs of TCP sockets, for the length of the block and until the session has ended."""
    far_client, down = tcp_pair()
    far_upstream, up = tcp_pair()
    session = make_session("unix" if mode == "paced" else "192.0.2.1", now=trio.current_time())
    session.stream = PlainStream(down)
    if mode == "wrapped":
        session.stream = wrap(session.stream)
    else:  # a session that counts as a local one, which the kernel does not pace
        session.pace(4e6, 4e6)
    for name, seconds in limits.items():
        setattr(session, name, seconds)
    ends = Ends(session, stream(far_client), stream(far_upstream))
    async with open_reactor() as reactor, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def run() -> None:
            ends.outcomes.append(await carry(session, PlainStream(up), reactor))

        with trio.fail_after(5):
            await trio.testing.wait_all_tasks_blocked()
            assert isinstance(session.carrier, StreamRelay)
            yield ends
            while not ends.outcomes:
                await trio.sleep(0.001)
    await ends.client.aclose()
    await ends.upstream.aclose()


def reset(connection: trio.SocketStream) -> None:
    """Close a connection with a reset, as a process that dies with unread input does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.socket.close()


async def sip(connection: trio.SocketStream) -> bytes:
    """Receive slowly until the end."""
    data = bytearray()
    while more := await connection.receive_some(8192):
        data += more
        await trio.sleep(0.001)
    return bytes(data)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("drink", [sip, receive_all])
async def test_an_upstream_that_sends_and_resets_ends_the_download_in_order_behind_its_last_byte(
    mode: str, drink: Any
) -> None:
    async with relayed(mode) as ends:
        ends.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        await ends.upstream.send_all(WORDS)
        reset(ends.upstream)
        await trio.testing.wait_all_tasks_blocked(0.005)
        assert await drink(ends.client) == WORDS
    assert [outcome.reason for outcome in ends.outcomes] == [Reason.RESET]


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_sends_and_resets_delivers_its_bytes_and_the_reset(mode: str) -> None:
    async with relayed(mode) as ends:
        ends.upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        await ends.client.send_all(WORDS)
        await trio.testing.wait_all_tasks_blocked(0.005)
        reset(ends.client)
        assert await receive_exactly(ends.upstream, len(WORDS)) == WORDS
        with pytest.raises(trio.BrokenResourceError):
            await ends.upstream.receive_some()
    assert [outcome.reason for outcome in ends.outcomes] == [Reason.RESET]


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_resets_while_nothing_moves_is_soon_over_and_an_echo_gets_what_it_sent(mode: str) -> None:
    """The echo reads no more while its own bytes are not taken, so the relay has to take these for a dead client."""
    heard = sent = 0

    async def echo(upstream: trio.SocketStream) -> None:
        nonlocal heard
        with suppress(trio.BrokenResourceError):
            async for data in upstream:
                heard += len(data)
                with suppress(trio.BrokenResourceError):  # the bytes that arrived before the reset are still there
                    await upstream.send_all(data)

    async with relayed(mode) as ends, trio.open_nursery() as nursery:
        if mode == "paced":
            ends.session.pace(1e9, 1e9)
        nursery.start_soon(echo, ends.upstream)
        with trio.move_on_after(0.3):
            while True:
                sent += await ends.client.socket.send(WORDS)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert ends.outcomes == []
        carried = ends.session.bytes_up
        reset(ends.client)
        while not ends.outcomes:
            await trio.sleep(0.001)
    assert [outcome.reason for outcome in ends.outcomes] == [Reason.RESET]
    assert 0 < carried <= ends.session.bytes_up == heard <= sent


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("first", ["client", "upstream"])
async def test_a_side_that_resets_with_bytes_still_on_their_way_to_it_ends_a_session_whose_other_side_has_reset(
    first: str, mode: str
) -> None:
    async with relayed(mode) as ends:
        gone, left = (ends.client, ends.upstream) if first == "client" else (ends.upstream, ends.client)
        left.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await gone.send_all(WORDS)
        await trio.sleep(0.05)
        reset(gone)
        await trio.sleep(0.05)
        assert ends.outcomes == []  # some bytes are not delivered yet
        reset(left)
    assert [outcome.reason for outcome in ends.outcomes] == [Reason.RESET]


@pytest.mark.parametrize("mode", MODES)
async def test_an_answer_amid_an_upload_reaches_the_client(mode: str) -> None:
    answer = b"413 too large, " * 2_000
    for _ in range(5):
        async with relayed(mode) as ends, trio.open_nursery() as nursery:
            uploaded = trio.Event()

            @nursery.start_soon
            async def upload(ends: Ends = ends, uploaded: trio.Event = uploaded) -> None:
                with suppress(trio.BrokenResourceError):
                    await ends.client.send_all(UPLOAD)
                uploaded.set()

            await ends.upstream.receive_some(1000)
            await ends.upstream.send_all(answer)
            await ends.upstream.aclose()  # with bytes unread, so the kernel sends a reset
            await uploaded.wait()  # this client reads when it has written
            got = b""
            with suppress(trio.BrokenResourceError):
                while more := await ends.client.receive_some():
                    got += more
            assert got == answer
        assert [outcome.reason for outcome in ends.outcomes] == [Reason.RESET]


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_never_takes_its_last_bytes_is_reset_at_the_idle_limit(mode: str) -> None:
    async with relayed(mode, idle_seconds=0.1) as ends:
        ends.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await ends.upstream.send_all(WORDS)
        reset(ends.upstream)
        while not ends.outcomes:
            await trio.sleep(0.01)
        with pytest.raises(trio.BrokenResourceError):
            assert await receive_all(ends.client) != WORDS
    assert ends.outcomes == [Completed(Reason.IDLE)]


@pytest.mark.parametrize("mode", MODES)
async def test_both_sides_end_and_both_streams_are_closed_in_order(mode: str) -> None:
    async with relayed(mode) as ends:
        await ends.client.send_all(WORDS)
        await ends.client.send_eof()
        assert await receive_all(ends.upstream) == WORDS
        await ends.upstream.send_all(WORDS)
        await ends.upstream.send_eof()
        assert await receive_all(ends.client) == WORDS
    assert ends.outcomes == [Completed()]


async def test_a_stream_around_the_clients_is_closed_with_it() -> None:
    made: list[Wrapped] = []

    def wrap(inner: PlainStream) -> Wrapped:
        made.append(Wrapped(inner))
        return made[-1]

    async with relayed("wrapped", wrap) as ends:
        await ends.client.send_eof()
        await ends.upstream.send_eof()
    assert [each.closed for each in made] == [1]


async def test_an_upload_goes_on_behind_the_end_of_the_upstream_if_the_client_cannot_be_half_closed() -> None:
    async with relayed("wrapped", WithoutHalfClose) as ends, trio.open_nursery() as nursery:
        nursery.start_soon(partial(ends.client.send_all, UPLOAD))
        await receive_exactly(ends.upstream, 1000)
        await ends.upstream.send_all(WORDS)
        await ends.upstream.send_eof()
        assert len(await receive_exactly(ends.upstream, len(UPLOAD) - 1000)) == len(UPLOAD) - 1000
        assert await receive_all(ends.client) == WORDS
    assert ends.outcomes == [Completed()]


@pytest.mark.parametrize("mode", MODES)
async def test_a_cut_amid_the_last_delivery_resets_both_at_once(mode: str) -> None:
    async with relayed(mode) as ends:
        ends.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await ends.upstream.send_all(WORDS * 8)
        reset(ends.upstream)
        await trio.sleep(0.02)
        assert ends.outcomes == []
        assert ends.session.cut(Reason.EVICTED)
        await trio.testing.wait_all_tasks_blocked()
        assert ends.outcomes == [Completed(Reason.EVICTED)]
        with pytest.raises(trio.BrokenResourceError):
            await receive_all(ends.client)
