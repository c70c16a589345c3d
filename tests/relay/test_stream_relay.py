"""The relay over memory streams: bytes, ends, cuts and idle limits."""

import gc
import weakref
from contextlib import suppress
from math import inf

import pytest
import trio
import trio.testing

from tests.support.memory_relays import MemoryRelay
from tests.support.reactors import open_reactor
from tests.support.wires import receive_all
from tests.support.wrapped import WithoutHalfClose
from trioedge.relay.stream_relay import StreamRelay
from trioedge.session.verdict import Completed, Reason
from trioedge.testing import make_session


async def test_bytes_and_half_closes_are_carried_both_ways_and_counted(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    relay = MemoryRelay(nursery)
    await relay.client.send_all(b"question")
    await relay.client.send_eof()
    assert await receive_all(relay.upstream) == b"question"
    await trio.sleep(1)
    await relay.upstream.send_all(b"an answer")
    await relay.upstream.send_eof()
    assert await receive_all(relay.client) == b"an answer"
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome == Completed()
    assert (relay.session.bytes_up, relay.session.bytes_down) == (8, 9)
    assert (relay.session.service.up.bytes, relay.session.service.down.bytes) == (8, 9)


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_the_first_bytes_wake_a_quiet_session_and_the_next_ones_do_not(side: str, nursery: trio.Nursery) -> None:
    relay = MemoryRelay(nursery)
    writer, reader = (relay.client, relay.upstream) if side == "client" else (relay.upstream, relay.client)
    await trio.testing.wait_all_tasks_blocked()
    woken: list[int] = []
    relay.session.attach(lambda: woken.append(relay.session.bytes_up + relay.session.bytes_down))
    relay.session.listen()
    for _ in range(3):
        await writer.send_all(b"ping")
        assert await reader.receive_some() == b"ping"
    assert woken == [4]
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_a_side_that_breaks_ends_the_session_with_a_reset(side: str, nursery: trio.Nursery) -> None:
    relay = MemoryRelay(nursery)
    breaks, other = (relay.client, relay.upstream) if side == "client" else (relay.upstream, relay.client)
    await trio.aclose_forcefully(breaks)
    await other.send_all(b"into the void")
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome is not None
    assert relay.outcome.reason is Reason.RESET


async def test_a_slow_reader_slows_its_writer_down(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    relay = MemoryRelay(nursery, trio.testing.lockstep_stream_pair)
    sent = 0

    async def flood() -> None:
        nonlocal sent
        while True:
            await relay.upstream.send_all(bytes(65536))
            sent += 1

    nursery.start_soon(flood)
    await trio.sleep(10)
    assert sent <= 1
    await relay.client.receive_some(65536)
    await trio.sleep(1)
    assert sent <= 2
    nursery.cancel_scope.cancel()


async def test_silence_ends_the_session_and_a_half_close_shortens_the_limit(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    relay = MemoryRelay(nursery)
    relay.session.idle_seconds, relay.session.half_closed_seconds = 100.0, 5.0
    await relay.client.send_all(b"x")
    await trio.sleep(99)
    await relay.client.send_all(b"x")
    await trio.sleep(99)
    assert relay.outcome is None
    await relay.client.send_eof()
    await trio.sleep(6)
    assert relay.outcome == Completed(Reason.IDLE)


async def test_a_cut_ends_the_session_with_its_reason(nursery: trio.Nursery) -> None:
    relay = MemoryRelay(nursery)
    await trio.testing.wait_all_tasks_blocked()
    relay.session.cut(Reason.EVICTED)
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome == Completed(Reason.EVICTED)
    assert await receive_all(relay.client) == b""


async def test_an_answer_is_carried_to_its_end_after_the_upload_has_failed(nursery: trio.Nursery) -> None:
    relay = MemoryRelay(nursery)
    await relay.upstream.send_all(b"413 too ")
    assert await relay.client.receive_some() == b"413 too "
    refuse_writes(relay.up)
    await relay.client.send_all(b"more of the request")
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome is None
    await relay.upstream.send_all(b"large")
    await relay.upstream.send_eof()
    assert await receive_all(relay.client) == b"large"
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome is not None
    assert (relay.outcome.reason, relay.relay.orderly_down, relay.relay.orderly_up) == (Reason.RESET, True, False)


GONE: list[tuple[set[str], tuple[bool, bool]]] = [
    ({"upstream refuses"}, (True, False)),
    ({"client refuses"}, (False, False)),
    ({"upstream refuses", "client refuses"}, (False, False)),
    ({"upstream breaks"}, (True, False)),
    ({"client breaks"}, (False, False)),
]
"""The sides that are gone, and whether the client and the upstream are then closed in order."""


@pytest.mark.parametrize(("gone", "orderly"), GONE, ids=lambda value: ", ".join(value) if type(value) is set else "")
async def test_a_client_is_closed_in_order_when_its_upstream_is_gone_and_an_upstream_never(
    gone: set[str], orderly: tuple[bool, bool], nursery: trio.Nursery
) -> None:
    relay = MemoryRelay(nursery)
    if "upstream refuses" in gone:
        refuse_writes(relay.up)
    if "client refuses" in gone:
        refuse_writes(relay.down)
    for side, far in (("upstream", relay.upstream), ("client", relay.client)):
        if f"{side} breaks" in gone:
            breaks_next(relay.up if side == "upstream" else relay.down)
            await far.send_all(b"wake up")
    with suppress(trio.BrokenResourceError):  # of a side that is closed already
        await relay.client.send_all(b"question")
        await trio.testing.wait_all_tasks_blocked()
        await relay.upstream.send_all(b"an answer")
        await relay.upstream.send_eof()
        if "client refuses" in gone:
            await relay.client.send_eof()
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome is not None
    assert (relay.outcome.reason, (relay.relay.orderly_down, relay.relay.orderly_up)) == (Reason.RESET, orderly)


async def test_a_half_close_that_fails_leaves_the_answer_to_be_carried(nursery: trio.Nursery) -> None:
    relay = MemoryRelay(nursery)

    async def send_eof() -> None:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError("not connected")

    relay.up.send_eof = send_eof  # type: ignore[method-assign]
    await relay.client.send_eof()
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome is None
    await relay.upstream.send_all(b"an answer")
    await relay.upstream.send_eof()
    assert await receive_all(relay.client) == b"an answer"
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome == Completed(Reason.RESET, "not connected")


def breaks_next(stream: trio.abc.HalfCloseableStream) -> None:
    """Have the next read of a stream fail."""

    async def receive_some(max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError("reset")

    stream.receive_some = receive_some  # type: ignore[method-assign]


def refuse_writes(stream: trio.abc.HalfCloseableStream) -> None:
    """Have every write to a stream fail, while it still receives."""

    async def send_all(data: object) -> None:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError

    stream.send_stream.send_all = send_all  # type: ignore[attr-defined]  # of a StapledStream


async def test_the_end_of_the_upstream_finishes_a_session_whose_client_has_no_half_close(nursery: trio.Nursery) -> None:
    relay = MemoryRelay(nursery)
    relay.down = WithoutHalfClose(relay.down)  # type: ignore[assignment]
    await relay.upstream.send_all(b"all of it")
    await relay.upstream.send_eof()
    assert await receive_all(relay.client) == b"all of it"
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome == Completed()


async def test_the_end_of_the_client_leaves_an_upstream_without_half_close_time_to_answer(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    relay = MemoryRelay(nursery)
    relay.up = WithoutHalfClose(relay.up)  # type: ignore[assignment]
    await relay.client.send_all(b"question")
    await relay.client.send_eof()
    assert await relay.upstream.receive_some() == b"question"
    await trio.sleep(relay.session.half_closed_seconds - 1)
    await relay.upstream.send_all(b"answer")
    await relay.upstream.send_eof()
    assert await receive_all(relay.client) == b"answer"
    await trio.testing.wait_all_tasks_blocked()
    assert relay.outcome == Completed()


async def test_a_relay_that_waits_for_bytes_keeps_no_buffer(nursery: trio.Nursery) -> None:
    class Noted(bytearray):
        pass

    relay = MemoryRelay(nursery)
    buffers: list[weakref.ref[Noted]] = []
    receive_some = relay.down.receive_some

    async def receive_noted(max_bytes: int | None = None) -> bytearray:
        data = Noted(await receive_some(max_bytes))
        buffers.append(weakref.ref(data))
        return data

    relay.down.receive_some = receive_noted  # type: ignore[method-assign]
    await relay.client.send_all(b"question")
    assert await relay.upstream.receive_some() == b"question"
    await trio.testing.wait_all_tasks_blocked()
    assert [buffer() for buffer in buffers] == [None]
    nursery.cancel_scope.cancel()


class Mark:
    """Lives as long as its session."""


@pytest.mark.parametrize("how", ["finished", "cut", "cancelled", "broken", "idle", "during a wait"])
async def test_an_ended_relay_leaves_no_reference_cycle(how: str, autojump_clock: trio.testing.MockClock) -> None:
    gc.collect()
    gc.disable()
    try:
        async with trio.open_nursery() as nursery:
            relay = MemoryRelay(nursery, up_rate=100.0 if how == "during a wait" else inf)
            relay.session.state[Mark] = Mark()
            await relay.client.send_all(b"question")
            assert await relay.upstream.receive_some() == b"question"
            match how:
                case "finished":
                    await relay.client.send_eof()
                    await relay.upstream.send_eof()
                case "cut":
                    relay.session.cut(Reason.EVICTED)
                case "broken":
                    await trio.aclose_forcefully(relay.client)
                    await relay.upstream.send_all(b"into the void")
                case "idle":
                    await trio.sleep(relay.session.idle_seconds + 1)
                case _:
                    nursery.cancel_scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
        mark = weakref.ref(relay.session.state[Mark])
        relay.session.pace(1.0, 1.0)
        assert (relay.session.pacing, relay.session.bytes_up) == ("timeline", 8)
        del relay
        assert mark() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_a_fault_of_either_stream_stops_both_directions_and_is_raised(side: str) -> None:
    made: list[MemoryRelay] = []

    async def receive_some(max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        raise LookupError("a bug")

    async def live() -> None:
        async with trio.open_nursery() as nursery:
            made.append(relay := MemoryRelay(nursery))
            (relay.down if side == "client" else relay.up).receive_some = receive_some  # type: ignore[method-assign]
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as raised:
        await live()
    assert raised.group_contains(LookupError, match="a bug")
    for far in (made[0].client, made[0].upstream):
        assert await receive_all(far) == b""


async def test_a_relay_that_a_stage_shields_stops_when_the_edge_does() -> None:
    outcomes: list[object] = []
    down, up = (trio.testing.memory_stream_pair()[0] for _ in range(2))
    async with open_reactor() as reactor, trio.open_nursery() as nursery:
        session = make_session(now=trio.current_time())

        @nursery.start_soon
        async def run() -> None:
            with trio.CancelScope(shield=True):
                session.carrier = relay = StreamRelay(session, reactor, down, up)
                outcomes.append(await relay.run())

        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert outcomes == [Completed(Reason.DRAINED)]
