"""The counts, the rates and the allowance of a session that an application answers."""

from contextlib import suppress
from math import inf
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.client_sides import in_memory, on_sockets, receive
from tests.support.quotas import limit
from tests.support.socket_rates import UNPACED, paced_at
from trioedge.endpoints.asgi.client_side import MAX_SEND_BYTES
from trioedge.session.allowance import Allowance
from trioedge.session.verdict import Reason


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


@pytest.mark.parametrize("opened", [in_memory, on_sockets])
async def test_the_bytes_that_use_a_quota_up_cut_the_session(opened: Any) -> None:
    async with opened() as made:
        made.session.carrier = made.side
        limit(made.session, 5)
        await made.far.send_all(b"req")
        assert await made.side.receive() == b"req"
        with suppress(trio.BrokenResourceError):
            await made.side.send(b"re")
        cut_reason: Reason | None = made.session.cut_reason
        assert cut_reason is Reason.QUOTA
        assert made.side.gone
        with pytest.raises(trio.BrokenResourceError):
            await made.side.send(b"sponse")
        assert made.session.service.quota_used == 5


async def test_a_large_send_exceeds_a_quota_by_one_piece() -> None:
    async with on_sockets() as made:
        made.session.carrier = made.side
        limit(made.session, 100_000)
        with suppress(trio.BrokenResourceError):
            await made.side.send(bytes(50_000_000))
        assert made.session.cut_reason is Reason.QUOTA
        assert made.session.service.quota_used == 2 * MAX_SEND_BYTES
