"""Answers that handshakes await: few at a time, each for a bounded time, and none behind the end of its session."""

from typing import Any, cast

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

import trioedge as te
from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.talks import WORLDS, finish, hear, hear_exactly, open_talks
from trioedge.serving.background import (
    ANSWER_SECONDS,
    MAX_OF_SOURCE,
    MAX_RUNNING,
    BackgroundAnswers,
    TooManyAnswersError,
)
from trioedge.testing import make_session


def answers() -> BackgroundAnswers:
    return BackgroundAnswers(trio.current_time)


async def double(number: int) -> int:
    await trio.lowlevel.checkpoint()
    return 2 * number


async def fail() -> None:
    await trio.lowlevel.checkpoint()
    raise LookupError("a bug")


class Noted:
    """Takes the answer, once."""

    def __init__(self) -> None:
        self.answers: list[tuple[Any, BaseException | None]] = []

    def __call__(self, answer: object, fault: BaseException | None) -> None:
        self.answers.append((answer, fault))


async def test_an_answer_or_an_exception_is_given_in_the_task_of_the_caller(autojump_clock: MockClock) -> None:
    asked = answers()
    assert await asked.answer(make_session(), te.Background(double, 4)) == 8
    with pytest.raises(LookupError):
        await asked.answer(make_session(), te.Background(fail))
    with pytest.raises(TypeError, match=r"^Background\(len\) needs an async function, and this one is not: call it w"):
        await asked.answer(make_session(), te.Background(cast(Any, len), "shop"))
    with pytest.raises(trio.TooSlowError):
        await asked.answer(make_session(), te.Background(trio.sleep, ANSWER_SECONDS + 1))
    assert trio.current_time() == pytest.approx(ANSWER_SECONDS, abs=0.1)
    assert (asked._running, dict(asked._of_source)) == (0, {})


async def test_an_answer_or_an_exception_is_given_to_a_function(autojump_clock: MockClock) -> None:
    asked, noted = answers(), Noted()
    async with trio.open_nursery() as asked.nursery:
        for function in (te.Background(double, 4), te.Background(fail), te.Background(trio.sleep, 99)):
            assert asked.ask(make_session(), function, noted) is not None
    assert sorted((answer or 0, type(fault).__name__) for answer, fault in noted.answers) == [
        (0, "LookupError"), (0, "TooSlowError"), (8, "NoneType")
    ]  # fmt: skip
    assert (asked._running, dict(asked._of_source)) == (0, {})


async def test_one_that_is_cancelled_gives_nothing_and_its_exception_is_dropped() -> None:
    async def fails_at_its_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise LookupError("a bug")

    asked, noted = answers(), Noted()
    async with trio.open_nursery() as asked.nursery:
        for function in (te.Background(trio.sleep_forever), te.Background(fails_at_its_end)):
            scope = asked.ask(make_session(), function, noted)
            await trio.testing.wait_all_tasks_blocked()
            assert scope is not None
            scope.cancel()
        early = asked.ask(make_session(), te.Background(double, 4), noted)
        assert early is not None
        early.cancel()  # before its task has begun
    assert noted.answers == []
    assert (asked._running, dict(asked._of_source)) == (0, {})


async def test_one_source_has_few_and_all_together_have_some() -> None:
    asked, noted = answers(), Noted()
    forever = te.Background(trio.sleep_forever)
    async with trio.open_nursery() as asked.nursery:
        for _ in range(MAX_OF_SOURCE):
            assert asked.ask(make_session("192.0.2.1"), forever, noted) is not None
        assert asked.ask(make_session("192.0.2.1"), forever, noted) is None
        with pytest.raises(TooManyAnswersError):
            await asked.answer(make_session("192.0.2.1"), forever)
        for number in range(MAX_RUNNING - MAX_OF_SOURCE):
            assert asked.ask(make_session(f"198.51.100.{number}"), forever, noted) is not None
        assert asked.ask(make_session("203.0.113.1"), forever, noted) is None
        asked.nursery.cancel_scope.cancel()
    assert (asked._running, dict(asked._of_source)) == (0, {})


async def test_a_cancel_at_any_step_leaves_no_answer_counted() -> None:
    asked = answers()

    async def live() -> None:
        await asked.answer(make_session(), te.Background(double, 4))
        async with trio.open_nursery() as asked.nursery:
            asked.ask(make_session(), te.Background(double, 4), Noted())
            asked.ask(make_session(), te.Background(fail), Noted())

    before = left_open()

    def check() -> None:
        assert left_open() == before
        assert (asked._running, dict(asked._of_source)) == (0, {})

    assert await cancel_at_every_step(live, check) > 3


@te.handshake(seconds=5)
def asks(session: te.Session) -> te.Steps:
    yield te.Read(1)
    yield te.Background(trio.sleep_forever)
    return te.CONTINUE


@pytest.mark.parametrize("world", WORLDS)
async def test_one_question_too_many_of_a_source_is_refused(world: str) -> None:
    async with open_talks(world, asks) as talks:
        for _ in range(MAX_OF_SOURCE + 1):
            client = await talks.connect()
            await client.send_all(b".")
            await trio.sleep(0.01)
        assert await talks.ended() == te.Reject(te.Reason.OVERLOAD, "too many handshakes await background answers")
        assert [each.outcome for each in talks.sessions[:-1]] == [None] * MAX_OF_SOURCE
        talks.edge.evict(source="127.0.0.1")
        for number in range(MAX_OF_SOURCE):
            assert (await talks.ended(number)).reason is te.Reason.EVICTED
        client = await talks.connect()  # there is room again
        await client.send_all(b".")
        await trio.sleep(0.02)
        assert talks.sessions[-1].outcome is None


@pytest.mark.parametrize("world", WORLDS)
async def test_an_answer_is_cancelled_with_its_session_and_by_the_time_of_its_handshake(world: str) -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("cancelled")

    @te.handshake(seconds=0.1)
    def waits(session: te.Session) -> te.Steps:
        yield te.Background(slow)
        return te.CONTINUE

    async with open_talks(world, waits) as talks:
        await talks.connect()
        assert await talks.ended() == te.Reject(te.Reason.HANDSHAKE, "not finished within 0.1 s")
        await trio.sleep(0.01)
        assert ended == ["cancelled"]
        await talks.connect()
        talks.edge.evict(source="127.0.0.1")
        assert (await talks.ended()).reason is te.Reason.EVICTED
        await trio.sleep(0.01)
        assert len(ended) <= 2  # none if its task had not begun


@pytest.mark.parametrize("world", WORLDS)
async def test_a_handshake_may_catch_what_its_question_raises(world: str) -> None:
    @te.handshake
    def catches(session: te.Session) -> te.Steps:
        try:
            yield te.Background(fail)
        except LookupError:
            yield te.Send(b"caught ")
        return te.CONTINUE

    async with open_talks(world, catches) as talks:
        client = await talks.connect()
        await hear_exactly(client, b"caught ")
        await finish(client)
        assert await hear(client) == (b"<>", "end")


@pytest.mark.parametrize("world", WORLDS)
async def test_a_function_that_lingers_at_its_cancel_delays_no_other_client(world: str) -> None:
    async def lingers() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.2)

    @te.handshake
    def waits(session: te.Session) -> te.Steps:
        if (yield te.Read(1)) == b"w":
            yield te.Background(lingers)
        yield te.Send(b"ok ")
        return te.CONTINUE

    with capture_logs() as logs:
        async with open_talks(world, waits) as talks:
            client = await talks.connect()
            await client.send_all(b"w")
            await trio.sleep(0.02)
            talks.edge.evict(source="127.0.0.1")
            other: Any = await talks.connect()
            await other.send_all(b".")
            with trio.fail_after(0.15):
                await hear_exactly(other, b"ok ")
    assert [each for each in logs if each["log_level"] == "error"] == []
