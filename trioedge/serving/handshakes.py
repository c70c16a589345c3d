"""Drive the handshakes of plain sockets in the reactor, without a task, and hand each session on.

| a session is | event | action |
| --- | --- | --- |
| talking | bytes of the client | give them to the handshake; read on while it needs more |
| talking | it needs bytes that are not there | wait for them, as one of at most `max_waiting` clients |
| talking | it sends | write at once; a client that does not take all is refused, ``handshake`` |
| talking | the client's end, a reset, or `seconds` are over | refused, ``handshake`` |
| talking | `max_waiting` newer clients wait | refused, ``handshake``; the oldest one gives way |
| talking | it needs a background answer | asking; the client is not read |
| asking | the answer, or its exception | talking |
| talking | it refuses, or the decisions behind it do | refused, in order behind what it has sent |
| talking | it continues | the decisions behind it, then the next handshake; behind the last one, the rest |
| talking | it proceeds | the decisions behind it, then the rest; `relay.answers` tells the client how that went |
| any | it raises, or answers with nonsense | ``fault``, logged |
| any | a cut | reset |

The rest of the chain is the endpoint, or a task if a middleware is before it.
"""

import socket
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import trio

from ..errors import quote_fault
from ..loop.parting import part
from ..loop.reactor import FAILED, READ_ON, Reactor
from ..loop.sockets import close, reset
from ..relay.answers import answer_refused
from ..session.conversation import ChainedHandshake, Conversation
from ..session.handshake import PROCEED, Background, Command, Peek, Send, StartTls
from ..session.kinds import name_of
from ..session.session import Session
from ..session.verdict import Completed, Outcome, Reason, Reject
from ..telemetry.observer import STOPS, Observer
from .background import BackgroundAnswers

_GAVE_WAY: Final = Reject(Reason.HANDSHAKE, "gave way: too many clients are in their handshakes")
_LEFT: Final = Reject(Reason.HANDSHAKE, "the client left in the middle of it")
_DEAF: Final = Reject(Reason.HANDSHAKE, "the client does not read")


class Rest(Protocol):
    """Carries a session whose handshakes are over."""

    def __call__(self, session: Session, sock: socket.SocketType, prefetched: bytes, /) -> None: ...


class Handshakes:
    """The handshakes of one run of an edge.

    Attributes:
        waiting: the sessions whose clients have to say more, the one that waits longest first.
    """

    def __init__(
        self, chained: Sequence[ChainedHandshake], reactor: Reactor, log: Observer, answers: BackgroundAnswers,
        rest: Rest, ended: Callable[[Session, Outcome], None], *, max_waiting: int, graceful_refuse: bool,
    ) -> None:  # fmt: skip
        """Drive none yet.

        Args:
            chained: the handshakes, in order, at least one.
            reactor: has the sockets that wait.
            log: logs faults.
            answers: runs what handshakes ask in the background.
            rest: carries the sessions on.
            ended: called with a session whose socket is closed.
            max_waiting: the most clients that wait.
            graceful_refuse: whether a client that was told nothing is closed in order, rather than with a reset.
        """
        self.chained = chained
        self.reactor = reactor
        self.log = log
        self.answers = answers
        self.rest = rest
        self.ended = ended
        self.graceful_refuse = graceful_refuse
        self.waiting: dict[Talk, None] = {}
        self._max = max_waiting

    def begin(self, session: Session, sock: socket.SocketType) -> None:
        """Begin with a registered session and its client's non-blocking socket, which is this object's from now on."""
        talk = Talk(self, session, sock)
        session.carrier = talk
        talk.begin()

    def wait(self, talk: "Talk") -> None:
        """Note that a client has to say more; the one that has waited longest may have to give way."""
        if len(self.waiting) >= self._max:
            next(iter(self.waiting)).refuse(_GAVE_WAY)
        self.waiting[talk] = None


class Talk:
    """The carrier of a session whose client is in its handshakes."""

    __slots__ = ("_asking", "_conversation", "_due", "_handshakes", "_held", "_number", "_over", "_peek_ends",
                 "_read_on", "_registered", "_sent", "_session", "_set_for", "_sock", "_tick")  # fmt: skip

    phase = "handshaking"
    pacing = ""
    began_at: float | None = None
    bytes_up = 0
    bytes_down = 0

    def __init__(self, handshakes: Handshakes, session: Session, sock: socket.SocketType) -> None:
        self._handshakes = handshakes
        self._session = session
        self._sock = sock
        self._held = bytearray()
        self._number = 0
        self._conversation: Conversation | None = None
        self._asking: trio.CancelScope | None = None
        # `_due` is the end of the handshake, `_peek_ends` that of a Peek with seconds, 0 without one. A deadline is set
        # for `_set_for`, with `_tick`, and 0 is none. It may come too early, and never comes too late.
        self._due = self._peek_ends = self._set_for = 0.0
        self._tick = 0
        self._registered = self._read_on = self._sent = self._over = False

    def queued(self) -> tuple[int, int]:
        return 0, 0

    def pace(self, down_rate: float, up_rate: float) -> None:
        """Do nothing yet: the relay reads the session's rates when it begins."""

    def cut(self, reason: Reason) -> None:
        self._end(Completed(reason), told=False)

    def crashed(self, fault: BaseException) -> None:
        self._end(Completed(Reason.FAULT, quote_fault(fault)), told=False)

    def begin(self) -> None:
        """Begin the next handshake, and read what its client has sent already; never raises."""
        self._guarded(self._begin)

    def on_ready(self, fd: int, mask: int) -> None:  # noqa: ARG002 - the reactor's shape
        if self._asking is None:
            self._read_on = bool(mask & READ_ON)
            self._guarded(self._read)
        elif mask & FAILED:
            self.refuse(_LEFT)

    def expire(self, now: float) -> None:
        self._set_for = 0.0
        if self._peek_ends and now >= self._peek_ends and self._asking is None:
            self._guarded(self._give_up)
        elif now >= self._due:
            seconds = self._handshakes.chained[self._number].seconds
            self.refuse(Reject(Reason.HANDSHAKE, f"not finished within {seconds:g} s"))
        else:
            self._set_deadline()

    def refuse(self, refusal: Reject) -> None:
        """End the session; what its handshakes have sent is delivered."""
        self._end(refusal, told=self._sent)

    def resume(self, answer: object, fault: BaseException | None) -> None:
        """Go on with the answer that was awaited in the background, or its exception."""
        self._asking = None
        if not self._over:
            self._guarded(lambda: self._go_on(answer, fault))

    def _go_on(self, answer: object, fault: BaseException | None) -> None:
        conversation = self._conversation
        assert conversation is not None, "it asked"
        if self._obey(conversation.resume(answer) if fault is None else conversation.throw(fault)):
            self._read()

    def _give_up(self) -> None:
        conversation = self._conversation
        assert conversation is not None, "it peeks"
        self._peek_ends = 0.0
        if self._obey(conversation.give_up()):
            self._read()

    def _guarded(self, act: Callable[[], None]) -> None:
        """Do something in which a handshake runs; its exception ends this one session."""
        session = self._session
        try:
            act()
        except STOPS:
            raise
        except BaseException as fault:
            stage = name_of(self._handshakes.chained[self._number].stage)
            self._handshakes.log.fault("handshake failed", fault, session=session.id, stage=stage)
            self.crashed(fault)

    def _begin(self) -> None:
        handshakes = self._handshakes
        chained = handshakes.chained[self._number]
        self._conversation = conversation = Conversation(chained, self._session, self._held)
        self._due = handshakes.reactor.now + chained.seconds
        if self._obey(conversation.begin()):
            self._read()

    def _read(self) -> None:
        """Read until the handshake has what it needs, or no more is there."""
        while not self._over and self._asking is None:
            conversation = self._conversation
            assert conversation is not None, "it talks"
            room = conversation.room
            try:
                data = self._sock.recv(room)
            except BlockingIOError:
                self._wait()
                return
            except OSError:
                self.refuse(_LEFT)
                return
            if not data:
                if not self._peek_ends:
                    self.refuse(_LEFT)
                    return
                self._peek_ends = 0.0
                more = self._obey(conversation.give_up())
            else:
                more = self._obey(conversation.feed(data))
            if not more:
                return
            if len(data) < room and not self._read_on:  # a short read has emptied the socket
                self._wait()
                return

    def _wait(self) -> None:
        """Wait for bytes: be registered, and have a deadline."""
        handshakes = self._handshakes
        if not self._registered:
            handshakes.reactor.add_reader(self._sock.fileno(), self)
            self._registered = True
            handshakes.wait(self)
        self._set_deadline()

    def _set_deadline(self) -> None:
        due = min(self._due, self._peek_ends or self._due)
        if not self._set_for or due < self._set_for:
            reactor = self._handshakes.reactor
            reactor.drop_deadline(self, self._tick)
            self._tick, self._set_for = reactor.set_deadline(self, due), due

    def _obey(self, command: Command | None) -> bool:
        """Carry out commands; true if the handshake needs more bytes of the client."""
        conversation = self._conversation
        assert conversation is not None, "it talks"
        while command is not None:
            if type(command) is Send:
                if not self._send(command.data):
                    return False
                command = conversation.resume(None)
            elif command is PROCEED:
                self._proceed(conversation)
                return False
            elif type(command) is Background:
                self._ask(command)
                return False
            elif type(command) is StartTls:
                raise NotImplementedError("StartTls")
            else:
                seconds = command.seconds if type(command) is Peek else None
                self._peek_ends = 0.0 if seconds is None else self._handshakes.reactor.now + seconds
                return True
        return self._finish(conversation)

    def _send(self, data: bytes | bytearray | memoryview) -> bool:
        self._sent = True
        try:
            taken = self._sock.send(data) if data else 0
        except BlockingIOError:
            taken = -1
        except OSError:
            self.refuse(_LEFT)
            return False
        if taken < len(data):
            self.refuse(_DEAF)
            return False
        return True

    def _ask(self, command: Background) -> None:
        """Wait for a background answer; the deadline stands."""
        asking = self._handshakes.answers.ask(self._session, command, self.resume)
        if asking is None:
            self.refuse(Reject(Reason.OVERLOAD, "too many handshakes wait for answers"))
            return
        self._asking = asking
        if not self._registered:  # so that it has a deadline, and a client that leaves is noticed
            self._wait()

    def _finish(self, conversation: Conversation) -> bool:
        """Handle the verdict of a handshake that has ended; true if the next one needs bytes of the client."""
        if self._over:
            return False
        verdict = conversation.verdict
        if type(verdict) is Reject:
            self.refuse(verdict)
            return False
        conversation.settle(refused=False)
        if not self._decided():
            return False
        self._number += 1
        if self._number < len(self._handshakes.chained):
            self._begin()  # it reads for itself
        else:
            self._hand_on()
        return False

    def _proceed(self, conversation: Conversation) -> None:
        conversation.settle(refused=False)
        self._session.await_answer(conversation)
        if self._decided():
            self._hand_on()

    def _decided(self) -> bool:
        """Ask the decisions behind the handshake; false if the session does not go on."""
        session = self._session
        if session.refusal is not None:
            verdict: object = session.refusal
        else:
            verdict = self._handshakes.chained[self._number].decide(session)
        if type(verdict) is Reject:
            self._end(verdict, told=self._sent)
        elif session.cut_reason is not None and not self._over:
            self.cut(session.cut_reason)
        return not self._over

    def _hand_on(self) -> None:
        """Have the rest of the chain carry the session."""
        self._leave()
        self._over = True
        session, sock, handshakes = self._session, self._sock, self._handshakes
        session.carrier = None
        prefetched = bytes(self._held)
        del self._session, self._held, self._conversation
        handshakes.rest(session, sock, prefetched)

    def _leave(self) -> None:
        """Give up the place among those that wait, and the place in the reactor."""
        if self._registered:
            self._registered = False
            reactor = self._handshakes.reactor
            self._handshakes.waiting.pop(self, None)
            reactor.drop_deadline(self, self._tick)
            reactor.remove(self._sock.fileno())

    def _end(self, outcome: Outcome, *, told: bool) -> None:
        """Close the socket, and end the session."""
        if self._over:
            return
        self._over = True
        self._leave()
        handshakes, session, sock = self._handshakes, self._session, self._sock
        conversation, self._conversation = self._conversation, None
        if self._asking is not None:
            self._asking.cancel()
        if not answer_refused(session, sock, outcome, handshakes.reactor, handshakes.log):
            if session.cut_reason is not None or type(outcome) is not Reject:
                reset(sock)
            elif told:
                part(handshakes.reactor, sock)
            else:
                (close if handshakes.graceful_refuse else reset)(sock)
        if conversation is not None and session.answer is None:
            self._close(conversation, session)
        session.carrier = None
        del self._session, self._held
        handshakes.ended(session, outcome)

    def _close(self, conversation: Conversation, session: Session) -> None:
        """Close a handshake that is not at its end; its exception is logged."""
        conversation.settle(refused=True)
        try:
            conversation.close()
        except STOPS:
            raise
        except BaseException as fault:
            self._handshakes.log.fault("handshake failed", fault, session=session.id)
