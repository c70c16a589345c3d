"""A channel between the control process and a worker: messages, and questions with answers, both ways at once.

| a question is | event | then |
| --- | --- | --- |
| asked | its answer comes | answered |
| asked | the peer's fault comes | failed: the caller gets an `AnswerError` |
| asked | the channel ends | failed: the caller gets a `ChannelError` |
| asked | the caller is cancelled, or its time is up | forgotten: an answer that comes later is dropped |

A peer that hangs up, or sends what is no message, ends the channel and nothing else. Messages arrive in order. A
question is answered in a task of its own, so a slow answer delays nothing behind it.
"""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import trio

from ...errors import quote_fault
from ...telemetry.log import EdgeLog, parted
from .frames import ChannelError, Frames, pack

MAX_QUEUED: Final = 32
"""Messages that wait to be written; further senders wait."""

MAX_ANSWERING: Final = 128
"""Questions of the peer that are being answered; further ones are refused."""

_TELL, _ASK, _ANSWER, _FAULT = range(4)

Tell: TypeAlias = Callable[[str, Any], Awaitable[None]]
Answer: TypeAlias = Callable[[str, Any], Awaitable[Any]]


class AnswerError(ChannelError):
    """The peer could not answer; the message is its fault."""


class _Question:
    __slots__ = ("answer", "answered", "fault")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.answer: Any = None
        self.fault: ChannelError | None = None


class Channel:
    """One end. The other methods work while :meth:`run` runs."""

    def __init__(self, frames: Frames, told: Tell, answer: Answer, log: EdgeLog) -> None:
        """Send and receive nothing yet.

        Args:
            frames: of the stream, behind the greeting.
            told: takes each message, by topic and body, one at a time. An exception ends the channel.
            answer: answers a question, by topic and body. Its exception is the answer, as text.
            log: logs the exceptions of both.
        """
        self._frames = frames
        self._told, self._answer, self._log = told, answer, log
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}
        self._answering = 0
        self._outbox, self._waiting = trio.open_memory_channel[bytes](MAX_QUEUED)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry messages until the peer hangs up or a cancel; then the stream is closed, and every question failed."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, nursery.cancel_scope)
                task_status.started()
                await self._read(nursery)
                nursery.cancel_scope.cancel()
        finally:
            self._waiting.close()
            for question in self._questions.values():
                question.fault = ChannelError("the peer has hung up")
                question.answered.set()
            await self._frames.close()

    async def tell(self, topic: str, body: object) -> None:
        """Send a message, after those before it; returns once there is a place in the queue.

        Raises:
            ChannelError: the channel has ended, or the message is too long.
        """
        await self._put((_TELL, 0, topic, body))

    async def ask(self, topic: str, body: object, seconds: float) -> Any:
        """Ask a question and return the answer.

        Args:
            topic: its subject.
            body: any value that can be pickled.
            seconds: the time limit; infinity for none.

        Raises:
            AnswerError: the peer could not answer.
            ChannelError: the channel has ended, or there was no answer in time.
        """
        number = next(self._numbers)
        question = self._questions[number] = _Question()
        try:
            with trio.move_on_after(seconds) as limit:
                await self._put((_ASK, number, topic, body))
                await question.answered.wait()
            if limit.cancelled_caught:
                raise ChannelError(f"no answer within {seconds:g} s")
        finally:
            del self._questions[number]
        if question.fault is not None:
            raise question.fault
        return question.answer

    async def _put(self, message: tuple[int, int, object, object]) -> None:
        try:
            await self._outbox.send(pack(message))
        except trio.BrokenResourceError:
            raise ChannelError("the peer has hung up") from None

    async def _write(self, scope: trio.CancelScope) -> None:
        try:
            async for frame in self._waiting:
                await self._frames.send(frame)
        except ChannelError:
            scope.cancel()

    async def _read(self, nursery: trio.Nursery) -> None:
        try:
            while True:
                await self._take(await self._frames.receive(), nursery)
        except BaseException as raised:
            stop, fault = parted(raised)
            if stop is not None or fault is None:
                raise
            if not isinstance(fault, ChannelError):
                self._log.fault("a message between processes failed", fault)
            elif fault.__cause__ is None and str(fault) != "the peer has hung up":
                self._log.notice("the channel to another process has ended", error=str(fault))

    async def _take(self, message: tuple[int, int, Any, Any], nursery: trio.Nursery) -> None:
        kind, number, topic, body = message
        if kind == _TELL:
            await self._told(topic, body)
        elif kind == _ASK:
            if self._answering >= MAX_ANSWERING:
                nursery.start_soon(self._send_answer, (_FAULT, number, "too many questions at a time", None))
            else:
                self._answering += 1
                nursery.start_soon(self._find_answer, number, topic, body)
        elif (question := self._questions.get(number)) is not None:  # else its asker is gone
            if kind == _ANSWER:
                question.answer = body
            else:
                question.fault = AnswerError(str(topic))
            question.answered.set()

    async def _find_answer(self, number: int, topic: str, body: Any) -> None:
        try:
            message: tuple[int, int, object, object] = _ANSWER, number, None, await self._answer(topic, body)
        except BaseException as raised:
            stop, fault = parted(raised)
            if stop is not None or fault is None:
                raise
            if not isinstance(fault, ChannelError):
                self._log.fault("a question of another process failed", fault, topic=topic)
            message = _FAULT, number, quote_fault(fault), None
        finally:
            self._answering -= 1
        await self._send_answer(message)

    async def _send_answer(self, message: tuple[int, int, object, object]) -> None:
        try:
            await self._put(message)
        except ChannelError as error:
            if message[0] == _ANSWER:  # too long, or nothing that can be pickled
                await self._send_answer((_FAULT, message[1], str(error), None))
