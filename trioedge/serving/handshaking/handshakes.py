"""Drive the handshakes of plain sockets in the reactor, without a task, and hand each session on.

| a session is | event | action |
| --- | --- | --- |
| talking | bytes of the client | give them to the handshake; read on while it needs more |
| talking | it needs bytes that are not there | wait for them, as one of at most `max_handshakes` clients |
| talking | it sends | write at once; a client that does not take all is refused, ``handshake`` |
| talking | the client's end, a reset, or `seconds` are over | refused, ``handshake`` |
| talking | `max_handshakes` newer clients wait | refused, ``handshake``; the oldest one gives way |
| talking | it starts TLS | the handshake of TLS; a client that does not finish it is refused behind an alert |
| talking | it needs a background answer | asking; the client is not read |
| asking | the answer, or its exception | talking |
| talking | it refuses, or the decisions behind it do | refused, in order behind what it has sent |
| talking | it continues | the decisions behind it, then the next handshake; behind the last one, the rest |
| talking | it continues, and another worker has the source that it named | that worker goes on as the line above says |
| talking | it proceeds | the decisions behind it, then the rest; `relay.answers` tells the client how that went |
| any | it raises, or answers with nonsense | ``fault``, logged |
| any | a cut | reset |

The rest of the chain is the endpoint, or a task if a middleware is before it.
"""

import socket
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Final, Protocol

from ...errors import quote_fault
from ...loop.parting import part
from ...loop.reactor import Reactor
from ...loop.sockets import close, reset
from ...relay.answers import answer_refused
from ...session.conversation import ChainedHandshake, Conversation
from ...session.handshake import PROCEED, Background, Command, Peek, Send, StartTls
from ...session.session import Session
from ...session.verdict import Completed, Outcome, Reason, Reject
from ...telemetry.log import STOPS, EdgeLog
from ..background import BUSY, BackgroundAnswers
from ..deciding import refusal_by
from ..handing_over.handing_over import HandingOver
from .handshake_input import LEFT, HandshakeInput
from .talking import GAVE_WAY, Talking, WaitingClients, close_conversation

_DEAF: Final = Reject(Reason.HANDSHAKE, "the client does not read")


class Rest(Protocol):
    """Carries a session whose handshakes are over."""

    def __call__(self, session: Session, sock: socket.SocketType, prefetched: bytes, /) -> None: ...


class Handshakes:
    """The handshakes of one run of an edge."""

    def __init__(
        self, chained: Sequence[ChainedHandshake], reactor: Reactor, log: EdgeLog, answers: BackgroundAnswers,
        waiting: WaitingClients, rest: Rest, ended: Callable[[Session, Outcome], None], *, graceful_refuse: bool,
        handing_over: HandingOver | None = None,
    ) -> None:  # fmt: skip
        """Drive none yet.

        Args:
            chained: the handshakes, in order, at least one.
            reactor: has the sockets that wait.
            log: logs faults.
            answers: runs what handshakes ask in the background.
            waiting: bounds the clients that have to say more.
            rest: carries the sessions on.
            ended: called with a session whose socket is closed.
            graceful_refuse: whether a client that was told nothing is closed in order, rather than with a reset.
            handing_over: hands sessions to the workers of their sources; None for a process alone.
        """
        self.handing_over = handing_over
        if handing_over is not None:
            handing_over.go_on = self.go_on
        self.chained = chained
        self.reactor = reactor
        self.log = log
        self.answers = answers
        self.rest = rest
        self.ended = ended
        self.graceful_refuse = graceful_refuse
        self.waiting = waiting

    def begin(self, session: Session, sock: socket.SocketType) -> None:
        """Begin with a registered session and its client's non-blocking socket, which is this object's from now on."""
        talk = Talk(self, session, sock)
        session.carrier = talk
        talk.guarded(talk.begin)

    def go_on(self, session: Session, sock: socket.SocketType, handshake: int, held: bytes) -> None:
        """Go on behind a handshake that a registered session had in another worker; see :meth:`begin`."""
        talk = Talk(self, session, sock, handshake, held)
        session.carrier = talk
        talk.guarded(talk.go_on)


class Talk(HandshakeInput, Talking):
    """The carrier of a session whose client is in its handshakes."""

    __slots__ = ("_handshakes", "_sent", "_session")

    def __init__(
        self, handshakes: Handshakes, session: Session, sock: socket.SocketType, number: int = 0, held: bytes = b""
    ) -> None:
        super().__init__(handshakes.chained, handshakes.reactor, sock, number, held)
        self._handshakes = handshakes
        self._session = session
        self._sent = False

    def cut(self, reason: Reason) -> None:
        self._end(Completed(reason))

    def crashed(self, fault: BaseException) -> None:
        self._end(Completed(Reason.FAULT, quote_fault(fault)))

    def refuse(self, refusal: Reject) -> None:
        self._end(refusal)

    def entered(self) -> None:
        self._handshakes.waiting.enter(self)

    def give_way(self) -> None:
        self._end(GAVE_WAY)

    def guarded(self, act: Callable[[], None]) -> None:
        session = self._session
        try:
            act()
        except STOPS:
            raise
        except BaseException as fault:
            stage = self._chained[self._number].name
            self._handshakes.log.fault("handshake failed", fault, session=session.id, stage=stage)
            self.crashed(fault)
        finally:
            del act  # it may have an exception whose traceback has this frame

    def begin(self) -> None:
        """Begin a handshake, and read what its client has sent already."""
        chained = self._chained[self._number]
        self._conversation = conversation = Conversation(chained, self._session, self._held)
        self._due, self._yields = self._reactor.now + chained.seconds, 0
        if self.obey(conversation.begin()):
            self.read()

    def obey(self, command: Command | None) -> bool:
        conversation = self._conversation
        if conversation is None:  # it has ended its own session
            return False
        while command is not None:
            if type(command) is Send:
                if not self._send(command.data):
                    return False
                command = conversation.resume(None)
            elif command is PROCEED:
                conversation.settle(refused=False)
                self._session.await_answer(conversation)
                if self._decided():
                    self._hand_on()
                return False
            elif type(command) is Background:
                self._ask(command)
                return False
            elif type(command) is StartTls:
                self.start_tls(command.context)
                self._sent = True  # so that an alert is delivered
                return True
            else:
                if self._yields != conversation.yields:
                    self._yields = conversation.yields
                    seconds = command.seconds if type(command) is Peek else None
                    self._peek_ends = inf if seconds is None else self._reactor.now + seconds
                return True
        if not self._over:
            self._finish(conversation)
        return False

    def _send(self, data: bytes | bytearray | memoryview) -> bool:
        """Write to the client; false if it has been refused, because it does not take all."""
        self._sent = True
        try:
            taken = self._sock.send(data) if data else 0
        except BlockingIOError:
            taken = -1
        except OSError:
            self.refuse(LEFT)
            return False
        if taken < len(data):
            self.refuse(_DEAF)
            return False
        return True

    def _ask(self, command: Background) -> None:
        """Await a background answer, within the time of the handshake."""
        self._peek_ends = inf
        self._asking = self._handshakes.answers.ask(self._session, command, self._resume)
        if self._asking is None:
            self.refuse(BUSY)
        else:
            self.wait()

    def _resume(self, answer: object, fault: BaseException | None) -> None:
        """Go on with the answer that was awaited, or its exception."""
        self._asking = None
        try:
            if not self._over:
                self.guarded(partial(self._go_on, answer, fault))
        finally:
            del fault  # its traceback has this frame

    def _go_on(self, answer: object, fault: BaseException | None) -> None:
        conversation = self.conversation
        try:
            if self.obey(conversation.resume(answer) if fault is None else conversation.throw(fault)):
                self.read()
        finally:
            del fault  # its traceback has this frame

    def _finish(self, conversation: Conversation) -> None:
        """Handle the verdict of a handshake that has ended."""
        if type(conversation.verdict) is Reject:
            self.refuse(conversation.verdict)
            return
        conversation.settle(refused=False)
        if not (self._chained[self._number].names_source and self._handed_over()):
            self.go_on()

    def _handed_over(self) -> bool:
        """Hand the session to the worker of its source; false if it stays here."""
        handing_over, session, sock = self._handshakes.handing_over, self._session, self._sock
        if handing_over is None or not handing_over.hand(session, sock, self._number, self._held):
            return False
        self._leave()
        close(sock)
        self._release()
        handing_over.left(session)
        return True

    def go_on(self) -> None:
        """Ask the decisions behind a handshake that has ended; then begin the next one, or hand on."""
        if self._decided():
            if self._number + 1 < len(self._chained):
                self._number += 1
                self.begin()
            else:
                self._hand_on()

    def _decided(self) -> bool:
        """Ask the decisions behind the handshake; false if the session has ended."""
        session = self._session
        refusal = session.refusal or refusal_by(self._chained[self._number].decide, session, self._handshakes.log)
        if refusal is not None:
            self._end(refusal)
        return not self._over

    def _hand_on(self) -> None:
        """Have the rest of the chain carry the session."""
        self._leave()
        session, held = self._session, bytes(self._held)
        session.carrier = None
        self._release()
        self._handshakes.rest(session, self._sock, held)

    def _leave(self) -> None:
        self.leave()
        self._handshakes.waiting.leave(self)

    def _release(self) -> None:
        """Drop what would be a cycle."""
        self._over = True
        self._conversation = None
        del self._session

    def _end(self, outcome: Outcome) -> None:
        """Close the socket, behind the bytes that the client was sent if it is refused, and end the session."""
        if self._over:
            return
        self._over = True  # first, because the handshake may cut its session while it says its last words
        self._leave()
        handshakes, session, sock, conversation = self._handshakes, self._session, self._sock, self._conversation
        if self._asking is not None:
            self._asking.cancel()
        if not answer_refused(session, sock, outcome, self._reactor, handshakes.log):
            if session.cut_reason is not None or type(outcome) is not Reject:
                reset(sock)
            elif self._sent:
                part(self._reactor, sock)
            else:
                (close if handshakes.graceful_refuse else reset)(sock)
        self._release()
        if conversation is not None:
            conversation.settle(refused=True)
            if not conversation.proceeded:
                close_conversation(conversation, session, handshakes.log)
        session.carrier = None
        handshakes.ended(session, outcome)
