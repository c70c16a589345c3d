"""Random scripts and random clients: every world does what the talk without I/O does."""

import random

import pytest

import trioedge as te
from tests.support.talks import WORLDS, finish, hear, open_talks, say
from trioedge.session.handshake import Command
from trioedge.testing import converse, make_session

CLIENTS = 60


class Script:
    """A handshake that yields the commands of the moment, and sends back what it gets."""

    seconds, max_bytes = 5, 16

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.verdict: te.Verdict = te.CONTINUE

    def converse(self, session: te.Session) -> te.Steps:
        commands, verdict = self.commands, self.verdict
        for command in commands:
            answer = yield command
            if answer is not None and not isinstance(command, te.Peek):  # whose answer may be longer
                yield te.Send(b"[" + answer + b"]")
        return verdict


def draw(source: random.Random) -> Command:
    commands: list[Command] = [
        te.Read(source.randrange(6)),
        te.ReadUntil(source.choice([b"a", b"ab", b"aab"]), source.choice([None, 4])),
        te.Peek(source.randint(1, 5)),
        te.Send(b"word "),
    ]
    return source.choice(commands)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("world", WORLDS)
async def test_each_world_does_what_a_talk_without_io_does(world: str, seed: int) -> None:
    source, script = random.Random(seed), Script()
    async with open_talks(world, script) as talks:
        for _ in range(CLIENTS):
            script.commands = [draw(source) for _ in range(source.randrange(5))]
            proceeds = source.random() < 0.3
            if proceeds:
                script.commands += [te.PROCEED, te.Send(b"go ")]
            script.verdict = te.CONTINUE
            if not proceeds and source.random() < 0.3:
                script.verdict = te.Reject(te.Reason.CREDENTIALS, "no")
            says = bytes(source.choice(b"ab") for _ in range(source.randrange(30)))
            told = converse(script, make_session(), says)
            before = len(talks.upstream)
            client = await talks.connect()
            while says:
                cut = source.randint(1, len(says))
                await say(client, says[:cut], whole=True)
                says = says[cut:]
            await finish(client)
            heard, how = await hear(client)
            outcome = await talks.ended()
            if told.verdict is te.CONTINUE:
                assert (heard, how) == (told.sent + b"<" + told.left + b">", "end")
                assert outcome == te.Completed(te.Reason.FINISHED)
                assert talks.upstream[before:] == [told.left]
            else:
                assert heard == told.sent
                assert how == "end" or not told.sent
                left = te.Reject(te.Reason.HANDSHAKE, "the client left in the middle of it")
                assert outcome == (left if told.verdict is None else told.verdict)
                assert talks.upstream[before:] == []
