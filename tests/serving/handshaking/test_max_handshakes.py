"""Half-finished handshakes: how many there may be, which gives way, and that live sessions keep their places."""

import pytest
import trio

import trioedge as te
from tests.support.talks import WORLDS, Talks, hear, hear_exactly, open_talks

GAVE_WAY = te.Reject(te.Reason.HANDSHAKE, "gave way: too many clients are in their handshakes")
in_each_world = pytest.mark.parametrize("world", WORLDS)
FULL = te.Reject(te.Reason.OVERLOAD, "the edge has max_sessions sessions")


@te.handshake(seconds=5)
def word(session: te.Session) -> te.Steps:
    yield te.Send(b"?")
    yield te.Read(2)
    yield te.Send(b"!")
    return te.CONTINUE


async def half(talks: Talks) -> trio.abc.HalfCloseableStream:
    client = await talks.connect()
    await hear_exactly(client, b"?")
    await client.send_all(b".")
    return client


@in_each_world
async def test_the_one_that_waits_longest_gives_way_and_reads_the_end(world: str) -> None:
    async with open_talks(world, word, max_handshakes=3) as talks:
        clients = [await half(talks) for _ in range(3)]
        assert [each.outcome for each in talks.sessions] == [None] * 3
        clients.append(await half(talks))
        assert await talks.ended(0) == GAVE_WAY
        assert await hear(clients[0]) == (b"", "end")
        await clients[2].send_all(b".")  # it goes on, and takes no place any more
        await hear_exactly(clients[2], b"!")
        await half(talks)
        assert [each.outcome for each in talks.sessions[1:]] == [None] * 4
        await half(talks)
        assert await talks.ended(1) == GAVE_WAY


@in_each_world
async def test_live_sessions_never_give_way(world: str) -> None:
    async with open_talks(world, word, max_handshakes=1) as talks:
        live = []
        for _ in range(3):
            live.append(await half(talks))
            await live[-1].send_all(b".")
            await hear_exactly(live[-1], b"!")
        for _ in range(10):
            await half(talks)
        assert [each.outcome for each in talks.sessions[:3]] == [None] * 3
        assert talks.sessions[-1].outcome is None
        assert [await talks.ended(number) for number in range(3, 12)] == [GAVE_WAY] * 9


@in_each_world
async def test_clients_in_their_handshakes_take_no_place_of_max_sessions(world: str) -> None:
    async with open_talks(world, word, max_sessions=2) as talks:
        clients = [await half(talks) for _ in range(6)]
        for client in clients[:2]:
            await client.send_all(b".")
            await hear_exactly(client, b"!")
        await clients[2].send_all(b".")
        assert await talks.ended(2) == FULL
        assert [talks.sessions[each].outcome for each in (0, 1, 3, 4, 5)] == [None] * 5
        talks.edge.evict(session=talks.sessions[0])
        await clients[3].send_all(b".")
        await hear_exactly(clients[3], b"!")


async def test_a_client_whose_handshake_never_waits_takes_a_place_too() -> None:
    @te.handshake
    def at_once(session: te.Session) -> te.Steps:
        yield te.Send(b"!")
        return te.CONTINUE

    async with open_talks("reactor", at_once, max_sessions=1) as talks:
        await hear_exactly(await talks.connect(), b"!")
        await talks.connect()
        assert await talks.ended() == FULL


async def test_a_full_edge_answers_a_handshake_that_proceeds_in_its_words() -> None:
    @te.handshake(proceeds=True)
    def asks(session: te.Session) -> te.Steps:
        yield te.Read(1)
        outcome = yield te.PROCEED
        yield te.Send(b"yes" if outcome is None else outcome.reason.encode())
        return te.CONTINUE

    async with open_talks("reactor", asks, max_sessions=1) as talks:
        first, second = await talks.connect(), await talks.connect()
        await first.send_all(b".")
        await hear_exactly(first, b"yes")
        await second.send_all(b".")
        assert await hear(second) == (b"overload", "end")


@pytest.mark.parametrize("world", ["memory", "behind a middleware"])
async def test_with_a_task_clients_in_their_handshakes_take_no_place_and_a_full_edge_refuses_before(world: str) -> None:
    async with open_talks(world, word, max_sessions=1) as talks:
        clients = [await half(talks) for _ in range(3)]
        await clients[0].send_all(b".")
        await hear_exactly(clients[0], b"!")
        await clients[1].send_all(b".")
        assert await hear(clients[1]) == (b"!", "end")
        assert await talks.ended(1) == FULL
        assert [talks.sessions[each].outcome for each in (0, 2)] == [None, None]


@in_each_world
async def test_one_that_asks_in_the_background_gives_way_too_and_its_answer_is_cancelled(world: str) -> None:
    ended = trio.Event()

    async def slow() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    @te.handshake
    def asks(session: te.Session) -> te.Steps:
        if (yield te.Read(1)) == b"a":
            yield te.Background(slow)
        yield te.Read(1)
        return te.CONTINUE

    async with open_talks(world, asks, max_handshakes=1) as talks:
        client = await talks.connect()
        await client.send_all(b"a")
        await trio.sleep(0.01)
        await talks.connect()
        assert await talks.ended(0) == GAVE_WAY
        await ended.wait()
