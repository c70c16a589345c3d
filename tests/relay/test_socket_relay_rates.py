"""The relay over real sockets: the kernel paces, and bytes that it delays are the session's until they are sent."""

import random
import socket
from math import inf

import pytest
import trio

from tests.support.relays import Wire, open_wires
from tests.support.socket_rates import UNPACED, paced_at
from tests.support.wires import receive_all, receive_exactly, stream
from trioedge.loop.sockets import reset
from trioedge.relay import relay_deadline
from trioedge.session.verdict import Completed, Reason


async def test_the_kernel_paces_downloads_to_the_client_and_uploads_to_the_upstream() -> None:
    async with open_wires() as wires:
        wire = wires.connect(down_rate=2e6, up_rate=1e6)
        assert (paced_at(wire.relay.down.sock), paced_at(wire.relay.up.sock)) == (2_000_000, 1_000_000)
        assert wire.session.pacing == "kernel"


@pytest.mark.parametrize(
    ("down_rate", "up_rate", "pacing"),
    [(2e6, 1e6, "kernel"), (2e6, inf, "kernel"), (inf, 1e6, "kernel"), (inf, inf, "")],
)
async def test_another_rate_applies_at_once_and_infinity_removes_it(
    down_rate: float, up_rate: float, pacing: str
) -> None:
    async with open_wires() as wires:
        wire = wires.connect(down_rate=3e6)
        wire.session.pace(down_rate, up_rate)
        expected = [UNPACED if rate == inf else int(rate) for rate in (down_rate, up_rate)]
        assert [paced_at(wire.relay.down.sock), paced_at(wire.relay.up.sock)] == expected
        assert wire.session.pacing == pacing
        async with stream(wire.client) as client, stream(wire.upstream) as upstream:
            await client.send_all(b"question")
            assert await receive_exactly(upstream, 8) == b"question"


async def bytes_within(seconds: float, connection: trio.SocketStream) -> int:
    count = 0
    with trio.move_on_after(seconds):
        while more := await connection.receive_some(65_536):
            count += len(more)
    return count


async def test_the_first_bytes_at_a_low_rate_leave_in_small_packets() -> None:
    """The kernel does not pace the first ten segments, each of which may have 64 KB on this interface."""
    async with open_wires() as wires:
        wire = wires.connect(down_rate=50_000)
        async with stream(wire.client) as client, stream(wire.upstream) as upstream, trio.open_nursery() as nursery:
            nursery.start_soon(upstream.send_all, bytes(1_000_000))
            assert await bytes_within(0.15, client) < 40_000
            nursery.cancel_scope.cancel()


async def test_a_low_rate_that_is_raised_applies_at_once() -> None:
    """A large packet that was sent at the old rate, 50 kB/s, would delay it by more than two seconds."""
    async with open_wires() as wires:
        wire = wires.connect(down_rate=50_000)
        async with stream(wire.client) as client, stream(wire.upstream) as upstream, trio.open_nursery() as nursery:
            nursery.start_soon(upstream.send_all, bytes(8_000_000))
            await bytes_within(0.1, client)
            wire.session.pace(20e6, inf)
            assert await bytes_within(0.3, client) > 1_500_000
            nursery.cancel_scope.cancel()


async def test_every_byte_arrives_in_order_while_the_rate_changes() -> None:
    said = random.Random(1).randbytes(1_000_000)
    heard = bytearray()
    async with open_wires() as wires:
        wire = wires.connect(down_rate=1e6)
        async with stream(wire.client) as client, stream(wire.upstream) as upstream, trio.open_nursery() as nursery:
            nursery.start_soon(upstream.send_all, said)
            for rate in (50_000, 5e6, 200_000, inf):
                wire.session.pace(rate, inf)
                heard += await client.receive_some(70_000)
            while len(heard) < len(said):
                heard += await client.receive_some(65_536)
    assert bytes(heard) == said


async def test_without_a_rate_the_socket_is_unpaced() -> None:
    async with open_wires() as wires:
        wire = wires.connect()
        assert (wire.session.pacing, paced_at(wire.relay.down.sock)) == ("", UNPACED)


async def test_a_rate_for_an_ended_session_does_nothing() -> None:
    async with open_wires() as wires:
        wire = wires.connect()
        wire.relay.cut(Reason.EVICTED)
        wire.session.pace(1e6, 1e6)
        assert wire.relay.queued() == (0, 0)
        assert len(wire.outcomes) == 1


async def test_bytes_that_the_kernel_has_not_sent_are_counted_as_queued() -> None:
    async with open_wires() as wires:
        wire = wires.connect()
        assert wire.relay.queued() == (0, 0)
        with trio.move_on_after(0.05):
            await stream(wire.upstream).send_all(bytes(1 << 24))
        down, up = wire.relay.queued()
        assert 0 < down < wire.relay.bytes_down
        assert up == 0


async def finish_both(wire: Wire, count: int) -> None:
    """Have both sides finish while the kernel still delays many of the bytes."""
    client, upstream = trio.SocketStream(trio.socket.from_stdlib_socket(wire.client.dup())), wire.upstream
    async with client:
        await client.send_eof()
        upstream.send(bytes(count))
        upstream.shutdown(socket.SHUT_WR)
        with trio.fail_after(5):
            while not wire.relay.up.ended or not wire.relay.down.ended:
                await trio.sleep(0.001)
        await trio.sleep(0.15)  # so that it was asked once whether the kernel has sent them


async def test_a_session_lingers_until_the_kernel_has_sent_the_bytes_that_its_rate_delays() -> None:
    async with open_wires() as wires:
        wire = wires.connect(down_rate=50_000)
        await finish_both(wire, 100_000)
        assert wire.outcomes == []
        assert wire.relay.bytes_down == 100_000
        wire.session.pace(inf, inf)
        async with stream(wire.client) as client:
            with trio.fail_after(5):
                assert len(await receive_all(client)) == 100_000
                await wire.over.wait()
        assert wire.outcomes == [Completed()]


async def test_a_lingering_session_is_cut_at_once() -> None:
    async with open_wires() as wires:
        wire = wires.connect(down_rate=50_000)
        await finish_both(wire, 100_000)
        wire.relay.cut(Reason.EVICTED)
        async with stream(wire.client) as client:
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(client)
        assert wire.outcomes == [Completed(Reason.EVICTED)]


async def test_a_lingering_session_is_looked_at_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes three quarters of a second, because deadlines have ticks of a twentieth."""
    asked: list[float] = []

    def unsent_bytes(sock: socket.socket) -> int:
        asked.append(trio.current_time())
        return 1

    async with open_wires() as wires:
        wire = wires.connect(down_rate=50_000)
        await finish_both(wire, 100_000)
        monkeypatch.setattr(relay_deadline, "unsent_bytes", unsent_bytes)
        await trio.sleep(0.75)
        assert wire.outcomes == []
        assert 2 <= len(asked) <= 6, "two sockets, after 0.2 s and 0.4 s; not after each tenth"
        wire.relay.cut(Reason.EVICTED)


async def test_a_lingering_session_ends_when_its_client_resets() -> None:
    async with open_wires() as wires:
        wire = wires.connect(down_rate=50_000)
        await finish_both(wire, 100_000)
        reset(wire.client)
        with trio.fail_after(5):
            await wire.over.wait()
        assert [outcome.reason for outcome in wire.outcomes] == [Reason.RESET]


async def test_a_lingering_session_whose_client_reads_nothing_ends_at_the_idle_limit() -> None:
    """The kernel can send no more than the client's buffer takes, and asks again and again."""
    async with open_wires() as wires:
        wire = wires.connect(down_rate=20e6, half_closed_seconds=0.3)
        wire.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await finish_both(wire, 400_000)
        with trio.fail_after(5):
            await wire.over.wait()
        assert [outcome.reason for outcome in wire.outcomes] == [Reason.IDLE]


@pytest.mark.parametrize(("count", "rate"), [(1_000, 50_000.0), (100_000, inf)])
async def test_a_session_without_a_rate_or_with_few_bytes_does_not_linger(count: int, rate: float) -> None:
    async with open_wires() as wires:
        wire = wires.connect(down_rate=rate)
        await finish_both(wire, count)
        assert wire.outcomes == [Completed()]
