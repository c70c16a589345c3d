"""The relay with TLS on one side or both: every byte, every ending, and no wait for an event that does not come."""

import socket
from contextlib import suppress

import pytest
import trio
import trio.lowlevel

from tests.support.plain_ends import SAID, hear_to_end
from tests.support.relays import Wire, Wires, open_wires
from tests.support.tls import BOTH, TlsPairs, TlsPeer
from trioedge.loop.sockets import reset
from trioedge.relay.tls_side import TlsSide
from trioedge.session.allowance import Allowance
from trioedge.session.verdict import FINISHED, Completed, Reason

RESET = Completed(Reason.RESET, "Connection reset by peer")


def to_client(pairs: TlsPairs, wires: Wires, version: str = "1.3", **more: float) -> tuple[TlsPeer, Wire]:
    """Begin a relay whose client speaks TLS."""
    peer, near = pairs.pair(version)
    return peer, wires.connect(client_pair=(peer.sock, near), **more)  # type: ignore[arg-type]


def to_upstream(pairs: TlsPairs, wires: Wires, version: str = "1.3") -> tuple[TlsPeer, Wire]:
    """Begin a relay whose upstream speaks TLS."""
    peer, near = pairs.pair(version, client=True)
    return peer, wires.connect(
        upstream_pair=(peer.sock, near),
    )


async def hear(sock: socket.socket, count: int) -> bytes:
    """Read so many bytes of a plain socket."""
    heard = b""
    with trio.fail_after(5):
        while len(heard) < count:
            try:
                heard += sock.recv(65_536)
            except BlockingIOError:
                await trio.sleep(0.001)
    return heard


async def over(wire: Wire) -> object:
    with trio.fail_after(5):
        await wire.over.wait()
    assert len(wire.outcomes) == 1
    return wire.outcomes[0]


@BOTH
@pytest.mark.parametrize("open_side", [to_client, to_upstream])
async def test_bytes_pass_both_ways_and_both_ends_are_told(pairs: TlsPairs, version: str, open_side: object) -> None:
    async with open_wires() as wires:
        peer, wire = open_side(pairs, wires, version)  # type: ignore[operator]
        plain = wire.upstream if open_side is to_client else wire.client
        assert TlsSide in (type(wire.relay.down), type(wire.relay.up))
        peer.send(b"hello")
        assert await hear(plain, 5) == b"hello"
        plain.send(b"answer")
        assert await peer.read(6) == b"answer"
        plain.shutdown(socket.SHUT_WR)
        assert await peer.read_to_end() == (b"", "end")
        peer.send(b"behind the end")
        assert await hear(plain, 14) == b"behind the end"
        peer.say_end()
        assert await hear_to_end(plain) == (b"", "end")
        assert await over(wire) == FINISHED
        assert wire.session.bytes_up + wire.session.bytes_down == 25


@BOTH
async def test_a_client_that_ends_first_gets_its_answer_and_then_close_notify(pairs: TlsPairs, version: str) -> None:
    async with open_wires() as wires:
        client, wire = to_client(pairs, wires, version)
        client.tls.write(b"upload")
        client.say_end()
        assert await hear_to_end(wire.upstream) == (b"upload", "end")
        wire.upstream.send(SAID)
        wire.upstream.close()
        assert await client.read_to_end() == (SAID, "end")
        assert await over(wire) == FINISHED


@BOTH
@pytest.mark.parametrize("said", [True, False])
async def test_a_client_that_closes_while_the_upstream_ends_is_cut_only_without_close_notify(
    pairs: TlsPairs, version: str, said: bool
) -> None:
    async with open_wires() as wires:
        client, wire = to_client(pairs, wires, version)
        wire.upstream.send(b"answer")
        assert await client.read(6) == b"answer"
        wire.upstream.close()  # the relay meets this first, and its close_notify meets a client that has gone
        if said:
            client.say_end()
        client.sock.close()
        outcome = await over(wire)
        assert isinstance(outcome, Completed)
        assert outcome.reason is (Reason.FINISHED if said else Reason.RESET)


async def test_a_client_that_is_cut_without_close_notify_is_a_reset_for_the_upstream(pairs: TlsPairs) -> None:
    async with open_wires() as wires:
        client, wire = to_client(pairs, wires)
        client.send(b"half of an upload")
        client.sock.close()
        assert await hear_to_end(wire.upstream) == (b"half of an upload", "reset")
        assert await over(wire) == RESET


@pytest.mark.parametrize("size", [1, 5, 6, 20])
async def test_a_part_of_a_record_that_waits_behind_bytes_that_were_read_ahead_is_carried_once_it_is_whole(
    size: int, pairs: TlsPairs
) -> None:
    peer, near = pairs.pair()
    peer.tls.write(b"the rest")
    record = peer.outgoing.read()
    peer.sock.send(record[:size])
    async with open_wires() as wires:
        await trio.sleep(0.01)
        wire = wires.connect(client_pair=(peer.sock, near), prefetched=b"read ahead, ")
        assert await hear(wire.upstream, 12) == b"read ahead, "
        peer.sock.send(record[size:])
        assert await hear(wire.upstream, 8) == b"the rest"


async def test_an_upstream_that_is_cut_without_close_notify_ends_the_session_with_reset(pairs: TlsPairs) -> None:
    async with open_wires() as wires:
        upstream, wire = to_upstream(pairs, wires)
        upstream.send(b"half of a download")
        upstream.sock.shutdown(socket.SHUT_WR)
        assert await hear_to_end(wire.client) == (b"half of a download", "end")
        assert await over(wire) == RESET


async def test_a_slow_client_gets_all_bytes_of_an_upstream_that_resets_and_then_close_notify(pairs: TlsPairs) -> None:
    async with open_wires() as wires:
        client, wire = to_client(pairs, wires)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        wire.upstream.send(SAID)
        await trio.sleep(0.02)
        reset(wire.upstream)
        assert await client.read_to_end(4_096, 0.001) == (SAID, "end")
        assert await over(wire) == RESET


async def test_a_slow_upstream_gets_all_bytes_of_a_client_that_resets_and_then_a_reset(pairs: TlsPairs) -> None:
    async with open_wires() as wires:
        upstream, wire = to_upstream(pairs, wires)
        upstream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        wire.client.send(SAID)
        await trio.sleep(0.02)
        reset(wire.client)
        assert await upstream.read_to_end(4_096, 0.001) == (SAID, "reset")
        assert await over(wire) == RESET


@pytest.mark.parametrize("open_side", [to_client, to_upstream])
async def test_a_cut_resets_both_without_close_notify(pairs: TlsPairs, open_side: object) -> None:
    async with open_wires() as wires:
        peer, wire = open_side(pairs, wires)  # type: ignore[operator]
        plain = wire.upstream if open_side is to_client else wire.client
        peer.send(b"x")
        await hear(plain, 1)
        assert wire.session.cut(Reason.EVICTED)
        assert wire.outcomes == [Completed(Reason.EVICTED)]
        assert await peer.read_to_end() == (b"", "reset")
        assert await hear_to_end(plain) == (b"", "reset")


async def test_an_idle_session_ends_with_resets(pairs: TlsPairs) -> None:
    async with open_wires() as wires:
        client, wire = to_client(pairs, wires, idle_seconds=0.2, half_closed_seconds=0.2)
        assert await client.read_to_end() == (b"", "reset")
        assert await over(wire) == Completed(Reason.IDLE, "no byte for 0.2 s")


@BOTH
async def test_a_large_download_to_a_slow_client_is_whole_and_ends_in_order(pairs: TlsPairs, version: str) -> None:
    async with open_wires() as wires:
        client, wire = to_client(pairs, wires, version)
        data = SAID * 100

        async def download() -> None:
            rest = data
            while rest:
                try:
                    rest = rest[wire.upstream.send(rest) :]
                except BlockingIOError:
                    await trio.sleep(0.001)
            wire.upstream.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(download)
            heard, how = await client.read_to_end(16_384, 0.0001)
            client.sock.close()
        assert (heard == data, how) == (True, "end")
        assert await over(wire) is not None


@pytest.mark.parametrize("open_side", [to_client, to_upstream])
async def test_a_large_upload_to_a_slow_reader_is_whole_and_ends_in_order(pairs: TlsPairs, open_side: object) -> None:
    async with open_wires() as wires:
        peer, wire = open_side(pairs, wires)  # type: ignore[operator]
        plain = wire.upstream if open_side is to_client else wire.client
        data = SAID * 100

        async def upload() -> None:
            await peer.send_all(data)
            peer.say_end()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload)
            heard = b""
            while len(heard) < len(data):
                heard += await hear(plain, 1)
                await trio.sleep(0.0001)
            assert heard == data
        plain.close()
        assert await peer.read_to_end() == (b"", "end")
        assert await over(wire) == FINISHED


async def test_close_notify_that_finds_no_room_is_said_once_the_client_reads(pairs: TlsPairs) -> None:
    async with open_wires() as wires:
        client, wire = to_client(pairs, wires)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        down = wire.relay.down
        down.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_608)
        sent = 0
        with trio.fail_after(5):
            while down.backlog is None:
                sent += wire.upstream.send(b"x" * 500)
                await trio.sleep(0.002)
        wire.upstream.shutdown(socket.SHUT_WR)
        client.say_end()
        heard, how = await client.read_to_end(1_000, 0.002)
        assert (len(heard), how) == (sent, "end")
        assert await over(wire) == FINISHED


async def test_bytes_that_were_held_in_a_pause_are_read_once_it_is_over(pairs: TlsPairs) -> None:
    async with open_wires() as wires:
        client, near = pairs.pair()
        allowance = Allowance(10)
        wire = wires.connect(client_pair=(client.sock, near), allowance=allowance)
        client.send(SAID[:5_000])
        assert await hear(wire.upstream, 10) == SAID[:10]
        await trio.sleep(0.02)
        assert wire.relay.paused
        allowance.lift()
        assert await hear(wire.upstream, 4_990) == SAID[10:5_000]


async def test_bytes_that_came_with_the_end_of_the_handshake_are_read_without_an_event(pairs: TlsPairs) -> None:
    async with open_wires() as wires:
        far, sock = pairs.sockets()
        upstream, near = pairs.pair(client=True)
        upstream.send(b"a greeting")
        assert near.recv(1, socket.MSG_PEEK) == b"a"  # a pool looks so whether it is alive
        wire = wires.connect(client_pair=(far, sock), upstream_pair=(upstream.sock, near))
        assert await hear(wire.client, 10) == b"a greeting"


async def test_the_kernel_paces_what_tls_sends(pairs: TlsPairs) -> None:
    async with open_wires() as wires:
        client, wire = to_client(pairs, wires, down_rate=200_000.0)
        assert wire.relay.pacing == "kernel"
        assert wire.relay.down.piece > 0
        data = SAID * 3
        began = trio.current_time()
        heard = bytearray()
        rest = data
        with trio.fail_after(5):
            while len(heard) < len(data):
                with suppress(BlockingIOError):
                    rest = rest[wire.upstream.send(rest) :] if rest else rest
                heard += client.read_now()
                await trio.sleep(0.002)
        assert heard == data
        assert 0.5 < trio.current_time() - began < 2


async def test_a_client_that_never_reads_costs_one_write_and_its_upstream_is_not_read(pairs: TlsPairs) -> None:
    async with open_wires() as wires:
        _, wire = to_client(pairs, wires)
        sent = 0
        with trio.move_on_after(0.3):
            while True:
                try:
                    sent += wire.upstream.send(SAID)
                except BlockingIOError:
                    await trio.sleep(0.005)
        down = wire.relay.down
        assert isinstance(down, TlsSide)
        assert down.backlog is not None
        kept = len(down.backlog) + len(down.sock._unsent) + down.sock._outgoing.pending
        assert kept <= 67_000
        assert sent < 16_000_000


async def echo_of(sock: socket.socket) -> None:
    """Send all back, at the pace of the reader, until the end."""
    while True:
        try:
            data = sock.recv(65_536)
        except BlockingIOError:
            await trio.lowlevel.checkpoint()
            continue
        if not data:
            sock.shutdown(socket.SHUT_WR)
            return
        while data:
            try:
                data = data[sock.send(data) :]
            except BlockingIOError:
                await trio.lowlevel.checkpoint()


@BOTH
async def test_two_mebibytes_at_once_both_ways_are_whole(pairs: TlsPairs, version: str) -> None:
    """In writes of every size, so that reads end within records, between them, and where the kernel has more."""
    data = SAID * 35
    sizes = (1, 50, 5_000, 70_000, 20_000, 3, 65_536)
    for _ in range(4):
        async with open_wires() as wires:
            client, wire = to_client(pairs, wires, version)

            async def upload(client: TlsPeer = client) -> None:
                at = number = 0
                while at < len(data):
                    size = sizes[number % len(sizes)]
                    await client.send_all(data[at : at + size])
                    at, number = at + size, number + 1
                    await trio.lowlevel.checkpoint()
                client.say_end()

            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(upload)
                    nursery.start_soon(echo_of, wire.upstream)
                    heard, how = await client.read_to_end()
            assert (heard == data, how) == (True, "end")
            assert await over(wire) == FINISHED
