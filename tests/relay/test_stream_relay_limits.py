"""The idle limits of the relay over streams: any byte that a side takes is a sign of life."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
import trio
import trio.testing

from tests.support.memory_relays import MemoryRelay
from tests.support.wires import tcp_pair
from trioedge.loop.reactor import TICK_SECONDS
from trioedge.relay.stream_relay import LOOKS
from trioedge.relay.streams import PlainStream
from trioedge.session.verdict import Completed, Reason

IDLE = 8.0


class Kernel(PlainStream):
    """A plain stream whose kernel has as many bytes for its client as a test says.

    Attributes:
        bytes: not acknowledged yet.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.bytes = 0

    def queued(self) -> int:
        return self.bytes


def stalled(nursery: trio.Nursery, kernel: Kernel) -> MemoryRelay:
    """Begin a long download whose client takes no byte from the relay any more."""
    relay = MemoryRelay(nursery, trio.testing.lockstep_stream_pair)
    relay.session.idle_seconds = IDLE
    relay.session.stream = kernel  # as if it were beneath the client's stream

    @nursery.start_soon
    async def flood() -> None:
        with suppress(trio.BrokenResourceError):
            while True:
                await relay.upstream.send_all(bytes(65536))

    return relay


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    near, far = tcp_pair()
    yield Kernel(near)
    near.close()
    far.close()


@pytest.mark.parametrize("queued", [0, 1_000_000])
async def test_a_client_that_never_reads_is_reset_a_tick_after_the_limit(
    queued: int, kernel: Kernel, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    relay = stalled(nursery, kernel)
    kernel.bytes = queued
    await trio.sleep(IDLE - 0.01)
    assert relay.outcome is None
    await trio.sleep(TICK_SECONDS + 0.02)
    assert relay.outcome == Completed(Reason.IDLE)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("lump", [1, 60_000])
async def test_bytes_that_only_the_kernel_delivers_are_signs_of_life(
    lump: int, kernel: Kernel, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    relay = stalled(nursery, kernel)
    kernel.bytes = 4_000_000
    for _ in range(20):
        await trio.sleep(0.9 * IDLE * (1 - 1 / LOOKS))
        kernel.bytes -= lump
    assert relay.outcome is None
    await trio.sleep(IDLE - 0.1)
    assert relay.outcome is None
    await trio.sleep(IDLE / LOOKS + 0.2)
    assert relay.outcome == Completed(Reason.IDLE)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("dropped", "asked"),
    [
        ([], [0.0, 0.001, 0.003, 0.007, 0.015, 0.031, 0.063, 0.127, 0.227, 0.327]),
        ([0, 2], [0.0, 0.001, 0.003, 0.004, 0.006, 0.010, 0.018, 0.034, 0.066, 0.130, 0.230]),
    ],
)
async def test_the_kernel_is_asked_for_the_last_bytes_ever_less_often_and_anew_when_bytes_were_dropped(
    dropped: list[int], asked: list[float], kernel: Kernel, autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
) -> None:  # fmt: skip
    times: list[float] = []

    def undelivered() -> int:
        times.append(trio.current_time())
        return int(len(times) < len(asked))

    kernel.undelivered = undelivered  # type: ignore[method-assign]
    kernel.discard = lambda: len(times) - 1 in dropped  # type: ignore[method-assign]
    relay = MemoryRelay(nursery)
    relay.session.stream = kernel
    await trio.sleep(1)
    await trio.aclose_forcefully(relay.upstream)
    await relay.client.send_all(b"to an upstream that is gone")
    await trio.sleep(1)
    assert [each - 1 for each in times] == pytest.approx(asked)
    assert relay.outcome is not None
    assert relay.outcome.reason is Reason.RESET


async def test_a_reader_of_8_kilobytes_a_second_is_never_idle_where_there_is_no_socket(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    relay = MemoryRelay(nursery, trio.testing.lockstep_stream_pair)
    relay.session.idle_seconds = 3.0

    @nursery.start_soon
    async def flood() -> None:
        with suppress(trio.BrokenResourceError):
            while True:
                await relay.upstream.send_all(bytes(65536))

    for _ in range(600):
        await relay.client.receive_some(800)
        await trio.sleep(0.1)
    assert relay.outcome is None
    await trio.sleep(3.2)
    assert relay.outcome == Completed(Reason.IDLE)
    nursery.cancel_scope.cancel()


async def test_a_silent_session_ends_a_tick_after_its_limit_and_has_no_bytes_to_send(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    relay = MemoryRelay(nursery)
    relay.session.idle_seconds, relay.session.half_closed_seconds = IDLE, 100.0
    await trio.sleep(IDLE - 0.01)
    assert relay.outcome is None
    assert relay.relay.queued() == (0, 0)
    await trio.sleep(TICK_SECONDS + 0.02)
    assert relay.outcome == Completed(Reason.IDLE)


async def test_a_silent_session_asks_the_kernel_no_more_than_once(
    kernel: Kernel, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    asked = 0

    def queued() -> int:
        nonlocal asked
        asked += 1
        return 0

    kernel.queued = queued  # type: ignore[method-assign]
    relay = MemoryRelay(nursery)
    relay.session.stream = kernel
    await trio.sleep(500)
    assert asked == 1
    nursery.cancel_scope.cancel()
