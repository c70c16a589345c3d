"""A handshake that proceeds tells its client the truth about the connect, whatever that comes to."""

from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.middlewares import read_ahead, wrap
from tests.support.ports import deaf_port
from tests.support.talks import WORLDS, finish, hear, hear_exactly, open_talks, pass_on, say
from tests.support.wires import server

UNREAD = bytes(200_000)


@te.handshake(proceeds=True)
def asks(session: te.Session) -> te.Steps:
    yield te.ReadUntil(b"\n")
    yield te.Send(b"wait ")
    outcome = yield te.PROCEED
    if outcome is None:
        yield te.Send(b"yes ")
        yield te.Send(b"go ")
    else:
        yield te.Send(f"no: {outcome.reason} {outcome.detail}\n".encode())
    return te.CONTINUE


@te.decision
def refuse(session: te.Session) -> te.Verdict:
    return te.Reject(te.Reason.POLICY, "closed")


@te.decision
def fail(session: te.Session) -> te.Verdict:
    raise LookupError("a bug")


@te.decision
def cut(session: te.Session) -> te.Verdict:
    session.cut(te.Reason.EVICTED)
    return te.CONTINUE


async def talk(world: str, *behind: object, **changes: Any) -> tuple[bytes, str, te.Completed | te.Reject]:
    """Have a client ask, send much that no upstream takes, and finish; give its last words and the outcome."""
    with capture_logs():
        async with open_talks(world, asks, behind=behind, **changes) as talks:
            client = await talks.connect()
            await client.send_all(b"hi\n")
            await hear_exactly(client, b"wait ")
            await say(client, UNREAD, whole=True)
            await finish(client)
            words, how = await hear(client)
            return words, how, await talks.ended()


@pytest.mark.parametrize("world", WORLDS)
async def test_a_client_whose_upstream_is_connected_is_told_so_before_its_bytes(world: str) -> None:
    async with open_talks(world, asks) as talks:
        client = await talks.connect()
        await client.send_all(b"hi\nquestion")
        await finish(client)
        assert await hear(client) == (b"wait yes go <question>", "end")
        assert await talks.ended() == te.Completed(te.Reason.FINISHED)


@pytest.mark.parametrize("world", WORLDS)
async def test_a_client_whose_upstream_refuses_reads_the_words_and_then_the_end(world: str) -> None:
    words, how, outcome = await talk(world, refusing=True)
    assert words.startswith(b"no: upstream_refused ")
    assert how == "end"
    assert outcome.reason is te.Reason.UPSTREAM_REFUSED


@pytest.mark.parametrize("world", WORLDS)
async def test_a_client_whose_destination_is_forbidden_reads_so(world: str) -> None:
    @te.decision(provides=("destination",))
    def inward(session: te.Session) -> te.Verdict:
        session.destination = "tcp://10.0.0.1:1"
        return te.CONTINUE

    if world == "memory":  # whose upstream takes every address
        return
    words, how, outcome = await talk(world, inward, endpoint=te.Forward())
    assert (words[:22], how) == (b"no: upstream_forbidden", "end")
    assert outcome.reason is te.Reason.UPSTREAM_FORBIDDEN


@pytest.mark.parametrize("world", WORLDS)
async def test_a_client_that_has_no_destination_reads_so(world: str) -> None:
    control = te.MemoryControl({"default": te.Policy()})
    words, how, outcome = await talk(world, endpoint=te.Forward(), control=control)
    assert (words[:12], how) == (b"no: service ", "end")
    assert outcome.reason is te.Reason.SERVICE


@pytest.mark.parametrize("world", WORLDS)
async def test_a_decision_behind_that_refuses_is_told(world: str) -> None:
    words, how, outcome = await talk(world, refuse)
    assert (words, how) == (b"no: policy closed\n", "end")
    assert outcome == te.Reject(te.Reason.POLICY, "closed")


@pytest.mark.parametrize("world", WORLDS)
async def test_a_decision_behind_that_raises_ends_this_session_with_a_fault(world: str) -> None:
    words, how, outcome = await talk(world, fail)
    assert outcome.reason is te.Reason.FAULT
    assert (words[:9], how) in ((b"no: fault", "end"), (b"", "reset"), (b"", "end"))


@pytest.mark.parametrize("world", WORLDS)
async def test_a_decision_behind_that_cuts_the_session_ends_it_without_a_word(world: str) -> None:
    words, _, outcome = await talk(world, cut)
    assert (words, outcome.reason) == (b"", te.Reason.EVICTED)


@pytest.mark.parametrize("stage", [read_ahead, wrap])
@pytest.mark.parametrize("world", WORLDS)
async def test_a_middleware_behind_that_uses_the_stream_is_the_connect(world: str, stage: object) -> None:
    async with open_talks(world, asks, behind=(stage,)) as talks:
        client = await talks.connect()
        await client.send_all(b"hi\nquestion")
        await finish(client)
        assert await hear(client) == (b"wait yes go <question>", "end")


async def uses(session: te.Session) -> te.Outcome:
    await session.stream.send_all(b"welcome ")
    data = await session.stream.receive_some(100)
    await session.stream.send_all(b"[" + data + b"]")
    return te.Completed()


async def ends(session: te.Session) -> te.Outcome:
    await session.stream.send_eof()
    return te.Completed()


async def declines(session: te.Session) -> te.Outcome:
    return te.Reject(te.Reason.POLICY, "not today")


async def breaks(session: te.Session) -> te.Outcome:
    raise LookupError("a bug")


@pytest.mark.parametrize(
    ("endpoint", "hears", "reason"),
    [
        (uses, b"wait yes go welcome [question]", te.Reason.FINISHED),
        (ends, b"wait yes go ", te.Reason.FINISHED),
        (declines, b"wait no: policy not today\n", te.Reason.POLICY),
        (breaks, b"wait ", te.Reason.FAULT),
    ],
)
@pytest.mark.parametrize("world", WORLDS)
async def test_an_endpoint_of_ones_own_answers_by_its_first_use_of_the_stream(
    world: str, endpoint: Any, hears: bytes, reason: te.Reason
) -> None:
    with capture_logs():
        async with open_talks(world, asks, endpoint=endpoint) as talks:
            client = await talks.connect()
            await client.send_all(b"hi\nquestion")
            await finish(client)
            words, _ = await hear(client)
            assert (words, (await talks.ended()).reason) == (hears, reason)


class Relaying:
    """An endpoint of a user's own that relays with the edge's relay."""

    relays = True

    def __init__(self, where: str) -> None:
        self.where = where

    def open(self, context: te.EdgeContext) -> "LiveRelaying":
        return LiveRelaying(self.where, context)


class LiveRelaying:
    def __init__(self, where: str, context: te.EdgeContext) -> None:
        self.where, self.context = where, context

    async def handle(self, session: te.Session) -> te.Outcome:
        return await self.context.relay(session, self.where)


@pytest.mark.parametrize("behind", [(), (pass_on,), (wrap,)])
@pytest.mark.parametrize("world", ["reactor", "behind a middleware"])
async def test_a_relay_of_ones_own_answers_once_it_is_connected(world: str, behind: tuple[object, ...]) -> None:
    async def upstream(stream: trio.SocketStream) -> None:
        await stream.send_all(b"<" + (await hear(stream))[0] + b">")
        await stream.send_eof()

    async with server(upstream) as port:
        endpoint = Relaying(f"tcp://127.0.0.1:{port}")
        async with open_talks(world, asks, behind=behind, endpoint=endpoint) as talks:
            client = await talks.connect()
            await client.send_all(b"hi\nquestion")
            await finish(client)
            assert await hear(client) == (b"wait yes go <question>", "end")


@pytest.mark.parametrize("behind", [(), (pass_on,)])
@pytest.mark.parametrize("options", [{"preconnect": 2}, {"retries": 2}, {"connect_seconds": 3}])
async def test_every_way_to_connect_answers(options: dict[str, Any], behind: tuple[object, ...]) -> None:
    async def upstream(stream: trio.SocketStream) -> None:
        await stream.send_all(b"<" + (await hear(stream))[0] + b">")
        await stream.send_eof()

    async with server(upstream) as port:
        endpoint = te.Forward(f"tcp://127.0.0.1:{port}", **options)
        async with open_talks("reactor", asks, behind=behind, endpoint=endpoint) as talks:
            for _ in range(3):
                client = await talks.connect()
                await client.send_all(b"hi\nquestion")
                await finish(client)
                assert await hear(client) == (b"wait yes go <question>", "end")


async def test_a_retry_that_fails_is_told_once() -> None:
    words, how, _ = await talk("reactor", refusing=True, endpoint=te.Forward("tcp://127.0.0.1:9", retries=2))
    assert (words.count(b"no: upstream_refused"), how) == (1, "end")


@pytest.mark.parametrize("world", WORLDS)
async def test_a_session_that_is_evicted_while_it_connects_ends_without_a_word(world: str) -> None:
    asked = trio.Event()

    async def waits(session: te.Session) -> te.Outcome:
        asked.set()
        await trio.sleep_forever()
        raise AssertionError

    async with open_talks(world, asks, endpoint=waits) as talks:
        client = await talks.connect()
        await client.send_all(b"hi\n")
        await asked.wait()
        assert talks.edge.evict(source="127.0.0.1") == 1
        assert (await hear(client))[0] == b"wait "
        assert await talks.ended() == te.Completed(te.Reason.EVICTED)


@pytest.mark.parametrize("world", WORLDS)
async def test_a_handshake_that_refuses_its_connected_client_ends_the_session(world: str) -> None:
    @te.handshake(proceeds=True)
    def second_thoughts(session: te.Session) -> te.Steps:
        yield te.PROCEED
        yield te.Send(b"no, after all\n")
        return te.Reject(te.Reason.CREDENTIALS, "second thoughts")

    async with open_talks(world, second_thoughts) as talks:
        client = await talks.connect()
        await client.send_all(b"question")
        assert (await hear(client))[0] == b"no, after all\n"
        assert (await talks.ended()).reason is te.Reason.CREDENTIALS


@pytest.mark.parametrize("refusing", [False, True])
@pytest.mark.parametrize("world", WORLDS)
async def test_a_handshake_that_cuts_its_session_with_its_last_words_ends_it_once(world: str, refusing: bool) -> None:
    @te.handshake(proceeds=True)
    def cuts(session: te.Session) -> te.Steps:
        yield te.PROCEED
        session.cut(te.Reason.EVICTED, "by itself")
        yield te.Send(b"bye\n")
        return te.CONTINUE

    with capture_logs() as logs:
        async with open_talks(world, cuts, refusing=refusing) as talks:
            client = await talks.connect()
            await hear(client)
            assert (await talks.ended()).reason is te.Reason.EVICTED
            assert talks.edge.statistics().ended == {te.Reason.EVICTED: 1}
    assert [each for each in logs if each["log_level"] == "error"] == []


@pytest.mark.parametrize("world", ["reactor", "reactor, a middleware behind"])
async def test_a_client_that_does_not_read_its_answer_is_reset(world: str) -> None:
    @te.handshake(proceeds=True)
    def long_answer(session: te.Session) -> te.Steps:
        yield te.PROCEED
        for _ in range(99):
            yield te.Send(bytes(1 << 17))
        return te.CONTINUE

    async with open_talks(world, long_answer) as talks:
        await talks.connect()
        assert (await talks.ended()).reason is te.Reason.RESET


@pytest.mark.parametrize("behind", [(), (pass_on,)])
async def test_a_connect_without_an_answer_is_told_and_may_be_cut(behind: tuple[object, ...]) -> None:
    async with deaf_port() as port:
        for ending in ("time", "evicted", "drained", "the client has left"):
            endpoint = te.Forward(f"tcp://127.0.0.1:{port}", connect_seconds=0.2, retries=0)
            async with open_talks("reactor", asks, behind=behind, endpoint=endpoint, drain_seconds=0.05) as talks:
                client = await talks.connect()
                await client.send_all(b"hi\n")
                await hear_exactly(client, b"wait ")
                while talks.sessions[0].phase != "connecting":
                    await trio.sleep(0.001)
                if ending == "evicted":
                    talks.edge.evict(source="127.0.0.1")
                    assert (await talks.ended()).reason is te.Reason.EVICTED
                    assert (await hear(client))[0] == b""
                elif ending == "drained":
                    talks.edge.drain()
                    assert (await talks.ended()).reason is te.Reason.DRAINED
                    assert (await hear(client))[0] == b""
                elif ending == "time":
                    assert (await talks.ended()).reason is te.Reason.UPSTREAM_TIMEOUT
                    await finish(client)
                    words, how = await hear(client)
                    assert (words[:20], how) == (b"no: upstream_timeout", "end")
                else:
                    await trio.aclose_forcefully(client)
                    assert (await talks.ended()).reason is te.Reason.UPSTREAM_TIMEOUT
