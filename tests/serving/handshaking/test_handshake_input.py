"""The client's socket during its handshakes: nothing of it is left in the reactor, whatever happens to it."""

import socket
from collections.abc import Iterator

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.reactors import deadlines_of
from tests.support.talks import Talks, finish, hear, hear_exactly, open_talks


@pytest.fixture(autouse=True)
def _nothing_raises() -> Iterator[None]:
    with capture_logs() as logs:
        yield
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


@te.handshake(seconds=5)
def talks_on(session: te.Session) -> te.Steps:
    while True:
        command = yield te.Read(1)
        yield te.Send(command)
        if command == b"a":
            yield te.Background(trio.sleep_forever)
        elif command == b"p":
            yield te.Peek(9, seconds=4)
        elif command == b"c":
            return te.CONTINUE
        elif command == b"r":
            return te.Reject(te.Reason.CREDENTIALS)


def kept(talks: Talks) -> tuple[int, int]:
    """Give the descriptors and the deadlines of the reactor."""
    run = talks.edge._run
    assert run is not None
    return len(run._reactor), deadlines_of(run._reactor)


async def settled(talks: Talks, kept_before: tuple[int, int]) -> None:
    with trio.fail_after(5):
        while kept(talks) != kept_before:
            await trio.sleep(0.002)


@pytest.mark.parametrize("says", ["", "x", "xa", "xp", "xr"])
@pytest.mark.parametrize("how", ["leaves", "resets", "is evicted"])
async def test_a_session_leaves_no_descriptor_and_no_deadline(says: str, how: str) -> None:
    async with open_talks("reactor", talks_on, endpoint=te.Forward("tcp://127.0.0.1:9", retries=0)) as talks:
        before = kept(talks)
        client = await talks.connect()
        await client.send_all(says.encode())
        await hear_exactly(client, says.encode())
        if how == "leaves":
            await client.aclose()
        elif how == "resets":
            assert isinstance(client, trio.SocketStream)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await client.aclose()
        else:
            talks.edge.evict(source="127.0.0.1")
        if not (says == "xa" and how == "leaves"):  # which is seen behind the answer
            await talks.ended()
            await settled(talks, before)
        elif how == "leaves":
            talks.edge.evict(source="127.0.0.1")
            await settled(talks, before)


async def test_a_reset_during_a_background_answer_ends_the_session_at_once() -> None:
    async with open_talks("reactor", talks_on) as talks:
        client = await talks.connect()
        await client.send_all(b"a")
        await hear_exactly(client, b"a")
        assert isinstance(client, trio.SocketStream)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await client.aclose()
        with trio.fail_after(1):
            assert (await talks.ended()).reason is te.Reason.HANDSHAKE


async def test_a_request_with_its_end_right_behind_is_read_to_its_end() -> None:
    @te.handshake(max_bytes=8)
    def line(session: te.Session) -> te.Steps:
        yield te.ReadUntil(b"\n")
        return te.CONTINUE

    async with open_talks("reactor", line, line) as talks:
        client = await talks.connect()
        await client.send_all(b"one\ntwo\n" + bytes(300_000))
        await finish(client)
        assert (await hear(client))[0] == b"<" + bytes(300_000) + b">"


async def test_a_handshake_that_waits_for_a_second_client_s_bytes_costs_the_first_one_no_event() -> None:
    async with open_talks("reactor", talks_on) as talks:
        first, second = await talks.connect(), await talks.connect()
        for letter in (b"x", b"y", b"z"):
            await first.send_all(letter)
            await hear_exactly(first, letter)
        await second.send_all(b"q")
        await hear_exactly(second, b"q")
        assert [each.phase for each in talks.sessions] == ["handshaking"] * 2


async def test_the_phase_of_a_session_follows_it() -> None:
    async with open_talks("reactor", talks_on) as talks:
        client = await talks.connect()
        assert talks.sessions[0].phase == "handshaking"
        assert (talks.sessions[0].bytes_up, talks.sessions[0].pacing) == (0, "")
        await client.send_all(b"c")
        await hear_exactly(client, b"c")
        while talks.sessions[0].phase == "handshaking":
            await trio.lowlevel.checkpoint()
        assert talks.sessions[0].phase in ("connecting", "relaying")
        talks.sessions[0].pace(1e6, 1e6)


async def test_rates_that_are_set_during_a_handshake_hold_behind_it() -> None:
    async with open_talks("reactor", talks_on) as talks:
        client = await talks.connect()
        await client.send_all(b"x")
        await hear_exactly(client, b"x")
        talks.sessions[0].pace(2e6, 3e6)
        await client.send_all(b"c")
        await hear_exactly(client, b"c")
        assert (talks.sessions[0].down_rate, talks.sessions[0].up_rate) == (2e6, 3e6)


async def test_a_drain_waits_for_handshakes_and_then_cuts_them() -> None:
    async with open_talks("reactor", talks_on, drain_seconds=0.1) as talks:
        client = await talks.connect()
        await client.send_all(b"x")
        await hear_exactly(client, b"x")
        talks.edge.drain()
        await trio.sleep(0.02)
        assert talks.sessions[0].outcome is None
        assert (await talks.ended()).reason is te.Reason.DRAINED
        await hear(client)


async def test_an_edge_that_ends_closes_the_sockets_that_are_parting() -> None:
    async with open_talks("reactor", talks_on) as talks:
        client = await talks.connect()
        await client.send_all(b"r")
        await talks.ended()
        (parting,) = talks.edge._run._reactor.parting  # type: ignore[union-attr]
        sock = parting._sock
        assert sock.fileno() > 0
    assert sock.fileno() == -1
