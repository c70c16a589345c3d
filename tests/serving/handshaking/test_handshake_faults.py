"""A handshake that raises, yields nonsense or never ends costs its one session, in every world."""

import gc

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.talks import WORLDS, finish, hear, hear_exactly, open_talks, say


def raises(session: te.Session) -> te.Steps:
    if True:
        raise LookupError("a bug")
    yield te.Read(1)
    return te.CONTINUE


def raises_later(session: te.Session) -> te.Steps:
    yield te.Read(1)
    raise LookupError("a bug")


def raises_a_broken_stream(session: te.Session) -> te.Steps:
    yield te.Read(1)
    raise trio.BrokenResourceError("of its own")


def yields_nonsense(session: te.Session) -> te.Steps:
    yield 5  # type: ignore[misc]
    return te.CONTINUE


def yields_a_class(session: te.Session) -> te.Steps:
    yield te.Read  # type: ignore[misc]
    return te.CONTINUE


def reads_less_than_nothing(session: te.Session) -> te.Steps:
    yield te.Read(-1)
    return te.CONTINUE


def returns_nothing(session: te.Session) -> te.Steps:  # type: ignore[return]
    yield te.Read(1)


def returns_an_outcome(session: te.Session) -> te.Steps:
    yield te.Read(1)
    return te.Completed()  # type: ignore[return-value]


def sends_for_ever(session: te.Session) -> te.Steps:
    while True:
        yield te.Send(b"")


def peeks_for_ever(session: te.Session) -> te.Steps:
    while True:
        yield te.Peek(1)


def reads_nothing_for_ever(session: te.Session) -> te.Steps:
    while True:
        yield te.Read(0)


async def at_once() -> None:
    pass


def asks_for_ever(session: te.Session) -> te.Steps:
    while True:
        yield te.Background(at_once)


def proceeds_twice(session: te.Session) -> te.Steps:
    yield te.PROCEED
    yield te.PROCEED
    return te.CONTINUE


def reads_behind(session: te.Session) -> te.Steps:
    try:
        yield te.PROCEED
        yield te.Read(1)
    finally:
        session.state[str] = "closed"
    return te.CONTINUE


def raises_behind(session: te.Session) -> te.Steps:
    yield te.PROCEED
    raise LookupError("a bug")


def raises_behind_with_words(session: te.Session) -> te.Steps:
    yield te.PROCEED
    yield te.Send(b"words")
    raise LookupError("a bug")


async def wrong() -> None:
    raise LookupError("a bug")


def asks_a_faulty_function(session: te.Session) -> te.Steps:
    yield te.Background(wrong)
    return te.CONTINUE


async def broken() -> None:
    raise trio.BrokenResourceError("of its own")


def asks_a_function_with_a_stream(session: te.Session) -> te.Steps:
    yield te.Background(broken)
    return te.CONTINUE


def asks_a_plain_function(session: te.Session) -> te.Steps:
    yield te.Background(len, b"no coroutine")  # type: ignore[arg-type]
    return te.CONTINUE


def raises_no_exception(session: te.Session) -> te.Steps:
    yield te.Read(1)
    raise BaseException("odd")


FAULTY = [
    raises, raises_later, raises_a_broken_stream, yields_nonsense, yields_a_class, reads_less_than_nothing,
    returns_nothing, returns_an_outcome, sends_for_ever, peeks_for_ever, reads_nothing_for_ever, asks_for_ever,
    proceeds_twice, reads_behind, raises_behind, raises_behind_with_words, asks_a_faulty_function,
    asks_a_function_with_a_stream, asks_a_plain_function, raises_no_exception,
]  # fmt: skip
STEPS = {each.__name__.encode(): each for each in FAULTY}


@te.handshake(seconds=5)
def pick(session: te.Session) -> te.Steps:
    name = yield te.ReadUntil(b"\n")
    faulty = STEPS.get(name.strip())
    if faulty is None:
        yield te.Send(b"ok ")
        return te.CONTINUE
    return (yield from faulty(session))


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", STEPS, ids=bytes.decode)
async def test_a_faulty_handshake_ends_its_session_with_a_fault_and_no_other(name: bytes, world: str) -> None:
    with capture_logs() as logs:
        async with open_talks(world, pick) as talks:
            neighbour = await talks.connect()
            await neighbour.send_all(b"fine\n")
            await hear_exactly(neighbour, b"ok ")
            client = await talks.connect()
            await client.send_all(name + b"\n.........")
            assert (await talks.ended()).reason is te.Reason.FAULT
            assert (await hear(client))[0] in (b"", b"words")
            await say(neighbour, b"question", whole=True)
            await finish(neighbour)
            assert await hear(neighbour) == (b"<question>", "end")
            assert await talks.ended(0) == te.Completed(te.Reason.FINISHED)
    errors = [each for each in logs if each["log_level"] == "error"]
    assert [(each["event"], each["stage"]) for each in errors] == [("handshake failed", "pick")]
    assert errors[0]["session"] == talks.sessions[1].id


@pytest.mark.parametrize("world", WORLDS)
async def test_the_log_names_the_handshake_that_failed(world: str) -> None:
    with capture_logs() as logs:
        async with open_talks(world, pick) as talks:
            client = await talks.connect()
            await client.send_all(b"yields_nonsense\n")
            await talks.ended()
    (line,) = (each for each in logs if each["log_level"] == "error")
    assert (line["event"], line["stage"]) == ("handshake failed", "pick")
    assert "handshake pick yielded 5, which is no command, such as te.Read(4)" in line["traceback"]


@te.handshake(seconds=1)
def raises_at_its_end(session: te.Session) -> te.Steps:
    try:
        yield te.Read(9)
    finally:
        raise LookupError("a bug")


@te.handshake(seconds=1)
def ignores_its_end(session: te.Session) -> te.Steps:
    try:
        yield te.Read(9)
    except GeneratorExit:
        yield te.Send(b"still here")
    return te.CONTINUE


@pytest.mark.parametrize("stage", [raises_at_its_end, ignores_its_end])
@pytest.mark.parametrize("how", ["leaves", "is evicted", "is cancelled"])
@pytest.mark.parametrize("world", WORLDS)
async def test_a_handshake_that_raises_when_it_is_closed_is_logged_and_its_session_ends(
    world: str, how: str, stage: object
) -> None:
    with capture_logs() as logs:
        async with open_talks(world, stage) as talks:
            client = await talks.connect()
            await client.send_all(b"ab")
            await trio.sleep(0.01)
            if how == "leaves":
                await finish(client)
            elif how == "is evicted":
                talks.edge.evict(source="127.0.0.1")
            if how != "is cancelled":
                assert (await talks.ended()).reason in (te.Reason.HANDSHAKE, te.Reason.EVICTED)
    assert talks.sessions[0].outcome is not None
    errors = [each for each in logs if each["log_level"] == "error"]
    assert [each["event"] for each in errors] == ["handshake failed"]
    del talks
    gc.collect()


@te.handshake(seconds=1)
def cuts_itself(session: te.Session) -> te.Steps:
    try:
        yield te.Read(1)
        session.cut(te.Reason.EVICTED, "by itself")
        yield te.Send(b"words")
        yield te.Read(1)
    finally:
        session.state[str] = "closed"
    return te.CONTINUE


@te.handshake(seconds=1, proceeds=True)
def cuts_itself_and_proceeds(session: te.Session) -> te.Steps:
    yield te.Read(1)
    session.cut(te.Reason.EVICTED)
    yield te.PROCEED
    return te.CONTINUE


@te.handshake(seconds=1)
def cuts_itself_and_returns(session: te.Session) -> te.Steps:
    yield te.Read(1)
    session.cut(te.Reason.EVICTED)
    return te.CONTINUE


@pytest.mark.parametrize("stage", [cuts_itself, cuts_itself_and_proceeds, cuts_itself_and_returns])
@pytest.mark.parametrize("world", WORLDS)
async def test_a_handshake_may_cut_its_own_session(world: str, stage: object) -> None:
    with capture_logs() as logs:
        async with open_talks(world, stage) as talks:
            client = await talks.connect()
            await client.send_all(b"aa")
            assert (await talks.ended()).reason is te.Reason.EVICTED
            await hear(client)
            assert talks.edge.statistics().ended == {te.Reason.EVICTED: 1}
    assert [each for each in logs if each["log_level"] == "error"] == []
    assert stage is not cuts_itself or talks.sessions[0].state[str] == "closed"
    assert talks.upstream in ([], [b""])


@pytest.mark.parametrize("world", WORLDS)
async def test_a_generator_without_a_yield_of_its_own_is_named(world: str) -> None:
    class Five:
        def __call__(self, session: te.Session) -> int:
            return 5

    class Wrong:
        converse = Five()

    with capture_logs() as logs:
        async with open_talks(world, Wrong()) as talks:
            client = await talks.connect()
            assert (await talks.ended()).reason is te.Reason.FAULT
            await hear(client)
    (line,) = (each for each in logs if each["log_level"] == "error")
    assert "must be a generator function, with yield" in line["traceback"]


@te.handshake(proceeds=True)
def tells(session: te.Session) -> te.Steps:
    yield te.Read(1)
    outcome = yield te.PROCEED
    yield te.Send(b"ok" if outcome is None else str(outcome.reason).encode())
    return te.CONTINUE


@te.decision
def raises_in_a_decision(session: te.Session) -> te.Verdict:
    raise LookupError("a bug")


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(
    "stages", [(tells, raises_in_a_decision), (te.Detect({b"a": [tells, raises_in_a_decision]}),)],
    ids=["in the chain", "in a list of Detect"],
)  # fmt: skip
async def test_a_decision_that_raises_behind_a_handshake_is_told_in_its_words(
    stages: tuple[object, ...], world: str
) -> None:
    with capture_logs() as logs:
        async with open_talks(world, *stages) as talks:
            client = await talks.connect()
            await client.send_all(b"a")
            assert await hear(client) == (b"fault", "end")
            await finish(client)
            assert await talks.ended() == te.Reject(te.Reason.FAULT, "LookupError('a bug')")
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["decision failed"]
