"""A channel: messages in order, questions with answers, and peers that break."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from tests.support.cancels import cancel_at_every_step
from trioedge.telemetry.log import EdgeLog
from trioedge.workers.messages.channel import MAX_ANSWERING, AnswerError, Channel
from trioedge.workers.messages.frames import ChannelError, Frames, pack


class End:
    """One end, which keeps messages and answers questions by topic."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.told: list[tuple[str, Any]] = []
        self.asked = 0
        self.release = trio.Event()
        self.channel = Channel(Frames(stream), self.take, self.answer, EdgeLog())

    async def take(self, topic: str, body: Any) -> None:
        if topic == "bad":
            raise ValueError(body)
        self.told.append((topic, body))

    async def answer(self, topic: str, body: Any) -> object:
        self.asked += 1
        if topic == "slow":
            await self.release.wait()
        if topic == "bad":
            raise ValueError(body)
        if topic == "unsendable":
            return lambda: None
        return topic, body


@asynccontextmanager
async def ends() -> AsyncIterator[tuple[End, End, trio.Nursery]]:
    """Two ends of one channel, which run."""
    ours, theirs = trio.testing.memory_stream_pair()
    one, other = End(ours), End(theirs)
    async with trio.open_nursery() as nursery:
        await nursery.start(one.channel.run)
        await nursery.start(other.channel.run)
        yield one, other, nursery
        nursery.cancel_scope.cancel()


async def test_messages_arrive_in_order_and_questions_are_answered_both_ways() -> None:
    async with ends() as (one, other, _):
        for number in range(100):
            await one.channel.tell("n", number)
        assert await one.channel.ask("q", 1, inf) == ("q", 1)
        assert await other.channel.ask("q", 2, inf) == ("q", 2)
        assert other.told == [("n", number) for number in range(100)]


async def test_a_slow_answer_delays_no_other(autojump_clock: trio.testing.MockClock) -> None:
    async with ends() as (one, other, nursery):
        nursery.start_soon(one.channel.ask, "slow", 0, inf)
        await trio.testing.wait_all_tasks_blocked()
        assert await one.channel.ask("q", 1, 1) == ("q", 1)
        other.release.set()


@pytest.mark.parametrize(("topic", "words"), [("bad", "ValueError"), ("unsendable", "cannot be sent")])
async def test_a_fault_of_an_answer_is_the_asker_s_error(topic: str, words: str) -> None:
    async with ends() as (one, _, __):
        with capture_logs(), pytest.raises(AnswerError, match=words):
            await one.channel.ask(topic, "why", inf)
        assert await one.channel.ask("q", 1, inf) == ("q", 1)


async def test_a_question_without_an_answer_in_time_is_an_error(autojump_clock: trio.testing.MockClock) -> None:
    async with ends() as (one, other, _):
        with pytest.raises(ChannelError, match="no answer within 3 s"):
            await one.channel.ask("slow", 1, 3)
        assert trio.current_time() == pytest.approx(3)
        other.release.set()
        assert await one.channel.ask("q", 1, 3) == ("q", 1), "the late answer is dropped"


async def test_too_many_questions_at_a_time_are_refused() -> None:
    async with ends() as (one, other, nursery):
        for _ in range(MAX_ANSWERING):
            nursery.start_soon(one.channel.ask, "slow", 0, inf)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(AnswerError, match="too many questions"):
            await one.channel.ask("q", 1, inf)
        other.release.set()
        await trio.testing.wait_all_tasks_blocked()
        assert await one.channel.ask("q", 1, inf) == ("q", 1)


@pytest.mark.parametrize("sent", [b"", b"\xff\xff\xff\xff", pack("no message"), pack((1, 2)), pack((0, 0, "bad", "x"))])
async def test_a_broken_peer_ends_the_channel_and_nothing_else(sent: bytes) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    end = End(ours)
    failed = []
    async with trio.open_nursery() as nursery:
        await nursery.start(end.channel.run)

        async def ask() -> None:
            with pytest.raises(ChannelError) as caught:
                await end.channel.ask("q", 1, inf)
            failed.append(str(caught.value))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        with capture_logs():
            if sent:
                await theirs.send_all(sent)
            else:
                await theirs.aclose()
            await trio.testing.wait_all_tasks_blocked()
    assert failed == ["the peer has hung up"]
    with pytest.raises(ChannelError):
        await end.channel.tell("n", 1)


async def test_a_peer_that_reads_nothing_makes_senders_wait() -> None:
    ours, _ = trio.testing.lockstep_stream_pair()
    end = End(ours)
    async with trio.open_nursery() as nursery:
        await nursery.start(end.channel.run)
        with trio.move_on_after(0.05) as limit:
            for number in range(1_000):
                await end.channel.tell("n", number)
        assert limit.cancelled_caught
        nursery.cancel_scope.cancel()


async def test_a_question_that_is_cancelled_at_any_step_leaves_a_channel_that_works() -> None:
    async with ends() as (one, _, __):

        async def ask() -> None:
            await one.channel.ask("q", 1, inf)

        await cancel_at_every_step(ask, lambda: None)
        assert await one.channel.ask("q", 2, inf) == ("q", 2)
        assert one.channel._questions == {}
