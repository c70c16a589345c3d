"""The table of endings of the relay over real sockets: no byte that was read is lost, unless the session is cut."""

import socket

import pytest
import trio

from tests.support.plain_ends import SAID, hear_to_end
from tests.support.relays import Wire, open_wires
from trioedge.loop.sockets import reset
from trioedge.session.allowance import Allowance
from trioedge.session.verdict import Completed, Reason

RESET = Completed(Reason.RESET, "Connection reset by peer")


async def fill(writer: socket.socket) -> int:
    """Write until the relay and both kernels take no more."""
    sent = 0
    with trio.move_on_after(0.15):
        while True:
            try:
                sent += writer.send(SAID[sent % len(SAID) :])
            except BlockingIOError:
                await trio.sleep(0.005)
    return sent


def small(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)


async def heard_from_lost(lost: socket.socket, slow: socket.socket, wire: Wire) -> tuple[bytes, str]:
    """Have one side send and reset, and give what the other one, which is slow, reads until its end."""
    small(slow)
    lost.send(SAID)
    await trio.sleep(0.02)
    reset(lost)
    heard = await hear_to_end(slow, slow=True)
    with trio.fail_after(5):
        await wire.over.wait()
    assert wire.outcomes == [RESET]
    return heard


@pytest.mark.parametrize("rate", [None, 1e6])
async def test_a_slow_client_gets_the_60_000_bytes_of_an_upstream_that_resets_and_then_an_end(
    rate: float | None,
) -> None:
    async with open_wires() as wires:
        wire = wires.connect(**({} if rate is None else {"down_rate": rate}))  # type: ignore[arg-type]
        assert await heard_from_lost(wire.upstream, wire.client, wire) == (SAID, "end")
        assert wire.session.bytes_down == len(SAID)


async def test_a_slow_upstream_gets_the_60_000_bytes_of_a_client_that_resets_and_then_a_reset() -> None:
    async with open_wires() as wires:
        wire = wires.connect()
        assert await heard_from_lost(wire.client, wire.upstream, wire) == (SAID, "reset")


@pytest.mark.parametrize(("side", "ending"), [("client", "reset"), ("upstream", "end")])
async def test_what_both_kernels_and_the_relay_have_of_a_reset_side_is_delivered(side: str, ending: str) -> None:
    async with open_wires() as wires:
        wire = wires.connect()
        writer, reader = (wire.client, wire.upstream) if side == "client" else (wire.upstream, wire.client)
        near = wire.relay.down if side == "client" else wire.relay.up
        small(writer)  # so that few bytes are lost in its own buffer
        await fill(writer)
        backlog = near.peer.backlog
        assert backlog is not None
        owed = near.peer.moved + len(backlog)
        reset(writer)
        heard, how = await hear_to_end(reader, slow=True)
        assert how == ending
        assert len(heard) >= owed
        assert heard == (SAID * (len(heard) // len(SAID) + 1))[: len(heard)]


async def test_an_answer_that_the_client_has_not_read_is_delivered_though_it_goes_on_sending() -> None:
    async with open_wires() as wires:
        wire = wires.connect()
        small(wire.client)
        wire.upstream.send(SAID)
        await trio.sleep(0.02)
        reset(wire.upstream)
        for _ in range(5):
            wire.client.send(b"more of the request")
            await trio.sleep(0.005)
        assert await hear_to_end(wire.client, slow=True) == (SAID, "end")


async def test_a_client_that_ends_while_it_is_owed_bytes_gets_them() -> None:
    async with open_wires() as wires:
        wire = wires.connect()
        small(wire.client)
        wire.upstream.send(SAID)
        await trio.sleep(0.02)
        reset(wire.upstream)
        await trio.sleep(0.02)
        wire.client.shutdown(socket.SHUT_WR)
        assert await hear_to_end(wire.client, slow=True) == (SAID, "end")
        with trio.fail_after(5):
            await wire.over.wait()
        assert wire.outcomes == [RESET]


async def test_a_cut_while_the_client_is_owed_bytes_is_immediate() -> None:
    async with open_wires() as wires:
        wire = wires.connect()
        small(wire.client)
        wire.upstream.send(SAID)
        await trio.sleep(0.02)
        reset(wire.upstream)
        await trio.sleep(0.02)
        assert wire.outcomes == []
        assert wire.session.cut(Reason.EVICTED)
        assert wire.outcomes == [Completed(Reason.EVICTED)]
        assert (await hear_to_end(wire.client, slow=True))[1] == "reset"


async def test_a_reset_in_a_pause_delivers_the_backlog_and_gives_up_what_was_not_read() -> None:
    async with open_wires() as wires:
        allowance = Allowance(50_000)
        wire = wires.connect(allowance=allowance)
        small(wire.client)
        wire.upstream.send(SAID)
        await trio.sleep(0.02)
        assert wire.relay.paused
        reset(wire.upstream)
        assert await hear_to_end(wire.client, slow=True) == (SAID[:50_000], "end")
        with trio.fail_after(5):
            await wire.over.wait()
        assert not allowance._waiting


async def test_a_reset_client_that_had_ended_leaves_the_upstream_a_reset_behind_its_end() -> None:
    async with open_wires() as wires:
        wire = wires.connect()
        wire.client.send(SAID)
        wire.client.shutdown(socket.SHUT_WR)
        assert await hear_to_end(wire.upstream, slow=True) == (SAID, "end")
        reset(wire.client)
        with trio.fail_after(5):
            await wire.over.wait()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            wire.upstream.send(b"an answer")


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("leaves", ["client", "upstream"])
async def test_a_side_that_first_sends_and_then_reads_is_heard_out_when_the_other_one_has_gone(
    leaves: str, local: bool
) -> None:
    """Both ways are full when one side goes: the other one reads on only once its own bytes are taken."""
    async with open_wires() as wires:
        wire = wires.connect(local=local)
        gone, stays = (wire.client, wire.upstream) if leaves == "client" else (wire.upstream, wire.client)
        await fill(stays)
        await fill(gone)
        assert wire.relay.up.backlog is not None
        assert wire.relay.down.backlog is not None
        gone.close()  # with bytes that it has not read, so that it is a reset
        with trio.fail_after(5):
            for _ in range(200):
                data = memoryview(bytes(100_000))
                while data:
                    try:
                        data = data[stays.send(data) :]
                    except BlockingIOError:
                        await trio.sleep(0.001)
            heard, _ = await hear_to_end(stays, slow=True)
            await wire.over.wait()
        assert heard
        assert wire.outcomes[0].reason is Reason.RESET
