"""The relay over memory streams: a side that takes no more bytes holds up neither the other side nor the session."""

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from tests.support.memory_relays import MemoryRelay
from tests.support.wires import receive_all
from tests.support.wrapped import WithoutHalfClose
from trioedge.session.allowance import Allowance
from trioedge.session.verdict import Completed, Reason

RESET = Completed(Reason.RESET, "no more")


def refuse_writes(stream: trio.abc.HalfCloseableStream) -> trio.Event:
    """Have every write to a stream fail, once the event is set."""
    refused = trio.Event()

    async def send_all(data: object) -> None:
        await refused.wait()
        raise trio.BrokenResourceError("no more")

    stream.send_stream.send_all = send_all  # type: ignore[attr-defined]  # of a StapledStream
    return refused


async def refused(relay: MemoryRelay, side: str) -> None:
    """Let a write to one side fail."""
    near, far = (relay.down, relay.upstream) if side == "client" else (relay.up, relay.client)
    refuse_writes(near).set()
    await far.send_all(b"into the void")
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome is None


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_bytes_to_a_side_that_takes_no_more_are_dropped_while_its_own_are_delivered(
    side: str, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    relay = MemoryRelay(nursery, trio.testing.lockstep_stream_pair)
    lost, left = (relay.client, relay.upstream) if side == "client" else (relay.upstream, relay.client)
    await refused(relay, side)
    with trio.fail_after(1):
        for _ in range(3):
            await left.send_all(bytes(100_000))  # returns once all of it was received
    nursery.start_soon(lost.send_all, b"its last words")
    assert await left.receive_some(100) == b"its last words"
    await trio.testing.wait_all_tasks_blocked()
    await lost.send_eof()
    await trio.testing.wait_all_tasks_blocked()
    assert {relay.session.bytes_up, relay.session.bytes_down} == {0, len(b"its last words")}
    assert relay.outcome == RESET


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_the_end_of_the_side_that_is_left_does_not_end_what_it_is_owed(side: str, nursery: trio.Nursery) -> None:
    relay = MemoryRelay(nursery)
    lost, left = (relay.client, relay.upstream) if side == "client" else (relay.upstream, relay.client)
    await refused(relay, side)
    await left.send_eof()
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome is None
    await lost.send_all(b"its last words")
    await lost.send_eof()
    assert await receive_all(left) == b"its last words"
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome == RESET


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_when_the_other_side_breaks_too_the_session_ends_at_once_and_both_are_reset(
    side: str, nursery: trio.Nursery
) -> None:
    relay = MemoryRelay(nursery)
    other, left = (relay.up, relay.upstream) if side == "client" else (relay.down, relay.client)

    async def receive_some(max_bytes: int | None = None) -> bytes | bytearray:
        data = await receive_before(max_bytes)
        if data == b"break":
            raise trio.BrokenResourceError("broken as well")
        return data

    receive_before = other.receive_some
    other.receive_some = receive_some  # type: ignore[method-assign]
    await refused(relay, side)
    await left.send_all(b"break")
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome == RESET
    assert (relay.relay.orderly_down, relay.relay.orderly_up) == (False, False)


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_a_fault_while_bytes_are_dropped_ends_the_session_at_once(side: str) -> None:
    async def live() -> None:
        async with trio.open_nursery() as nursery:
            relay = MemoryRelay(nursery)
            other, left = (relay.up, relay.upstream) if side == "client" else (relay.down, relay.client)
            receive_before = other.receive_some

            async def receive_some(max_bytes: int | None = None) -> bytes | bytearray:
                if await receive_before(max_bytes) == b"fault":
                    raise LookupError("a bug")
                return b"as before"

            other.receive_some = receive_some  # type: ignore[method-assign]
            await refused(relay, side)
            await left.send_all(b"fault")
            await waits_for_the_fault()

    with pytest.raises(ExceptionGroup) as raised:
        await live()
    assert raised.group_contains(LookupError, match="a bug")
    assert not raised.group_contains(trio.TooSlowError)


async def test_a_fault_in_a_half_close_ends_the_session_at_once() -> None:
    async def send_eof() -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("a bug")

    async def live() -> None:
        async with trio.open_nursery() as nursery:
            relay = MemoryRelay(nursery)
            relay.up.send_eof = send_eof  # type: ignore[method-assign]
            await relay.client.send_eof()
            await waits_for_the_fault()

    with pytest.raises(ExceptionGroup) as raised:
        await live()
    assert raised.group_contains(LookupError, match="a bug")
    assert not raised.group_contains(trio.TooSlowError)


async def waits_for_the_fault() -> None:
    with trio.fail_after(1):
        await trio.sleep_forever()


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_silence_for_the_shorter_limit_ends_it_and_dropped_bytes_are_silence(
    side: str, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    relay = MemoryRelay(nursery)
    relay.session.idle_seconds, relay.session.half_closed_seconds = 100.0, 5.0
    left = relay.upstream if side == "client" else relay.client
    await trio.sleep(50)
    await refused(relay, side)
    for _ in range(4):
        await trio.sleep(1.2)
        assert relay.outcome is None
        await left.send_all(b"dropped")
    await trio.sleep(0.3)
    assert relay.outcome == Completed(Reason.IDLE)


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_a_cut_ends_it_while_bytes_are_dropped(side: str, nursery: trio.Nursery) -> None:
    relay = MemoryRelay(nursery)
    await refused(relay, side)
    relay.session.cut(Reason.EVICTED)
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome == Completed(Reason.EVICTED)


async def test_a_client_without_half_close_is_closed_when_an_upstream_that_took_no_more_ends(
    nursery: trio.Nursery,
) -> None:
    relay = MemoryRelay(nursery)
    refuse_writes(relay.up).set()
    relay.down = WithoutHalfClose(relay.down)  # type: ignore[assignment]
    await relay.client.send_all(b"a request")
    await trio.testing.wait_all_tasks_blocked()
    await relay.upstream.send_all(b"413")
    await relay.upstream.send_eof()
    assert await receive_all(relay.client) == b"413"
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome == RESET


async def test_a_half_close_refused_in_a_pause_ends_the_session_without_a_verdict(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    async def send_eof() -> None:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError("no more")

    relay = MemoryRelay(nursery, allowance=Allowance(4))
    relay.up.send_eof = send_eof  # type: ignore[method-assign]
    await relay.upstream.send_all(b"more than the session may move")
    assert await relay.client.receive_some() == b"more"
    await relay.client.send_eof()
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome == RESET


async def write_first(relay: MemoryRelay, write_fails: trio.Event) -> None:
    write_fails.set()
    await trio.testing.wait_all_tasks_blocked()
    await relay.upstream.send_all(b"more than the session may move")


async def pause_first(relay: MemoryRelay, write_fails: trio.Event) -> None:
    await relay.upstream.send_all(b"more than the session may move")
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome is None
    write_fails.set()


async def pause_before_a_read(relay: MemoryRelay, write_fails: trio.Event) -> None:
    await relay.upstream.send_all(b"1234")
    assert await relay.client.receive_some() == b"1234"
    await pause_first(relay, write_fails)


@pytest.mark.parametrize("order", [write_first, pause_first, pause_before_a_read])
async def test_a_write_refused_in_a_pause_ends_the_session_without_a_verdict(
    order: Callable[[MemoryRelay, trio.Event], Awaitable[None]],
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
) -> None:
    allowance = Allowance(12)
    relay = MemoryRelay(nursery, allowance=allowance)
    write_fails = refuse_writes(relay.up)
    await relay.client.send_all(b"question")
    await trio.testing.wait_all_tasks_blocked()
    await order(relay, write_fails)
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome == RESET
    assert await receive_all(relay.client) == b""
    assert not allowance._waiting
