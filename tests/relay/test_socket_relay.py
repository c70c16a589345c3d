"""The relay over real socket pairs in a real reactor: bytes, ends, cuts and idle limits."""

import gc
import random
import socket
import weakref

import pytest
import trio
import trio.testing

from tests.support.relays import open_wires
from tests.support.wires import receive_all, receive_exactly, stream
from trioedge.loop.reactor import BUFFER_BYTES
from trioedge.loop.sockets import reset
from trioedge.relay.relay_side import READS_PER_TURN
from trioedge.session.meter import Meter
from trioedge.session.verdict import Completed, Reason


@pytest.mark.parametrize("seed", range(4))
async def test_every_byte_arrives_once_and_in_order_whatever_the_rhythm(seed: int) -> None:
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

    async with open_wires() as wires:
        wire = wires.connect()
        async with stream(wire.client) as client, stream(wire.upstream) as upstream, trio.open_nursery() as nursery:
            nursery.start_soon(talk, client, said[0])
            nursery.start_soon(listen, upstream, 0)
            nursery.start_soon(talk, upstream, said[1])
            nursery.start_soon(listen, client, 1)
        await wire.over.wait()
        assert heard == said
        assert wire.outcomes == [Completed()]
        assert (wire.session.bytes_up, wire.session.bytes_down) == (len(said[0]), len(said[1]))
        assert (wire.session.service.up.bytes, wire.session.service.down.bytes) == (len(said[0]), len(said[1]))
        assert len(wires.reactor) == 0


async def test_a_reader_that_stops_stops_its_writer_within_a_buffer_and_later_gets_everything() -> None:
    async with open_wires() as wires:
        wire = wires.connect()
        sent = 0
        with trio.move_on_after(0.3):
            while True:
                try:
                    sent += wire.upstream.send(bytes(BUFFER_BYTES))
                except BlockingIOError:
                    await trio.sleep(0.02)
        backlog = wire.relay.down.backlog
        assert backlog is not None
        assert len(backlog) <= BUFFER_BYTES
        assert wire.relay.up.backlog is None
        wire.upstream.shutdown(socket.SHUT_WR)
        async with stream(wire.client) as client:
            assert len(await receive_all(client)) == sent


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_a_half_close_is_passed_on_and_the_other_side_may_go_on_sending(side: str) -> None:
    async with open_wires() as wires:
        wire = wires.connect()
        first, second = stream(wire.client), stream(wire.upstream)
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
        await wire.over.wait()
        assert wire.outcomes == [Completed()]


async def test_a_reset_of_the_client_reaches_the_upstream_as_a_reset() -> None:
    async with open_wires() as wires:
        wire = wires.connect()
        wire.client.send(b"x")
        async with stream(wire.upstream) as upstream:
            assert await upstream.receive_some() == b"x"
            reset(wire.client)
            with pytest.raises(trio.BrokenResourceError) as raised:
                await receive_all(upstream)
            assert isinstance(raised.value.__cause__, ConnectionResetError)
        assert wire.outcomes == [Completed(Reason.RESET, "Connection reset by peer")]


async def test_a_reset_of_the_upstream_reaches_the_client_as_an_end() -> None:
    async with open_wires() as wires:
        wire = wires.connect()
        wire.upstream.send(b"x")
        async with stream(wire.client) as client:
            assert await client.receive_some() == b"x"
            reset(wire.upstream)
            assert await receive_all(client) == b""
        assert wire.outcomes == [Completed(Reason.RESET, "Connection reset by peer")]


async def test_a_reset_is_noticed_after_a_half_close() -> None:
    async with open_wires() as wires:
        wire = wires.connect()
        wire.client.shutdown(socket.SHUT_WR)
        async with stream(wire.upstream) as upstream:
            assert await upstream.receive_some() == b""
            reset(wire.client)
            with trio.fail_after(1):
                await wire.over.wait()
        assert [outcome.reason for outcome in wire.outcomes] == [Reason.RESET]


async def test_an_answer_sent_before_a_reset_is_still_delivered() -> None:
    async with open_wires() as wires:
        wire = wires.connect()
        answer = b"413 too large" * 1000
        wire.client.send(bytes(10_000))
        await trio.testing.wait_all_tasks_blocked(0.02)
        wire.upstream.send(answer)
        wire.upstream.close()  # with bytes unread, so the kernel sends a reset behind the answer
        heard = b""
        async with stream(wire.client) as client:
            with trio.move_on_after(5):
                try:
                    while more := await client.receive_some():
                        heard += more
                        await client.send_all(b"more of the request")
                except trio.BrokenResourceError:
                    pass
        assert heard == answer


async def test_prefetched_bytes_reach_the_upstream_first() -> None:
    async with open_wires() as wires:
        wire = wires.connect(prefetched=b"read ahead, ")
        wire.client.send(b"then the rest")
        async with stream(wire.upstream) as upstream:
            assert await receive_exactly(upstream, 25) == b"read ahead, then the rest"


async def test_bytes_that_wait_behind_prefetched_ones_leave_with_them() -> None:
    async with open_wires() as wires:
        wire = wires.connect(prefetched=b"read ahead, ", spoken=b"then the rest")
        assert wire.upstream.recv(100) == b"read ahead, then the rest"
        assert wire.session.bytes_up == 25


@pytest.mark.parametrize(("ahead", "together"), [(BUFFER_BYTES - 2, BUFFER_BYTES), (BUFFER_BYTES + 2,) * 2])
async def test_prefetched_bytes_and_those_behind_them_are_at_most_a_buffer_unless_more_were_read_ahead(
    ahead: int, together: int
) -> None:
    async with open_wires() as wires:
        wire = wires.connect(prefetched=bytes(ahead), spoken=b"later")
        assert wire.relay.up.moved + len(wire.relay.up.backlog or b"") == together
        async with stream(wire.upstream) as upstream:
            assert (await receive_exactly(upstream, ahead + 5)).endswith(b"\0later")


async def test_a_greeting_whose_event_has_passed_reaches_the_client() -> None:
    async with open_wires() as wires:
        wire = wires.connect(greeting=b"hello, ")
        wire.upstream.send(b"client")
        async with stream(wire.client) as client:
            assert await receive_exactly(client, 13) == b"hello, client"


async def test_bytes_behind_urgent_data_are_carried_on() -> None:
    async with open_wires() as wires:
        wire = wires.connect()
        wire.client.send(b"before")
        wire.client.send(b"!", socket.MSG_OOB)
        wire.client.send(b"behind")
        async with stream(wire.upstream) as upstream:
            assert await receive_exactly(upstream, 12) == b"beforebehind"


async def test_a_flood_gets_a_few_buffers_before_another_session_has_its_turn() -> None:
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

    async with open_wires() as wires:
        meter = FirstByte()
        flood, quiet = wires.connect(), wires.connect(up_meter=meter)
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
    async with open_wires() as wires:
        wire = wires.connect()
        wire.client.send(b"x")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert wire.session.cut(Reason.EVICTED)
        assert wire.relay.down.sock.fileno() == wire.relay.up.sock.fileno() == -1
        assert wire.outcomes == [Completed(Reason.EVICTED)]
        assert len(wires.reactor) == 0
        assert not wire.session.cut(Reason.EVICTED)
        for sock in (wire.client, wire.upstream):
            async with stream(sock) as peer:
                with pytest.raises(trio.BrokenResourceError):
                    await receive_all(peer)


async def test_the_first_byte_after_a_listen_wakes_the_meter_and_the_next_ones_do_not() -> None:
    woken: list[int] = []
    meter = Meter(on_wake=lambda: woken.append(meter.bytes))
    async with open_wires() as wires:
        wire = wires.connect(up_meter=meter)
        async with stream(wire.client) as client, stream(wire.upstream) as upstream:
            for listened in (False, True):
                if listened:
                    meter.listen()
                for _ in range(3):
                    await client.send_all(b"ping")
                    assert await receive_exactly(upstream, 4) == b"ping"
        assert woken == [16]


async def test_an_ended_relay_leaves_no_reference_cycle() -> None:
    async with open_wires() as wires:
        gc.collect()
        gc.disable()
        try:
            wire = wires.connect()
            socks = [weakref.ref(sock) for sock in (wire.relay.down.sock, wire.relay.up.sock)]
            wire.relay.cut(Reason.EVICTED)
            wire.client.close()
            wire.upstream.close()
            wires.made.clear()
            del wire
            assert [sock() for sock in socks] == [None, None]
        finally:
            gc.enable()
