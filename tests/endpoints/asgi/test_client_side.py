"""The carrier of a session that an application answers: its counts, its rates, its backlog."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import Any, cast

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.cancels import cancel_at_every_step
from tests.support.socket_rates import UNPACED, paced_at
from tests.support.wires import tcp_pair
from trioedge.endpoints.asgi.client_side import CORK_BYTES, ClientSide
from trioedge.loop.reactor import Reactor
from trioedge.relay.streams import PlainStream
from trioedge.session.allowance import Allowance
from trioedge.session.session import Session
from trioedge.session.verdict import Reason
from trioedge.testing import make_session
from trioedge.testing.context import StillClock
from trioedge.testing.upstream import memory_pair


class TrioClock(StillClock):
    """The clock of the running test."""

    def refresh(self) -> float:
        self.now = trio.current_time()
        return self.now


@attrs.define
class World:
    session: Session
    side: ClientSide
    far: Any


@asynccontextmanager
async def world(
    near: Any, far: Any, *, down: float = inf, up: float = inf, allowance: Allowance | None = None
) -> AsyncIterator[World]:
    """Make a session's carrier over a stream, with a nursery for its backlog."""
    session = make_session()
    session.stream = near
    session.allowance = allowance
    session.pace(down, up)
    async with trio.open_nursery() as nursery:

        def send_later(flush: Callable[[], Awaitable[object]]) -> None:
            nursery.start_soon(flush)

        yield World(session, ClientSide(session, cast(Reactor, TrioClock()), send_later), far)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def in_memory(*, lockstep: bool = False, **limits: Any) -> AsyncIterator[World]:
    near, far = memory_pair(lockstep=lockstep)
    async with world(near, far, **limits) as made:
        yield made


@asynccontextmanager
async def on_sockets(**limits: Any) -> AsyncIterator[World]:
    near, far = tcp_pair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    plain, other = PlainStream(near), PlainStream(far)
    async with world(plain, other, **limits) as made:
        try:
            yield made
        finally:
            plain.close()
            other.close()


async def receive(stream: Any, count: int) -> bytes:
    data = bytearray()
    while len(data) < count and (more := await stream.receive_some(count - len(data))):
        data += more
    return bytes(data)


@pytest.mark.parametrize("opened", [in_memory, on_sockets])
async def test_bytes_of_both_ways_are_counted_for_the_session_and_its_service(opened: Any) -> None:
    async with opened() as made:
        side, service = made.side, made.session.service
        await made.far.send_all(b"request")
        assert await side.receive() == b"request"
        await side.send(b"the response")
        assert await receive(made.far, 12) == b"the response"
        assert (side.bytes_up, side.bytes_down) == (7, 12)
        assert (service.up.bytes, service.down.bytes) == (7, 12)


async def test_a_follower_hears_of_bytes() -> None:
    class Follower:
        moves = 0

        def moved(self) -> None:
            self.moves += 1

        def left(self) -> None: ...

    async with in_memory() as made:
        made.session.follow(follower := Follower())
        for act in (lambda: made.side.send(b"a"), made.side.receive):
            made.session.listen()
            await made.far.send_all(b"b")
            await act()
        assert follower.moves == 2


async def test_what_is_sent_under_a_cork_is_one_send() -> None:
    async with on_sockets() as made:
        made.side.cork()
        await made.side.send(b"head ")
        await made.side.send(b"body")
        await wait_all_tasks_blocked()
        assert not made.far.has_bytes()
        await made.side.uncork()
        assert await made.far.receive_some() == b"head body"


async def test_a_cork_collects_a_bounded_number_of_bytes_in_their_order() -> None:
    async with in_memory() as made:
        made.side.cork()
        await made.side.send(b"a")
        await made.side.send(b"b" * CORK_BYTES)
        await made.side.send(b"c")
        assert made.side.bytes_down == CORK_BYTES + 1
        await made.side.uncork()
        assert await receive(made.far, CORK_BYTES + 2) == b"a" + b"b" * CORK_BYTES + b"c"


async def test_bytes_that_a_full_socket_does_not_take_are_owed_and_arrive_in_order() -> None:
    async with on_sockets() as made, trio.open_nursery() as nursery:
        side, large = made.side, bytes(range(256)) * 20_000
        nursery.start_soon(side.send, large)
        await wait_all_tasks_blocked()
        assert side.owes
        assert 0 < side.bytes_down < len(large)
        nursery.start_soon(side.send, b"behind")
        await wait_all_tasks_blocked()
        assert await receive(made.far, len(large) + 6) == large + b"behind"
        await wait_all_tasks_blocked()
        assert not side.owes
        assert side.bytes_down == len(large) + 6


async def test_a_sender_that_is_cancelled_has_sent_all_the_same() -> None:
    async with on_sockets() as made:
        large = bytes(5_000_000)
        with trio.move_on_after(0.05) as scope:
            await made.side.send(large)
        assert scope.cancelled_caught
        assert len(await receive(made.far, len(large))) == len(large)


async def test_whenever_a_sender_is_cancelled_no_frame_is_cut_in_two(autojump_clock: MockClock) -> None:
    frame = b"f" * 40_000
    async with in_memory() as made:

        async def send() -> None:
            await made.side.send(frame)

        cancels = await cancel_at_every_step(send, lambda: None)
        await wait_all_tasks_blocked()
        assert made.side.bytes_down % len(frame) == 0
        assert cancels > 1


@pytest.mark.parametrize("opened", [in_memory, on_sockets])
async def test_a_client_that_left_breaks_the_next_send_and_those_that_wait(opened: Any) -> None:
    async with opened() as made:
        await trio.aclose_forcefully(made.far)
        with suppress(trio.BrokenResourceError):
            while True:
                await made.side.send(bytes(100_000))
        assert made.side.gone
        with pytest.raises(trio.BrokenResourceError):
            await made.side.send(b"more")


async def test_a_reset_breaks_a_receive() -> None:
    async with on_sockets() as made, trio.open_nursery() as nursery:

        async def fails() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await made.side.receive()

        nursery.start_soon(fails)
        await wait_all_tasks_blocked()
        made.far.close_reset()
    assert made.side.gone


async def test_a_cut_frees_the_socket_and_every_sender() -> None:
    async with on_sockets() as made, trio.open_nursery() as nursery:

        async def send() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await made.side.send(bytes(50_000_000))

        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        near = made.session.stream.socket
        made.side.cut(Reason.EVICTED)
        assert near.fileno() == -1


async def test_the_kernel_paces_downloads_of_a_socket_also_after_a_change() -> None:
    async with on_sockets(down=100_000) as made:
        near = made.session.stream.socket
        assert (made.side.pacing, paced_at(near)) == ("kernel", 100_000)
        made.session.carrier = made.side
        made.session.pace(50_000, inf)
        assert paced_at(near) == 50_000
        made.session.pace(inf, inf)
        assert (made.side.pacing, paced_at(near)) == ("", UNPACED)


async def test_a_timeline_keeps_the_rates_of_a_stream_in_memory(autojump_clock: MockClock) -> None:
    async with in_memory(down=10_000, up=20_000) as made:
        assert made.side.pacing == "timeline"
        await made.side.send(bytes(50_000))
        assert 4.5 <= trio.current_time() <= 5.5
        began = trio.current_time()
        await made.far.send_all(bytes(100_000))
        received = 0
        while received < 100_000:
            received += len(await made.side.receive())
        assert 4.5 <= trio.current_time() - began <= 5.5


async def test_a_change_of_the_rate_applies_to_a_wait_that_is_under_way(autojump_clock: MockClock) -> None:
    async with in_memory(down=100) as made, trio.open_nursery() as nursery:
        made.session.carrier = made.side
        nursery.start_soon(made.side.send, bytes(1_000))
        await trio.sleep(2.5)
        assert made.side.paused
        made.session.pace(1_000_000, inf)
    assert trio.current_time() < 2.6
    assert made.side.bytes_down == 1_000


async def test_an_allowance_bounds_both_ways_until_it_is_lifted(autojump_clock: MockClock) -> None:
    allowance = Allowance(10)
    async with in_memory(allowance=allowance) as made, trio.open_nursery() as nursery:
        await made.far.send_all(b"request!")
        assert await made.side.receive() == b"request!"
        nursery.start_soon(made.side.send, b"response")
        await trio.sleep(5)
        assert (made.side.bytes_down, made.side.paused) == (2, 1)
        allowance.lift()
        assert await receive(made.far, 8) == b"response"
    assert made.side.paused == 0
    assert made.side.active_at == 5


async def test_it_closes_in_order_once_the_client_has_every_byte() -> None:
    async with on_sockets() as made:
        large = bytes(1_000_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.far.send_all, bytes(3_000_000))  # and it sends what is not read any more
            nursery.start_soon(made.side.send, large)
            await wait_all_tasks_blocked()
            nursery.start_soon(made.side.finish, 5.0)
            assert len(await receive(made.far, len(large) + 1)) == len(large)
            nursery.cancel_scope.cancel()


async def test_it_waits_no_longer_than_its_patience_for_a_client_that_reads_nothing() -> None:
    async with on_sockets() as made:
        with suppress(BlockingIOError):
            while True:
                made.session.stream.socket.send(bytes(100_000))
        assert made.side.unacknowledged() > 0
        began = trio.current_time()
        with trio.fail_after(5):
            await made.side.finish(0.2)
        assert trio.current_time() - began >= 0.2
        assert made.session.stream.queued() == 0  # it is closed
