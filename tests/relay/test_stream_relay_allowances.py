"""The relay over memory streams: sessions whose device is not known yet wait when their allowance is used up."""

from collections.abc import Awaitable, Callable
from functools import partial
from math import inf

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from tests.support.memory_relays import MemoryRelay
from tests.support.wires import receive_all
from trioedge.session.allowance import Allowance
from trioedge.session.verdict import Completed, Reason


async def test_both_directions_and_all_sessions_share_an_allowance(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    allowance = Allowance(100)
    relays = [MemoryRelay(nursery, allowance=allowance) for _ in range(3)]
    for relay in relays:
        await relay.client.send_all(bytes(70))
        await relay.upstream.send_all(bytes(70))
    await trio.sleep(1)
    assert 30 <= sum(relay.session.bytes_up + relay.session.bytes_down for relay in relays) <= 100
    allowance.lift()
    await trio.sleep(1)
    assert [(relay.session.bytes_up, relay.session.bytes_down) for relay in relays] == [(70, 70)] * 3
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_an_allowance_of_one_byte_lets_that_byte_pass_and_no_other(
    side: str, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    relay = MemoryRelay(nursery, allowance=Allowance(1))
    writer, reader = (relay.client, relay.upstream) if side == "client" else (relay.upstream, relay.client)
    await writer.send_all(b"xy")
    await trio.sleep(1)
    assert await reader.receive_some() == b"x"
    with trio.move_on_after(1) as waited:
        await reader.receive_some()
    assert waited.cancelled_caught
    nursery.cancel_scope.cancel()


async def test_a_pause_does_not_count_as_idle_and_the_limit_begins_anew_after_it(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    allowance = Allowance(0)
    relay = MemoryRelay(nursery, allowance=allowance)
    relay.session.idle_seconds, relay.session.half_closed_seconds = 10.0, 5.0
    await relay.client.send_all(b"question")
    await trio.sleep(100)
    assert relay.outcome is None
    allowance.lift()
    assert await relay.upstream.receive_some() == b"question"
    await trio.sleep(9.9)
    assert relay.outcome is None
    await trio.sleep(0.2)
    assert relay.outcome == Completed(Reason.IDLE)


async def test_a_side_that_ends_during_a_pause_does_not_end_the_pause(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    allowance = Allowance(8)
    relay = MemoryRelay(nursery, allowance=allowance)
    relay.session.half_closed_seconds = 5.0
    await relay.client.send_all(b"question")
    await relay.upstream.send_eof()
    await relay.client.send_all(b"and more")
    await trio.sleep(100)
    assert relay.outcome is None
    allowance.lift()
    await relay.client.send_eof()
    assert await receive_all(relay.upstream) == b"questionand more"
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome == Completed()


@pytest.mark.parametrize("wait", ["allowance", "rest of an allowance", "rate"])
@pytest.mark.parametrize("how", ["cut", "cancelled"])
async def test_a_cut_or_cancel_during_a_wait_leaves_no_task_and_no_callback(
    wait: str, how: str, autojump_clock: trio.testing.MockClock
) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    allowance = None if wait == "rate" else Allowance(0 if wait == "allowance" else 10)
    async with trio.open_nursery() as nursery:
        relay = MemoryRelay(nursery, allowance=allowance, up_rate=100.0 if wait == "rate" else inf)
        await trio.testing.wait_all_tasks_blocked()
        await relay.client.send_all(bytes(8))
        await relay.upstream.send_all(bytes(8))
        await trio.sleep(0.01)
        assert allowance is None or allowance._waiting
        if how == "cut":
            relay.session.cut(Reason.DEVICE)
            await trio.testing.wait_all_tasks_blocked()
            assert relay.outcome == Completed(Reason.DEVICE)
        else:
            nursery.cancel_scope.cancel()
    assert allowance is None or not allowance._waiting
    assert trio.lowlevel.current_statistics().tasks_living == tasks


rhythms = st.lists(st.tuples(st.integers(1, 2_000), st.sampled_from([0.0, 0.1])), max_size=5)


@examples(60)  # a second, for each is a small world
@given(
    granted=st.sampled_from([0, 1, 50, 3_000]),
    lifted_after=st.sampled_from([0.0, 0.5, 3.0, 60.0]),
    rate=st.sampled_from([inf, 2_000.0]),
    said=st.lists(rhythms, min_size=4, max_size=4),
)
def test_the_allowance_is_the_most_that_is_read_until_the_lift_and_then_every_byte_arrives_in_order(
    granted: int, lifted_after: float, rate: float, said: list[list[tuple[int, float]]]
) -> None:
    """Two sessions of a device, each with its own rhythm both ways."""
    text = bytes(range(251)) * 50
    sent = [bytearray() for _ in said]
    heard = [bytearray() for _ in said]
    allowance = Allowance(granted)

    async def talk(stream: trio.abc.HalfCloseableStream, number: int) -> None:
        for count, pause in said[number]:
            data = text[len(sent[number]) :][:count]
            sent[number] += data
            await stream.send_all(data)
            await trio.sleep(pause)
        await stream.send_eof()

    async def listen(stream: trio.abc.HalfCloseableStream, number: int) -> None:
        while data := await stream.receive_some(700):
            heard[number] += data
            assert allowance.lifted or sum(map(len, heard)) <= granted

    async def main() -> None:
        ends: list[Callable[[], Awaitable[None]]] = []
        async with trio.open_nursery() as nursery:
            relays = [MemoryRelay(nursery, allowance=allowance, down_rate=rate, up_rate=rate) for _ in range(2)]
            for relay, numbers in zip(relays, ((0, 1), (2, 3)), strict=True):
                for stream, number in ((relay.client, numbers[0]), (relay.upstream, numbers[1])):
                    nursery.start_soon(talk, stream, number)
                    ends.append(partial(listen, stream, number ^ 1))
            for end in ends:
                nursery.start_soon(end)
            await trio.sleep(lifted_after)
            allowance.lift()
        assert [relay.outcome for relay in relays] == [Completed()] * 2

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert [bytes(each) for each in heard] == [bytes(each) for each in sent]
    assert not allowance._waiting
