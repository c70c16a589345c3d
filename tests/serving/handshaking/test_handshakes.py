"""One table of scripts and clients in every world: over plain sockets without a task, in memory, and in tasks."""

import attrs
import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from examples.custom_handshake import token
from tests.support.talks import WORLDS, finish, hear, hear_exactly, open_talks, say

LINE = te.ReadUntil(b"\n")


@te.handshake
def greet(session: te.Session) -> te.Steps:
    yield te.Send(b"who? ")
    size = yield te.Read(1)
    name = yield te.Read(size[0])
    yield te.Send(b"hello " + name + b"\n")
    return te.CONTINUE


@te.handshake
def look(session: te.Session) -> te.Steps:
    data = yield te.Peek(4)
    return te.CONTINUE if data.startswith(b"GET ") else te.Reject(te.Reason.PROTOCOL)


@te.handshake
def wait_a_little(session: te.Session) -> te.Steps:
    data = yield te.Peek(20, seconds=0.03)
    yield te.Send(b"%d" % len(data))
    return te.CONTINUE


@te.handshake
def nothing(session: te.Session) -> te.Steps:
    empty = yield te.Read(0)
    return te.CONTINUE if empty == b"" else te.Reject(te.Reason.POLICY)
    yield


@te.handshake(proceeds=True)
def asks(session: te.Session) -> te.Steps:
    yield LINE
    outcome = yield te.PROCEED
    yield te.Send(b"connected\n" if outcome is None else b"failed: " + outcome.reason.encode() + b"\n")
    yield te.Send(b"bye\n" if outcome else b"go\n")
    return te.CONTINUE


async def double(text: bytes) -> bytes:
    await trio.sleep(0.001)
    return text * 2


@te.handshake
def looks_up(session: te.Session) -> te.Steps:
    name = yield te.Read(2)
    yield te.Send((yield te.Background(double, name)))
    yield te.Read(2)
    return te.CONTINUE


@attrs.frozen
class Case:
    stage: object
    says: bytes
    hears: bytes
    left: bytes = b""
    """What goes to the upstream of the bytes that it says."""


GOOD = {
    "a line": Case(token, b"open-sesame\n", b""),
    "two reads": Case(greet, b"\x03Ann", b"who? hello Ann\n"),
    "a peek": Case(look, b"GET / HTTP/1.0", b"", left=b"GET / HTTP/1.0"),
    "no bytes": Case(nothing, b"", b""),
    "a proceeding one": Case(asks, b"hi\n", b"connected\ngo\n"),
    "a background answer": Case(looks_up, b"ab..", b"abab"),
}


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", GOOD)
async def test_bytes_behind_a_handshake_reach_the_upstream_first(name: str, world: str, whole: bool) -> None:
    case = GOOD[name]
    async with open_talks(world, case.stage, behind=(te.IdleTimeout(9), te.Pacing("9 MB/s", "9 MB/s"))) as talks:
        client = await talks.connect()
        await say(client, case.says + b"question", whole=whole)
        await finish(client)  # right behind the last byte
        rest = case.left + b"question"
        assert await hear(client) == (case.hears + b"<" + rest + b">", "end")
        assert await talks.ended() == te.Completed(te.Reason.FINISHED)
    assert talks.upstream == [rest]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(
    ("says", "hears"), [([], b"0"), ([b"ab"], b"2"), ([b"x" * 30], b"30"), ([b"a", b"b"] * 10, b"20")]
)
async def test_a_peek_with_seconds_is_answered_with_what_is_there(world: str, says: list[bytes], hears: bytes) -> None:
    async with open_talks(world, wait_a_little) as talks:
        client = await talks.connect()
        for each in says:
            await client.send_all(each)
        await hear_exactly(client, hears)
        await finish(client)
        assert await hear(client) == (b"<" + b"".join(says) + b">", "end")


@pytest.mark.parametrize("world", WORLDS)
async def test_bytes_do_not_prolong_a_peek_and_an_end_answers_it(world: str) -> None:
    @te.handshake
    def patient(session: te.Session) -> te.Steps:
        began = trio.current_time()
        yield te.Peek(99, seconds=0.2)
        yield te.Send(b"late" if trio.current_time() - began >= 0.15 else b"early")
        return te.CONTINUE

    async with open_talks(world, patient) as talks:
        client = await talks.connect()
        with trio.fail_after(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hear_exactly, client, b"late")
                for _ in range(8):
                    await client.send_all(b".")
                    await trio.sleep(0.05)
        client = await talks.connect()
        await client.send_all(b".")
        await finish(client)
        assert await hear(client) == (b"early<.>", "end")


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("world", WORLDS)
async def test_a_refusal_is_told_and_the_connection_closed_in_order(world: str, whole: bool) -> None:
    async with open_talks(world, token) as talks:
        client = await talks.connect()
        await say(client, b"swordfish\n", whole=whole)
        await client.send_all(bytes(200_000))  # which the edge does not want
        await finish(client)
        assert await hear(client) == (b"no\r\n", "end")
        assert await talks.ended() == te.Reject(te.Reason.CREDENTIALS, "unknown token")
    assert talks.upstream == []


@pytest.mark.parametrize("world", WORLDS)
async def test_a_service_that_is_unknown_is_refused_behind_the_handshake_that_names_it(world: str) -> None:
    control = te.MemoryControl({"bank": te.Policy()})
    async with open_talks(world, token, control=control) as talks:
        client = await talks.connect()
        await client.send_all(b"open-sesame\n")
        assert (await talks.ended()).reason is te.Reason.SERVICE
        assert (await hear(client))[0] == b""


@pytest.mark.parametrize("world", WORLDS)
async def test_decisions_between_handshakes_know_what_those_before_have_named(world: str) -> None:
    @te.decision(requires=("service",))
    def shop_only(session: te.Session) -> te.Verdict:
        return te.CONTINUE if session.service.name == "shop" else te.Reject(te.Reason.POLICY)

    async with open_talks(world, token, shop_only, greet, te.ConcurrencyLimit(1, per="service")) as talks:
        client = await talks.connect()
        await client.send_all(b"open-sesame\n\x01A")
        await hear_exactly(client, b"who? hello A\n")
        second = await talks.connect()
        await second.send_all(b"open-sesame\n\x01B")
        assert await hear(second) == (b"who? hello B\n", "end")
        assert (await talks.ended()).reason is te.Reason.CONCURRENCY
        await finish(client)
        assert await hear(client) == (b"<>", "end")


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("world", WORLDS)
async def test_a_client_that_ends_in_the_middle_of_a_handshake_is_refused(world: str, at: int) -> None:
    async with open_talks(world, greet, look) as talks:
        client = await talks.connect()
        await client.send_all(b"\x02BoGE"[:at])
        await finish(client)
        outcome = await talks.ended()
        assert outcome == te.Reject(te.Reason.HANDSHAKE, "the client left in the middle of it")
        assert (await hear(client))[1] == "end"
    assert talks.upstream == []


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("world", WORLDS)
async def test_a_client_that_is_gone_in_the_middle_of_a_handshake_is_refused(world: str, at: int) -> None:
    async with open_talks(world, greet) as talks:
        client = await talks.connect()
        await hear_exactly(client, b"who? ")
        await client.send_all(b"\x09Bob"[:at])
        await trio.aclose_forcefully(client)
        assert (await talks.ended()).reason is te.Reason.HANDSHAKE


@pytest.mark.parametrize("world", WORLDS)
async def test_the_time_of_each_handshake_is_bounded_however_slowly_its_client_speaks(world: str) -> None:
    @te.handshake(seconds=0.2)
    def short(session: te.Session) -> te.Steps:
        yield te.Read(3)
        yield te.Send(b".")
        return te.CONTINUE

    async with open_talks(world, short, short) as talks:
        client = await talks.connect()
        await say(client, b"abc", whole=False)
        await hear_exactly(client, b".")
        await trio.sleep(0.12)
        await say(client, b"ab", whole=False)  # the time of the second one has begun with it
        assert talks.sessions[0].outcome is None
        assert await talks.ended() == te.Reject(te.Reason.HANDSHAKE, "not finished within 0.2 s")


@pytest.mark.parametrize("world", WORLDS)
async def test_peeks_in_a_row_do_not_outlast_the_time_of_the_handshake(world: str) -> None:
    @te.handshake(seconds=0.2)
    def peeks_on(session: te.Session) -> te.Steps:
        while True:
            yield te.Peek(9, seconds=0.01)

    async with open_talks(world, peeks_on) as talks:
        await talks.connect()
        with trio.fail_after(3):
            assert (await talks.ended()).reason is te.Reason.HANDSHAKE


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("world", WORLDS)
async def test_a_client_that_says_too_much_is_refused(world: str, whole: bool) -> None:
    async with open_talks(world, token) as talks:
        client = await talks.connect()
        await say(client, b"x" * 100, whole=whole)
        outcome = await talks.ended()
        assert outcome.reason is te.Reason.PROTOCOL
        assert outcome.detail == r"handshake token: ReadUntil(b'\n') does not come within 64 bytes"


@pytest.mark.parametrize("world", WORLDS)
async def test_a_client_that_does_not_read_is_refused(world: str) -> None:
    @te.handshake(seconds=0.3)
    def floods(session: te.Session) -> te.Steps:
        for _ in range(200):
            yield te.Send(bytes(1 << 16))
        return te.CONTINUE

    async with open_talks(world, floods) as talks:
        if world == "memory":  # whose buffers are endless
            return
        await talks.connect()
        assert (await talks.ended()).reason is te.Reason.HANDSHAKE


@pytest.mark.parametrize("world", WORLDS)
async def test_an_end_that_arrives_during_a_background_answer_is_seen_behind_it(world: str) -> None:
    gate = trio.Event()

    @te.handshake(seconds=5)
    def asks_first(session: te.Session) -> te.Steps:
        yield te.Read(1)
        yield te.Background(gate.wait)
        yield te.Read(3)
        return te.CONTINUE

    async with open_talks(world, asks_first) as talks:
        client = await talks.connect()
        await client.send_all(b"a")
        await trio.sleep(0.02)
        await client.send_all(b"b")
        await finish(client)
        await trio.sleep(0.02)
        gate.set()
        with trio.fail_after(2):
            assert (await talks.ended()).reason is te.Reason.HANDSHAKE


@pytest.mark.parametrize("world", WORLDS)
async def test_handshakes_that_go_well_log_nothing(world: str) -> None:
    with capture_logs() as logs:
        async with open_talks(world, asks) as talks:
            client = await talks.connect()
            await client.send_all(b"hi\n")
            await finish(client)
            await hear(client)
    assert [each for each in logs if each["log_level"] not in ("info", "debug")] == []
