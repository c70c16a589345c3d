"""The relay over real socket pairs, in a real reactor; time, where it counts, is a MockClock's."""

import gc
import random
import socket
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import attrs
import pytest
import trio
import trio.testing

from tests.support.socket_rates import UNPACED, paced_at
from tests.support.wires import receive_all, receive_exactly, stream, tcp_pair
from trioedge.loop.reactor import BUFFER_BYTES, Reactor
from trioedge.loop.sockets import reset
from trioedge.relay import socket_relay as module
from trioedge.relay.socket_relay import READS_PER_TURN, Relay
from trioedge.session.allowance import Allowance
from trioedge.session.meter import Meter
from trioedge.session.session import Session
from trioedge.session.verdict import Completed, Outcome, Reason
from trioedge.telemetry.observer import Observer
from trioedge.testing import make_session


@attrs.define
class Wire:
    """A client and an upstream with a relay between them."""

    client: socket.socket
    upstream: socket.socket
    relay: Relay
    session: Session
    reactor: Reactor
    meters: tuple[Meter, Meter]
    outcomes: list[Outcome] = attrs.field(factory=list)
    over: trio.Event = attrs.field(factory=trio.Event)

    def ended(self, session: Session, outcome: Outcome) -> None:
        assert session is self.session
        self.outcomes.append(outcome)
        self.over.set()


_wires: list[Wire] = []


@asynccontextmanager
async def open_reactor() -> AsyncIterator[Reactor]:
    reactor = Reactor(Observer())
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        yield reactor
        for line in _wires:
            line.relay.cut(Reason.DRAINED)
            line.client.close()
            line.upstream.close()
        _wires.clear()
        nursery.cancel_scope.cancel()


def wire(
    reactor: Reactor, *, early: bytes = b"", greeted: bool = False, meter: Meter | None = None,
    allowance: Allowance | None = None, **limits: float,
) -> Wire:  # fmt: skip
    client, down = tcp_pair()
    upstream, up = tcp_pair()
    if greeted:
        upstream.send(b"hello, ")
    session = make_session(now=trio.current_time())
    session.allowance = allowance
    for name, seconds in limits.items():
        setattr(session, name, seconds)
    reactor.refresh()
    meters = (meter or Meter(), Meter())

    def ended(session: Session, outcome: Outcome) -> None:
        line.ended(session, outcome)

    relay = Relay(session, reactor, down, up, meters, ended)
    session.carrier = relay
    reactor.add(up.fileno(), relay.up)
    line = Wire(client, upstream, relay, session, reactor, meters)
    _wires.append(line)
    relay.start(early, greeted=greeted)
    return line


@pytest.mark.parametrize("seed", range(4))
async def test_no_byte_is_lost_repeated_or_reordered_whatever_the_rhythm(seed: int) -> None:
    rhythm = random.Random(seed)
    said = [rhythm.randbytes(rhythm.randrange(1, 3_000_000)) for _ in range(2)]
    heard: list[bytes] = [b"", b""]

    async def talk(connection: trio.SocketStream, data: bytes) -> None:
        at = 0
        while at < len(data):
            size = rhythm.choice((1, 64, 5_000, 65_536, 300_000))
            await connection.send_all(data[at : at + size])
            at += size
            if rhythm.random() < 0.1:
                await trio.sleep(0.001)
        await connection.send_eof()

    async def listen(connection: trio.SocketStream, number: int) -> None:
        data = bytearray()
        while more := await connection.receive_some(rhythm.choice((7, 4_096, 262_144))):
            data += more
            if rhythm.random() < 0.05:
                await trio.sleep(0.002)
        heard[number] = bytes(data)

    async with open_reactor() as reactor:
        line = wire(reactor)
        async with stream(line.client) as client, stream(line.upstream) as upstream, trio.open_nursery() as nursery:
            nursery.start_soon(talk, client, said[0])
            nursery.start_soon(listen, upstream, 0)
            nursery.start_soon(talk, upstream, said[1])
            nursery.start_soon(listen, client, 1)
        await line.over.wait()
        assert heard == said
        assert line.outcomes == [Completed()]
        assert (line.session.bytes_up, line.session.bytes_down) == (len(said[0]), len(said[1]))
        assert (line.meters[0].bytes, line.meters[1].bytes) == (len(said[0]), len(said[1]))
        assert len(reactor) == 0


async def test_a_reader_that_stops_stops_its_writer_within_a_buffer_and_then_gets_everything() -> None:
    async with open_reactor() as reactor:
        line = wire(reactor)
        sent = 0
        with trio.move_on_after(0.3):
            while True:
                try:
                    sent += line.upstream.send(bytes(BUFFER_BYTES))
                except BlockingIOError:
                    await trio.sleep(0.02)
        backlog = line.relay.down.backlog
        assert backlog is not None
        assert len(backlog) <= BUFFER_BYTES
        assert line.relay.up.backlog is None
        line.upstream.shutdown(socket.SHUT_WR)
        async with stream(line.client) as client:
            assert len(await receive_all(client)) == sent


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_a_half_close_is_carried_through_and_the_other_side_may_go_on(side: str) -> None:
    async with open_reactor() as reactor:
        line = wire(reactor)
        first, second = stream(line.client), stream(line.upstream)
        if side == "upstream":
            first, second = second, first
        async with first, second:
            await first.send_all(b"that is all")
            await first.send_eof()
            assert await receive_all(second) == b"that is all"
            await trio.testing.wait_all_tasks_blocked(0.01)
            await second.send_all(b"an answer, " * 100_000)
            await second.send_eof()
            assert await receive_all(first) == b"an answer, " * 100_000
        await line.over.wait()
        assert line.outcomes == [Completed()]


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_a_reset_is_passed_on_as_a_reset(side: str) -> None:
    async with open_reactor() as reactor:
        line = wire(reactor)
        resetter, other = (line.client, line.upstream) if side == "client" else (line.upstream, line.client)
        resetter.send(b"x")
        async with stream(other) as peer:
            assert await peer.receive_some() == b"x"
            reset(resetter)
            with pytest.raises(trio.BrokenResourceError) as raised:
                await receive_all(peer)
            assert isinstance(raised.value.__cause__, ConnectionResetError)
        assert [outcome.reason for outcome in line.outcomes] == [Reason.RESET]


async def test_a_reset_is_noticed_while_the_other_side_takes_nothing() -> None:
    async with open_reactor() as reactor:
        line = wire(reactor)
        with trio.move_on_after(0.2):
            while True:
                try:
                    line.client.send(bytes(BUFFER_BYTES))
                except BlockingIOError:
                    await trio.sleep(0.01)
        assert line.relay.up.backlog is not None
        reset(line.client)
        with trio.fail_after(1):
            await line.over.wait()
        assert [outcome.reason for outcome in line.outcomes] == [Reason.RESET]


async def test_a_reset_is_noticed_after_a_half_close() -> None:
    async with open_reactor() as reactor:
        line = wire(reactor)
        line.client.shutdown(socket.SHUT_WR)
        async with stream(line.upstream) as upstream:
            assert await upstream.receive_some() == b""
            reset(line.client)
            with trio.fail_after(1):
                await line.over.wait()
        assert [outcome.reason for outcome in line.outcomes] == [Reason.RESET]


async def test_an_answer_sent_before_a_reset_is_still_delivered() -> None:
    async with open_reactor() as reactor:
        line = wire(reactor)
        answer = b"413 too large" * 1000
        line.client.send(bytes(10_000))
        await trio.testing.wait_all_tasks_blocked(0.02)
        line.upstream.send(answer)
        line.upstream.close()  # with bytes unread, so the kernel sends a reset behind the answer
        heard = b""
        async with stream(line.client) as client:
            with trio.move_on_after(5):
                try:
                    while more := await client.receive_some():
                        heard += more
                        await client.send_all(b"more of the request")
                except trio.BrokenResourceError:
                    pass
        assert heard == answer


async def test_bytes_that_a_middleware_read_ahead_come_first() -> None:
    async with open_reactor() as reactor:
        line = wire(reactor, early=b"read ahead, ")
        line.client.send(b"then the rest")
        async with stream(line.upstream) as upstream:
            assert await receive_exactly(upstream, 25) == b"read ahead, then the rest"


async def test_a_greeting_that_came_before_the_session_is_delivered() -> None:
    async with open_reactor() as reactor:
        line = wire(reactor, greeted=True)
        line.upstream.send(b"client")
        async with stream(line.client) as client:
            assert await receive_exactly(client, 13) == b"hello, client"


async def test_urgent_data_does_not_stall_what_lies_behind_it() -> None:
    async with open_reactor() as reactor:
        line = wire(reactor)
        line.client.send(b"before")
        line.client.send(b"!", socket.MSG_OOB)
        line.client.send(b"behind")
        async with stream(line.upstream) as upstream:
            assert await receive_exactly(upstream, 12) == b"beforebehind"


async def test_one_flood_gets_a_few_buffers_a_batch_while_others_get_theirs() -> None:
    class FirstByte(Meter):
        """Notes how far the flood had come when this one's first byte went out."""

        seen: int | None = None

        @property
        def bytes(self) -> int:
            return 0

        @bytes.setter
        def bytes(self, count: int) -> None:
            if count and self.seen is None:
                self.seen = flood.relay.up.moved

    async with open_reactor() as reactor:
        meter = FirstByte()
        flood, quiet = wire(reactor), wire(reactor, meter=meter)
        for sock in (flood.client, flood.upstream, flood.relay.down.sock, flood.relay.up.sock):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        assert flood.client.send(bytes(2 << 20)) > 1 << 20
        assert quiet.client.send(b"me too") == 6
        async with stream(quiet.upstream) as upstream:
            assert await receive_exactly(upstream, 6) == b"me too"
        assert meter.seen is not None
        assert meter.seen <= 2 * READS_PER_TURN * BUFFER_BYTES


async def test_a_cut_closes_both_sockets_before_it_returns() -> None:
    async with open_reactor() as reactor:
        line = wire(reactor)
        line.client.send(b"x")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert line.session.cut(Reason.EVICTED)
        assert line.relay.down.sock.fileno() == line.relay.up.sock.fileno() == -1
        assert line.outcomes == [Completed(Reason.EVICTED)]
        assert len(reactor) == 0
        assert not line.session.cut(Reason.EVICTED)
        for sock in (line.client, line.upstream):
            async with stream(sock) as peer:
                with pytest.raises(trio.BrokenResourceError):
                    await receive_all(peer)


async def _settle() -> None:
    """Let the kernel and the reactor finish what is under way, in real time."""
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(time.sleep, 0.02)
    await trio.testing.wait_all_tasks_blocked()


async def test_silence_is_cut_at_the_idle_limit_and_a_byte_puts_it_off(mock_clock: trio.testing.MockClock) -> None:
    async with open_reactor() as reactor:
        line = wire(reactor, idle_seconds=30.0)
        mock_clock.jump(29)
        await _settle()
        line.client.send(b"x")
        await _settle()
        assert line.upstream.recv(1) == b"x"
        mock_clock.jump(29)
        await _settle()
        assert line.outcomes == []
        mock_clock.jump(1.1)
        await _settle()
        assert [outcome.reason for outcome in line.outcomes] == [Reason.IDLE]


async def test_a_half_closed_session_has_the_shorter_limit(mock_clock: trio.testing.MockClock) -> None:
    async with open_reactor() as reactor:
        line = wire(reactor, idle_seconds=600.0, half_closed_seconds=60.0)
        mock_clock.jump(100)
        await _settle()
        line.client.shutdown(socket.SHUT_WR)
        await _settle()
        mock_clock.jump(59)
        await _settle()
        assert line.outcomes == []
        mock_clock.jump(1.1)
        await _settle()
        assert [outcome.reason for outcome in line.outcomes] == [Reason.IDLE]


async def test_a_pause_is_no_silence(mock_clock: trio.testing.MockClock) -> None:
    async with open_reactor() as reactor:
        allowance = Allowance(0)
        line = wire(reactor, idle_seconds=30.0, allowance=allowance)
        line.client.send(b"x")
        for _ in range(5):
            await _settle()
            mock_clock.jump(29)
        await _settle()
        assert line.outcomes == []
        reactor.refresh()
        allowance.lift()
        await _settle()
        assert line.upstream.recv(1) == b"x"
        mock_clock.jump(29)
        await _settle()
        assert line.outcomes == []
        mock_clock.jump(1.1)
        await _settle()
        assert [outcome.reason for outcome in line.outcomes] == [Reason.IDLE]


# Rates: the kernel's to keep, the relay's to tell it.


async def test_the_kernel_paces_downloads_to_the_client_and_uploads_to_the_upstream() -> None:
    async with open_reactor() as reactor:
        line = wire(reactor, down_rate=2e6, up_rate=1e6)
        assert (paced_at(line.relay.down.sock), paced_at(line.relay.up.sock)) == (2_000_000, 1_000_000)
        assert line.session.pacing == "kernel"


@pytest.mark.parametrize(
    ("down_rate", "up_rate", "pacing"),
    [(2e6, 1e6, "kernel"), (2e6, inf, "kernel"), (inf, 1e6, "kernel"), (inf, inf, "")],
)
async def test_other_rates_hold_at_once_and_none_takes_them_away(down_rate: float, up_rate: float, pacing: str) -> None:
    async with open_reactor() as reactor:
        line = wire(reactor, down_rate=3e6)
        line.session.pace(down_rate, up_rate)
        told = [UNPACED if rate == inf else int(rate) for rate in (down_rate, up_rate)]
        assert [paced_at(line.relay.down.sock), paced_at(line.relay.up.sock)] == told
        assert line.session.pacing == pacing
        async with stream(line.client) as client, stream(line.upstream) as upstream:
            await client.send_all(b"question")
            assert await receive_exactly(upstream, 8) == b"question"


async def _bytes_within(seconds: float, connection: trio.SocketStream) -> int:
    count = 0
    with trio.move_on_after(seconds):
        while more := await connection.receive_some(65_536):
            count += len(more)
    return count


async def test_the_first_bytes_at_a_low_rate_are_some_packets_and_not_as_many_large_segments() -> None:
    """The kernel does not pace the first ten segments, each of which may have 64 KB on this interface."""
    async with open_reactor() as reactor:
        line = wire(reactor, down_rate=50_000)
        async with stream(line.client) as client, stream(line.upstream) as upstream, trio.open_nursery() as nursery:
            nursery.start_soon(upstream.send_all, bytes(1_000_000))
            assert await _bytes_within(0.15, client) < 40_000
            nursery.cancel_scope.cancel()


async def test_a_low_rate_that_is_raised_holds_at_once() -> None:
    """Not when a large packet, sent at the old rate, has had its time: at 50 kB/s that were more than two seconds."""
    async with open_reactor() as reactor:
        line = wire(reactor, down_rate=50_000)
        async with stream(line.client) as client, stream(line.upstream) as upstream, trio.open_nursery() as nursery:
            nursery.start_soon(upstream.send_all, bytes(8_000_000))
            await _bytes_within(0.1, client)
            line.session.pace(20e6, inf)
            assert await _bytes_within(0.3, client) > 1_500_000
            nursery.cancel_scope.cancel()


async def test_pieces_keep_every_byte_in_order_while_the_rate_changes() -> None:
    said = random.Random(1).randbytes(1_000_000)
    heard = bytearray()
    async with open_reactor() as reactor:
        line = wire(reactor, down_rate=1e6)
        async with stream(line.client) as client, stream(line.upstream) as upstream, trio.open_nursery() as nursery:
            nursery.start_soon(upstream.send_all, said)
            for rate in (50_000, 5e6, 200_000, inf):
                line.session.pace(rate, inf)
                heard += await client.receive_some(70_000)
            while len(heard) < len(said):
                heard += await client.receive_some(65_536)
    assert bytes(heard) == said


async def test_without_a_rate_the_kernel_is_told_nothing() -> None:
    async with open_reactor() as reactor:
        line = wire(reactor)
        assert (line.session.pacing, paced_at(line.relay.down.sock)) == ("", UNPACED)


async def test_a_rate_for_a_session_that_is_over_is_no_fault() -> None:
    async with open_reactor() as reactor:
        line = wire(reactor)
        line.relay.cut(Reason.EVICTED)
        line.session.pace(1e6, 1e6)
        assert line.relay.queued() == (0, 0)
        assert len(line.outcomes) == 1


async def test_what_the_kernel_holds_still_is_known() -> None:
    async with open_reactor() as reactor:
        line = wire(reactor)
        assert line.relay.queued() == (0, 0)
        with trio.move_on_after(0.05):
            await stream(line.upstream).send_all(bytes(1 << 24))
        down, up = line.relay.queued()
        assert 0 < down < line.relay.bytes_down
        assert up == 0


async def test_the_first_byte_after_a_rest_wakes_its_meter_and_the_next_do_not() -> None:
    woken: list[int] = []
    meter = Meter(on_wake=lambda: woken.append(meter.bytes))
    async with open_reactor() as reactor:
        line = wire(reactor, meter=meter)
        async with stream(line.client) as client, stream(line.upstream) as upstream:
            for listened in (False, True):
                if listened:
                    meter.listen()
                for _ in range(3):
                    await client.send_all(b"ping")
                    assert await receive_exactly(upstream, 4) == b"ping"
        assert woken == [16]


# Allowances.


@pytest.mark.parametrize("seed", range(4))
async def test_a_paused_session_loses_no_byte_and_gives_none_before_its_time(seed: int) -> None:
    rhythm = random.Random(seed)
    granted = rhythm.choice((0, 1, 70_000, 200_000))
    said = [rhythm.randbytes(rhythm.randrange(100_000, 1_000_000)) for _ in range(2)]
    heard = [bytearray(), bytearray()]

    async def talk(connection: trio.SocketStream, data: bytes) -> None:
        await connection.send_all(data)
        await connection.send_eof()

    async def listen(connection: trio.SocketStream, number: int) -> None:
        while more := await connection.receive_some(rhythm.choice((7, 4_096, 262_144))):
            heard[number] += more

    allowance = Allowance(granted)
    async with open_reactor() as reactor:
        line = wire(reactor, allowance=allowance)
        async with stream(line.client) as client, stream(line.upstream) as upstream, trio.open_nursery() as nursery:
            nursery.start_soon(talk, client, said[0])
            nursery.start_soon(listen, upstream, 0)
            nursery.start_soon(talk, upstream, said[1])
            nursery.start_soon(listen, client, 1)
            with trio.fail_after(5):
                while not line.relay.paused or sum(map(len, heard)) < granted:
                    await trio.sleep(0.001)
            await trio.sleep(0.02)
            assert sum(map(len, heard)) == line.relay.bytes_up + line.relay.bytes_down == granted
            allowance.lift()
        await line.over.wait()
        assert [bytes(each) for each in heard] == said
        assert line.outcomes == [Completed()]


async def test_who_waits_is_woken_though_nothing_else_happens() -> None:
    async with open_reactor() as reactor:
        allowance = Allowance(0)
        line = wire(reactor, allowance=allowance)
        line.client.send(b"question")
        line.upstream.send(b"answer")
        await trio.sleep(0.02)
        assert line.relay.paused
        allowance.lift()
        async with stream(line.client) as client, stream(line.upstream) as upstream:
            with trio.fail_after(1):
                assert await receive_exactly(upstream, 8) == b"question"
                assert await receive_exactly(client, 6) == b"answer"


async def test_a_pause_costs_nothing_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_reactor() as reactor:
        line = wire(reactor, allowance=Allowance(0))
        line.client.send(b"x")
        line.upstream.send(b"x")
        await trio.sleep(0.01)
        assert line.relay.paused
        turns = 0

        def count(resumable: object) -> None:
            nonlocal turns
            turns += 1

        monkeypatch.setattr(Reactor, "again", count)
        await trio.sleep(0.05)
        assert turns == 0


async def test_a_client_that_resets_during_a_pause_is_let_go() -> None:
    async with open_reactor() as reactor:
        allowance = Allowance(0)
        line = wire(reactor, allowance=allowance)
        line.client.send(b"x")
        await trio.sleep(0.01)
        reset(line.client)
        with trio.fail_after(1):
            await line.over.wait()
        assert [outcome.reason for outcome in line.outcomes] == [Reason.RESET]
        assert not allowance._waiting


async def test_a_session_that_is_cut_during_a_pause_is_closed_at_once() -> None:
    async with open_reactor() as reactor:
        allowance = Allowance(0)
        line = wire(reactor, allowance=allowance)
        line.client.send(b"x")
        await trio.sleep(0.01)
        line.session.cut(Reason.DEVICE)
        assert line.relay.down.sock.fileno() == line.relay.up.sock.fileno() == -1
        allowance.lift()
        await trio.sleep(0.01)
        assert line.outcomes == [Completed(Reason.DEVICE)]
        assert len(reactor) == 0


async def test_a_finished_relay_leaves_no_cycle_for_the_collector() -> None:
    async with open_reactor() as reactor:
        gc.collect()
        gc.disable()
        try:
            line = wire(reactor)
            socks = [weakref.ref(sock) for sock in (line.relay.down.sock, line.relay.up.sock)]
            line.relay.cut(Reason.EVICTED)
            line.client.close()
            line.upstream.close()
            _wires.clear()
            del line
            assert [sock() for sock in socks] == [None, None]
        finally:
            gc.enable()


# A rate holds bytes back in the kernel, and they are the session's until they are sent.


async def over_but_for(line: Wire, count: int) -> None:
    """Let both sides say all they will, while the kernel holds much of it back."""
    client, upstream = trio.SocketStream(trio.socket.from_stdlib_socket(line.client.dup())), line.upstream
    async with client:
        await client.send_eof()
        upstream.send(bytes(count))
        upstream.shutdown(socket.SHUT_WR)
        with trio.fail_after(5):
            while not line.relay.up.ended or not line.relay.down.ended:
                await trio.sleep(0.001)
        await trio.sleep(0.15)  # once at least it was looked whether it is over


async def test_a_session_lives_until_the_kernel_has_sent_what_its_rate_held_back() -> None:
    async with open_reactor() as reactor:
        line = wire(reactor, down_rate=50_000)
        await over_but_for(line, 100_000)
        assert line.outcomes == []
        assert line.relay.bytes_down == 100_000
        line.session.pace(inf, inf)
        async with stream(line.client) as client:
            with trio.fail_after(5):
                assert len(await receive_all(client)) == 100_000
                await line.over.wait()
        assert line.outcomes == [Completed()]


async def test_one_that_lingers_is_cut_like_any_other() -> None:
    async with open_reactor() as reactor:
        line = wire(reactor, down_rate=50_000)
        await over_but_for(line, 100_000)
        line.relay.cut(Reason.EVICTED)
        async with stream(line.client) as client:
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(client)
        assert line.outcomes == [Completed(Reason.EVICTED)]


async def test_one_that_lingers_for_long_is_asked_ever_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes three quarters of a second, for deadlines have ticks of a twentieth."""
    asked: list[float] = []

    def unsent_bytes(sock: socket.socket) -> int:
        asked.append(trio.current_time())
        return 1

    async with open_reactor() as reactor:
        line = wire(reactor, down_rate=50_000)
        await over_but_for(line, 100_000)
        monkeypatch.setattr(module, "unsent_bytes", unsent_bytes)
        await trio.sleep(0.75)
        assert line.outcomes == []
        assert 2 <= len(asked) <= 6, "two sockets, after 0.2 s and 0.4 s; not after each tenth"
        line.relay.cut(Reason.EVICTED)


async def test_one_that_lingers_ends_when_its_client_is_gone() -> None:
    async with open_reactor() as reactor:
        line = wire(reactor, down_rate=50_000)
        await over_but_for(line, 100_000)
        reset(line.client)
        with trio.fail_after(5):
            await line.over.wait()
        assert [outcome.reason for outcome in line.outcomes] == [Reason.RESET]


async def test_one_that_lingers_for_a_client_that_reads_nothing_ends_at_the_idle_limit() -> None:
    """The kernel can send no more than the client's buffer takes, and asks again and again."""
    async with open_reactor() as reactor:
        line = wire(reactor, down_rate=20e6, half_closed_seconds=0.3)
        line.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await over_but_for(line, 400_000)
        with trio.fail_after(5):
            await line.over.wait()
        assert [outcome.reason for outcome in line.outcomes] == [Reason.IDLE]


@pytest.mark.parametrize(("count", "rate"), [(1_000, 50_000.0), (100_000, inf)])
async def test_a_session_without_a_rate_or_of_a_few_bytes_is_over_when_both_sides_are(count: int, rate: float) -> None:
    async with open_reactor() as reactor:
        line = wire(reactor, down_rate=rate)
        await over_but_for(line, count)
        assert line.outcomes == [Completed()]
