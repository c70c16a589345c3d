"""One handshake under way, without I/O: the bytes that are held for it, its bounds, and its answers.

Its driver reads and writes, and waits. All drivers share this, so a handshake does the same in each.

| a command is yielded | when | then |
| --- | --- | --- |
| ``Read``, ``ReadUntil``, ``Peek`` | the bytes are there | it is answered at once |
| the same | they are not | the driver reads more, and calls :meth:`Conversation.feed` |
| the same | they would be more than `max_bytes` | the handshake ends with ``protocol`` |
| another one | | the driver carries it out, and calls :meth:`Conversation.resume` |
| any | :data:`MAX_STEPS` without a byte of the client | the handshake ends with RuntimeError |
| any | it has ended its own session meanwhile | it is closed where it yields |
"""

from collections.abc import Callable, Generator
from types import GeneratorType
from typing import Any, Final

import attrs

from ..errors import quote
from ..structures.times import add_time
from .handshake import PROCEED, Background, Command, Handshake, Peek, Proceed, Read, ReadUntil, Send, StartTls
from .session import Session
from .stage import DecisionFunction
from .verdict import CONTINUE, Outcome, Reason, Reject, Verdict

MAX_STEPS: Final = 1_000
"""Commands in a row that need nothing of the client, before a handshake is taken for one that never ends."""

_WAITING: Final = (Read, ReadUntil, Peek)
_OTHERS: Final = (Send, StartTls, Background, Proceed)


@attrs.frozen(slots=True, eq=False)
class ChainedHandshake:
    """A handshake in its chain.

    Attributes:
        name: of its recipe, for people.
        stage: the live stage.
        seconds: the limit of the whole handshake.
        max_bytes: the most bytes that it takes.
        decide: the decisions behind it, up to the next handshake or middleware, as one function.
        last: whether no other handshake follows, so that it may proceed.
        clock: gives nanoseconds; None if its stages are not timed.
        counts: how many sessions took it how long, as :mod:`~trioedge.structures.times` has it.
        names_source: whether it may name the client's address.
    """

    name: str
    stage: Handshake
    seconds: float
    max_bytes: int
    decide: DecisionFunction
    last: bool
    clock: Callable[[], int] | None = None
    counts: list[int] | None = None
    names_source: bool = False


class Conversation:
    """One handshake of one session.

    A call that gives a command wants the driver to carry it out; one that gives None says that the handshake has
    ended, with `verdict`. An exception of the handshake comes out of the call, and it is over then too.

    Attributes:
        held: the client's bytes that are not taken yet; those that are left at the end go on.
        verdict: of a handshake that has ended; None before.
        proceeded: it has yielded :data:`PROCEED`.
        yields: how many commands it has yielded.
    """

    __slots__ = ("_closed", "_handshake", "_running", "_searched", "_session", "_settled", "_steps", "_taken",
                 "_took", "_waiting", "_yields_before", "held", "proceeded", "verdict", "yields")  # fmt: skip

    def __init__(self, handshake: ChainedHandshake, session: Session, held: bytearray) -> None:
        """Begin nothing; :meth:`begin` does.

        Args:
            handshake: the stage.
            session: the session that it is for.
            held: what the client has sent so far; it is changed.
        """
        self._handshake = handshake
        self._session = session
        self._steps = steps = handshake.stage.converse(session)
        if type(steps) is not GeneratorType and not isinstance(steps, Generator):
            raise TypeError(f"{self}: converse() returned {quote(steps)}; it must be a generator function, with yield")
        self._taken = self._searched = self._took = self._yields_before = self.yields = 0
        self._waiting: Command | None = None
        self.held = held
        self.verdict: Verdict | None = None
        self.proceeded = self._settled = self._running = self._closed = False

    @property
    def name(self) -> str:
        """Of its stage, for people."""
        return self._handshake.name

    @property
    def room(self) -> int:
        """How many more bytes of the client it may need; above 0 while it waits for some."""
        return self._handshake.max_bytes - self._taken - len(self.held)

    def begin(self) -> Command | None:
        """Run to its first command that the driver must carry out."""
        return self.resume(None)

    def feed(self, data: bytes) -> Command | None:
        """Add bytes of the client, at most `room`, and run on if they are enough."""
        self.held += data
        self._yields_before = self.yields
        waiting = self._waiting
        assert waiting is not None, "it waits for no bytes"
        answer = self._taken_by(waiting)
        if answer is None:
            return None if self.verdict is not None else waiting
        return self.resume(answer)

    def give_up(self) -> Command | None:
        """Answer a :class:`Peek` that has `seconds` with what is there."""
        self._waiting = None
        return self.resume(bytes(self.held))

    def resume(self, answer: Any) -> Command | None:
        """Answer its command, and run to the next one that the driver must carry out."""
        return self._run(self._steps.send, answer)

    def throw(self, fault: BaseException) -> Command | None:
        """Raise an exception in it, in place of an answer."""
        try:
            return self._run(self._steps.throw, fault)
        finally:
            del fault  # its traceback has this frame

    def close(self) -> None:
        """End it where it is, or where it yields next if it runs now; an exception that it raises comes out."""
        self._closed = True
        if not self._running:
            self._steps.close()

    def settle(self, *, refused: bool) -> None:
        """Count its time, when it proceeds, ends, or is ended; a second call does nothing."""
        handshake, session = self._handshake, self._session
        if handshake.clock is None or handshake.counts is None or self._settled:
            return
        self._settled = True
        trace = session.trace
        if trace is None:
            trace = session.begin_trace()
        add_time(handshake.counts, self._took)
        trace.append(~self._took if refused else self._took)

    def connected(self) -> tuple[bytes, Verdict]:
        """Answer :data:`PROCEED` with None: give the bytes that it sends then, and its verdict."""
        return self._words(None)

    def refused(self, outcome: Outcome) -> bytes:
        """Answer :data:`PROCEED` with the outcome, and give the bytes that it sends then; its verdict is ignored."""
        return self._words(outcome)[0]

    def _words(self, outcome: Outcome | None) -> tuple[bytes, Verdict]:
        words = bytearray()
        command = self.resume(outcome)
        while command is not None:
            if type(command) is not Send:
                self.close()
                raise TypeError(f"{self} yielded {command!r} behind PROCEED, where a handshake can only Send")
            words += command.data
            command = self.resume(None)
        return bytes(words), self.verdict or CONTINUE  # it has none if it has ended its own session

    def _run(self, step: Callable[[Any], Command], answer: Any) -> Command | None:
        clock = self._handshake.clock
        began = 0 if clock is None else clock()
        self._running = True
        try:
            while True:
                try:
                    command = step(answer)
                except StopIteration as stop:
                    self.verdict = self._checked(stop.value)
                    return None
                if self._closed:
                    self._steps.close()
                    return None
                step = self._steps.send
                self.yields += 1
                if self.yields - self._yields_before > MAX_STEPS:
                    self._steps.close()
                    raise RuntimeError(
                        f"{self} yielded {MAX_STEPS:,} commands and needed no byte of the client: it would never end"
                    )
                if type(command) in _WAITING:
                    if self.proceeded:  # what is held has gone on, so this is refused
                        return command
                    self._searched = 0
                    answer = self._taken_by(command)
                    if answer is None:
                        self._waiting = command
                        return None if self.verdict is not None else command
                elif type(command) in _OTHERS:
                    if command is PROCEED:
                        self._proceed()
                    return command
                else:
                    self._steps.close()
                    raise TypeError(f"{self} yielded {quote(command)}, which is no command, such as te.Read(4)")
        finally:
            self._running = False
            del answer  # it may be an exception, whose traceback has this frame
            if clock is not None:
                self._took += clock() - began

    def _proceed(self) -> None:
        fault = ""
        if self.proceeded:
            fault = "yielded PROCEED twice: a session is connected once"
        elif not self._handshake.last:
            fault = "yielded PROCEED before another handshake, whose client says nothing more: make it the last one"
        if fault:
            self._steps.close()
            raise RuntimeError(f"{self} {fault}")
        self.proceeded = True

    def _taken_by(self, command: Command) -> bytes | None:
        """Give the bytes that a command asks for, or None if they are not there yet; ends a handshake of too many."""
        held, rest = self.held, self._handshake.max_bytes - self._taken
        if type(command) is Peek:
            needs = command.count
            if len(held) >= needs:
                return bytes(held)
        elif type(command) is Read:
            needs = command.count
            if len(held) >= needs <= rest:
                return self._take(needs)
        elif type(command) is ReadUntil:
            mark = command.mark
            most = rest if command.max_bytes is None else min(command.max_bytes, rest)
            found = held.find(mark, self._searched, most)
            if found >= 0:
                return self._take(found + len(mark))
            self._searched = max(0, len(held) - len(mark) + 1)
            needs = min(len(held), most) + 1
            rest = most
        else:
            raise AssertionError(f"{command!r} asks for no bytes")
        if needs > rest:
            self._steps.close()
            self.verdict = Reject(Reason.PROTOCOL, f"{self}: {command!r} does not come within {max(rest, 0):,} bytes")
        return None

    def _take(self, count: int) -> bytes:
        data = bytes(self.held[:count])
        del self.held[:count]
        self._taken += count
        return data

    def _checked(self, verdict: object) -> Verdict:
        if verdict is CONTINUE or type(verdict) is Reject:
            return verdict
        raise TypeError(f"{self} returned {quote(verdict)}; a handshake returns CONTINUE or Reject(reason, detail)")

    def __str__(self) -> str:
        return f"handshake {self._handshake.name}"
