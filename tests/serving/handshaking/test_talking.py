"""A session in its handshakes, as the edge sees it, and the end of a handshake."""

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.talks import WORLDS, hear_exactly, open_talks
from trioedge.serving.handshaking.talking import Talking, WaitingClients, close_conversation
from trioedge.session.conversation import ChainedHandshake, Conversation
from trioedge.telemetry.log import EdgeLog
from trioedge.testing import make_session


@te.handshake(seconds=5)
def greets(session: te.Session) -> te.Steps:
    yield te.ReadUntil(b"\n")
    yield te.Send(b"ok ")
    return te.CONTINUE


@te.handshake
def raises_at_its_end(session: te.Session) -> te.Steps:
    try:
        yield te.Read(9)
    finally:
        raise LookupError("a bug")


@pytest.mark.parametrize("world", WORLDS)
async def test_a_session_whose_client_has_to_say_more_is_handshaking(world: str) -> None:
    async with open_talks(world, greets) as talks:
        client = await talks.connect()
        await client.send_all(b"fi")
        await trio.sleep(0.01)
        assert talks.sessions[0].phase == "handshaking"
        await client.send_all(b"ne\n")
        await hear_exactly(client, b"ok ")
        await trio.sleep(0.01)
        assert talks.sessions[0].phase == "relaying"


def test_a_session_in_its_handshakes_has_moved_nothing() -> None:
    talking = Talking()
    talking.pace(1.0, 1.0)
    talking.cut(te.Reason.EVICTED)
    assert (talking.bytes_up, talking.bytes_down, talking.queued()) == (0, 0, (0, 0))
    assert (talking.began_at, talking.pacing) == (None, "")


async def test_a_handshake_that_raises_when_it_is_closed_is_logged_with_its_name() -> None:
    session = make_session()
    chained = ChainedHandshake("token", raises_at_its_end, 5, 64, lambda _: te.CONTINUE, last=True)
    conversation = Conversation(chained, session, bytearray())
    conversation.begin()
    with capture_logs() as logs:
        close_conversation(conversation, session, EdgeLog())
    (line,) = logs
    assert (line["event"], line["session"], line["stage"]) == ("handshake failed", session.id, "token")


class Waits:
    def __init__(self, gave_way: list["Waits"]) -> None:
        self._gave_way = gave_way

    def give_way(self) -> None:
        self._gave_way.append(self)


def test_of_two_places_the_one_that_waits_longest_and_has_not_left_gives_way() -> None:
    gave_way: list[Waits] = []
    waiting = WaitingClients(2)
    one, two, three, four = (Waits(gave_way) for _ in range(4))
    waiting.enter(one)
    waiting.enter(two)
    assert (len(waiting), gave_way) == (2, [])
    waiting.leave(one)
    waiting.leave(one)
    waiting.enter(three)
    assert (len(waiting), gave_way) == (2, [])
    waiting.enter(four)
    assert (len(waiting), gave_way) == (2, [two])
