"""Drive handshakes over the stream of a session that has a task: in memory, and behind a middleware.

They do the same as in the reactor, see :mod:`.handshakes`; here the session's own task waits.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from typing import Final

import trio

from ...errors import quote_fault
from ...relay.answers import answer_behind, part_stream
from ...relay.direction import BROKEN
from ...relay.streams import BareReplayStream, PlainStream, replaying
from ...relay.tls_info import TlsError
from ...relay.tls_stream import start_tls
from ...session.conversation import ChainedHandshake, Conversation
from ...session.handshake import PROCEED, Background, Command, Peek, Send, StartTls
from ...session.session import Session
from ...session.stage import Handler
from ...session.verdict import Completed, Outcome, Reason, Reject
from ...telemetry.log import EdgeLog, parted
from ..background import BUSY, BackgroundAnswers, TooManyAnswersError
from ..deciding import refusal_by
from .handshake_input import LEFT
from .talking import GAVE_WAY, Talking, WaitingClients, close_conversation

_TALKING: Final = Talking()


class StreamHandshakes:
    """Runs handshakes in the tasks of sessions."""

    def __init__(
        self, answers: BackgroundAnswers, waiting: WaitingClients, crowded: Callable[[], Reject | None], log: EdgeLog
    ) -> None:
        """Run none yet.

        Args:
            answers: awaits what handshakes ask in the background.
            waiting: bounds the clients that have to say more.
            crowded: gives the refusal of a session that is through its handshakes, if too many others are live.
            log: logs faults.
        """
        self._answers = answers
        self._waiting = waiting
        self._crowded = crowded
        self._log = log

    async def drive(self, chained: Sequence[ChainedHandshake], session: Session, call_next: Handler) -> Outcome:
        """Run handshakes and the decisions behind each, then the rest of the chain.

        After a cancel the handshake is closed, and an unknown part of the client's bytes was read.
        """
        held = bytearray()
        sent = False
        for each in chained:
            session.carrier = _TALKING
            try:
                talk = _StreamTalk(each, session, held, self._answers)
                refusal = await self._run(talk, session)
            except BaseException as raised:
                return self._fault(session, each.name, raised)
            finally:
                session.carrier = None
            sent = sent or talk.sent
            if refusal is None:
                refusal = session.refusal or refusal_by(each.decide, session, self._log)
            if refusal is None and each is chained[-1]:
                refusal = self._crowded()
            if refusal is not None and session.answer is None:
                if sent:
                    await part_stream(session.stream)
                return refusal
        return await self._rest(session, held, refusal, call_next)

    async def _run(self, talk: "_StreamTalk", session: Session) -> Reject | None:
        """Run one handshake, and note how that ended; gives its refusal."""
        refusal: Reject | None = None
        ended = False
        self._waiting.enter(talk)
        try:
            refusal = await talk.run()
            ended = True
        finally:
            self._waiting.leave(talk)
            talk.conversation.settle(refused=refusal is not None or not ended)
            if not talk.conversation.proceeded:
                close_conversation(talk.conversation, session, self._log)
        return refusal

    def _fault(self, session: Session, stage: str, raised: BaseException) -> Completed:
        """Log the fault in an exception of a handshake; raise the part of it that is a cancel or ends the process."""
        stop, fault = parted(raised)
        try:
            if fault is None:
                raise raised
            self._log.fault("handshake failed", fault, session=session.id, stage=stage)
            if stop is not None:
                raise stop from None
            return Completed(Reason.FAULT, quote_fault(fault))
        finally:
            del raised, stop, fault  # a traceback has this frame: with them it would be a cycle

    async def _rest(self, session: Session, held: bytearray, refusal: Reject | None, call_next: Handler) -> Outcome:
        """Run the rest of the chain, or only tell the client of a handshake that proceeded that it is refused."""
        if held or session.answer is not None:
            if not isinstance(session.stream, PlainStream | BareReplayStream):
                session.stream = replaying(session.stream)
            session.stream.unread(bytes(held))
        if session.answer is None:
            return await call_next(session)
        rest = call_next if refusal is None else _giving(refusal)
        return await answer_behind(session, session.stream, rest, self._log)


def _giving(refusal: Reject) -> Handler:
    async def refuse(_: Session) -> Outcome:
        return refusal

    return refuse


class _LeftError(Exception):
    """The client has closed or reset its connection."""


@contextmanager
def _leaving() -> Iterator[None]:
    """Tell an error of the client's stream from the same one that a handshake raises."""
    try:
        yield
    except BROKEN:
        raise _LeftError from None


class _StreamTalk:
    """One handshake over the stream of a session."""

    def __init__(
        self, chained: ChainedHandshake, session: Session, held: bytearray, answers: BackgroundAnswers
    ) -> None:
        self.conversation = Conversation(chained, session, held)
        self.sent = False
        self._yields = 0  # up to the command that waits for bytes
        self._peek_ends = inf
        self._scope = trio.CancelScope()
        self._gave_way = False
        self._chained = chained
        self._session = session
        self._answers = answers

    async def run(self) -> Reject | None:
        """Run it to its end, or until it proceeds; gives its refusal."""
        conversation = self.conversation
        self._scope.deadline = trio.current_time() + self._chained.seconds
        with self._scope:
            try:
                command = conversation.begin()
                while command is not None and command is not PROCEED:
                    command = await self._obey(command)
            except _LeftError:
                return LEFT
            except TlsError as error:
                return Reject(error.reason, error.detail)
            except TooManyAnswersError:
                return BUSY
            except BROKEN as fault:  # of the handshake's own; by itself it would say that the client has left
                raise RuntimeError(f"{conversation} raised {quote_fault(fault)}") from fault
            if command is PROCEED:
                self._session.await_answer(conversation)
                return None
            return conversation.verdict if type(conversation.verdict) is Reject else None
        if self._gave_way:
            return GAVE_WAY
        return Reject(Reason.HANDSHAKE, f"not finished within {self._chained.seconds:g} s")

    def give_way(self) -> None:
        self._gave_way = True
        self._scope.cancel()

    async def _obey(self, command: Command) -> Command | None:
        conversation = self.conversation
        if isinstance(command, Send):
            self.sent = True
            with _leaving():
                await self._session.stream.send_all(command.data)
            return conversation.resume(None)
        if isinstance(command, Background):
            return await self._ask(command)
        if isinstance(command, StartTls):
            self.sent = True  # so that an alert is delivered
            received = bytes(conversation.held)
            conversation.held.clear()
            with _leaving():
                self._session.stream, info = await start_tls(self._session.stream, command.context, received)
            return conversation.resume(info)
        if self._yields != conversation.yields:
            self._yields = conversation.yields
            seconds = command.seconds if isinstance(command, Peek) else None
            self._peek_ends = inf if seconds is None else trio.current_time() + seconds
        data: bytes | bytearray | None = None
        with trio.move_on_at(self._peek_ends), _leaving():
            data = await self._session.stream.receive_some(conversation.room)
        if data:
            return conversation.feed(bytes(data))
        if self._peek_ends == inf:
            raise _LeftError
        return conversation.give_up()

    async def _ask(self, command: Background) -> Command | None:
        stop: BaseException | None = None
        fault: BaseException | None = None
        try:
            try:
                answer = await self._answers.answer(self._session, command)
            except TooManyAnswersError:
                raise
            except BaseException as raised:
                stop, fault = parted(raised)
                if fault is None:
                    raise
                if stop is not None:
                    raise stop from None
                return self.conversation.throw(fault)
            return self.conversation.resume(answer)
        finally:
            del stop, fault  # their tracebacks have this frame
