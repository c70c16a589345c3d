"""The relay over real socket pairs: a session whose device is not known yet is paused when its allowance is used up."""

import random

import pytest
import trio
import trio.testing

from tests.support.relays import open_wires
from tests.support.wires import receive_exactly, stream
from trioedge.loop.reactor import Reactor
from trioedge.loop.sockets import reset
from trioedge.session.allowance import Allowance
from trioedge.session.verdict import Completed, Reason


@pytest.mark.parametrize("seed", range(4))
async def test_a_paused_session_moves_its_allowance_and_after_the_lift_every_byte(seed: int) -> None:
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
    async with open_wires() as wires:
        wire = wires.connect(allowance=allowance)
        async with stream(wire.client) as client, stream(wire.upstream) as upstream, trio.open_nursery() as nursery:
            nursery.start_soon(talk, client, said[0])
            nursery.start_soon(listen, upstream, 0)
            nursery.start_soon(talk, upstream, said[1])
            nursery.start_soon(listen, client, 1)
            with trio.fail_after(5):
                while not wire.relay.paused or sum(map(len, heard)) < granted:
                    await trio.sleep(0.001)
            await trio.sleep(0.02)
            assert sum(map(len, heard)) == wire.relay.bytes_up + wire.relay.bytes_down == granted
            allowance.lift()
        await wire.over.wait()
        assert [bytes(each) for each in heard] == said
        assert wire.outcomes == [Completed()]


async def test_bytes_behind_prefetched_ones_count_for_the_allowance() -> None:
    async with open_wires() as wires:
        wire = wires.connect(allowance=Allowance(3), prefetched=b"ahead", spoken=b"behind")
        await trio.sleep(0.02)
        assert wire.upstream.recv(100) == b"aheadbeh"
        assert wire.relay.paused


async def test_a_lift_resumes_a_relay_whose_sockets_have_no_new_event() -> None:
    async with open_wires() as wires:
        allowance = Allowance(0)
        wire = wires.connect(allowance=allowance)
        wire.client.send(b"question")
        wire.upstream.send(b"answer")
        await trio.sleep(0.02)
        assert wire.relay.paused
        allowance.lift()
        async with stream(wire.client) as client, stream(wire.upstream) as upstream:
            with trio.fail_after(1):
                assert await receive_exactly(upstream, 8) == b"question"
                assert await receive_exactly(client, 6) == b"answer"


async def test_a_paused_relay_does_not_ask_the_reactor_for_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_wires() as wires:
        wire = wires.connect(allowance=Allowance(0))
        wire.client.send(b"x")
        wire.upstream.send(b"x")
        await trio.sleep(0.01)
        assert wire.relay.paused
        turns = 0

        def count(resumable: object) -> None:
            nonlocal turns
            turns += 1

        monkeypatch.setattr(Reactor, "again", count)
        await trio.sleep(0.05)
        assert turns == 0


async def test_a_client_that_resets_during_a_pause_ends_the_session() -> None:
    async with open_wires() as wires:
        allowance = Allowance(0)
        wire = wires.connect(allowance=allowance)
        wire.client.send(b"x")
        await trio.sleep(0.01)
        reset(wire.client)
        with trio.fail_after(1):
            await wire.over.wait()
        assert [outcome.reason for outcome in wire.outcomes] == [Reason.RESET]
        assert not allowance._waiting


async def test_a_session_that_is_cut_during_a_pause_is_closed_at_once() -> None:
    async with open_wires() as wires:
        allowance = Allowance(0)
        wire = wires.connect(allowance=allowance)
        wire.client.send(b"x")
        await trio.sleep(0.01)
        wire.session.cut(Reason.DEVICE)
        assert wire.relay.down.sock.fileno() == wire.relay.up.sock.fileno() == -1
        allowance.lift()
        await trio.sleep(0.01)
        assert wire.outcomes == [Completed(Reason.DEVICE)]
        assert len(wires.reactor) == 0
