"""The client of a session that an application answers: its backlog, its cork, its end."""

from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.cancels import cancel_at_every_step
from tests.support.client_sides import in_memory, on_sockets, receive
from trioedge.endpoints.asgi.client_side import CORK_BYTES
from trioedge.session.allowance import Allowance


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


async def test_a_reset_that_the_reader_notices_while_a_piece_is_sent_frees_the_sender() -> None:
    async with in_memory(lockstep=True) as made, trio.open_nursery() as nursery:

        async def send() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await made.side.send(bytes(100_000))

        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        made.side.lose(trio.BrokenResourceError("as told"))
        await receive(made.far, 16_384)  # the piece that was under way


async def test_a_reset_that_the_reader_notices_while_the_allowance_is_waited_for_frees_the_sender() -> None:
    allowance = Allowance(0)
    async with in_memory(allowance=allowance) as made, trio.open_nursery() as nursery:

        async def send() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await made.side.send(b"response")

        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        made.side.lose(trio.BrokenResourceError("as told"))
        allowance.lift()
