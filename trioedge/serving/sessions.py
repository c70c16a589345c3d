"""From an accepted connection to the end of its session, with one guard around each.

Leading decisions run first, before anything exists but the session; a refusal costs no task, no buffer and no
TLS. Behind them a session is carried by the reactor when only the endpoint is left, else by a task of its own.
"""

import itertools
import socket
from collections import deque
from functools import partial
from typing import Final, Protocol, runtime_checkable

import trio

from ..loop.reactor import Reactor
from ..loop.sockets import reset
from ..relay.socket_relay import Ended
from ..relay.stream_relay import close_hard
from ..relay.streams import PlainStream, ReplayStream
from ..services.registry import Registry
from ..session.chain import Chain
from ..session.session import Session
from ..session.verdict import CONTINUE, Completed, Outcome, Reason, Reject
from ..telemetry.observer import Observer

RECENT_SESSIONS: Final = 1_000
"""Sessions that are over and can still be explained."""

_OVERLOAD = Reject(Reason.OVERLOAD, "as many sessions as the edge may have")


@runtime_checkable
class Taskless(Protocol):
    """An endpoint that can carry plain sockets in the reactor, without a task."""

    def carries(self, session: Session, /) -> bool:
        """Whether it can, the way it is bound, carry this one."""

    def begin(self, session: Session, down: socket.socket, early: bytes, ended: Ended, /) -> None:
        """Take the client's socket; `ended` is called once, when it is closed."""


class Sessions:
    """The sessions of one edge: admits, registers, guards and ends them."""

    def __init__(
        self, chain: Chain, reactor: Reactor, observer: Observer, live: Registry, *, most: int, polite: bool
    ) -> None:
        """Admit nobody yet; :meth:`run` opens the nursery that sessions with a task live in.

        Args:
            chain: what every session goes through.
            reactor: carries the sessions that need no task.
            observer: counts ends and logs faults.
            live: where sessions are registered.
            most: live sessions at a time; newcomers beyond are refused with OVERLOAD.
            polite: close refused connections in order, rather than with a reset.
        """
        self._chain = chain
        self._decide = chain.decide
        self._reactor = reactor
        self._observer = observer
        self._most = most
        self._polite = polite
        self._ids = itertools.count(1)
        self._nursery: trio.Nursery | None = None
        self._emptied: trio.Event | None = None
        endpoint = chain.parts[-1]
        self._taskless = endpoint if chain.direct and isinstance(endpoint, Taskless) else None
        self._over: deque[tuple[Session, Outcome]] = deque()
        self._settling = False
        self.live = live
        self.recent: deque[Session] = deque(maxlen=RECENT_SESSIONS)
        """The sessions that ended last, refused ones included."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the sessions' tasks until cancelled, then cut every session that is left."""
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await trio.sleep_forever()
        finally:
            self.cut(Reason.DRAINED)

    def admit(self, sock: socket.socket, listener: str, source: str, packed: bytes, port: int) -> None:
        """Take an accepted socket: refuse it at once, or see its session to the end."""
        session = Session(next(self._ids), listener, source, packed, port, self._reactor.now)
        self._observer.accepted += 1
        refusal = self._refusal(session)
        if refusal is not None:
            if self._polite:
                sock.close()
            else:
                reset(sock)
            self._end(session, refusal)
            return
        sock.setblocking(False)  # a system call that a refusal does without
        if self._taskless is None or not self._taskless.carries(session):
            self._spawn(session, PlainStream(sock))
            return
        try:
            self.live.add(session)
            self._taskless.begin(session, sock, b"", self._ended)
        except Exception as fault:
            self._observer.fault("endpoint failed", fault, session=session.id)
            if session.carrier is not None:
                session.carrier.cut(Reason.FAULT)
            elif session.outcome is None:
                reset(sock)
                end = self._ended if session in self.live else self._end  # a service that cannot be a key
                end(session, Completed(Reason.FAULT, repr(fault)))

    def admit_stream(
        self, stream: trio.abc.HalfCloseableStream, listener: str, source: str, packed: bytes, port: int
    ) -> Session:
        """Take a connected stream that is no plain socket; the same, always with a task."""
        now = self._reactor.refresh()
        session = Session(next(self._ids), listener, source, packed, port, now)
        self._observer.accepted += 1
        refusal = self._refusal(session)
        if refusal is None:
            self._spawn(session, ReplayStream(stream))
        else:
            self._end(session, refusal)
            self._tasks.start_soon(stream.aclose if self._polite else partial(close_hard, stream))
        return session

    def _refusal(self, session: Session) -> Reject | None:
        """Ask the leading decisions; one that raises costs this session, and no other."""
        if len(self.live) >= self._most:
            self._observer.notice("shedding: too many sessions", live=len(self.live))
            return _OVERLOAD
        try:
            verdict = self._decide(session)
        except Exception as fault:
            self._observer.fault("decision failed", fault, session=session.id, source=session.source)
            return Reject(Reason.FAULT, repr(fault))
        if session.cut_reason is not None:
            return Reject(session.cut_reason, "cut by a decision")
        return None if verdict is CONTINUE else verdict

    def _spawn(self, session: Session, stream: trio.abc.HalfCloseableStream) -> None:
        session.stream = stream
        self.live.add(session)
        self._tasks.start_soon(self._carry, session, stream)

    @property
    def _tasks(self) -> trio.Nursery:
        assert self._nursery is not None, "admitted before run()"
        return self._nursery

    async def _carry(self, session: Session, stream: trio.abc.HalfCloseableStream) -> None:
        """A session's task: one scope, one guard, and its stream closed whatever happens."""
        outcome: Outcome = Completed(Reason.DRAINED)
        try:
            with trio.CancelScope() as session.scope:
                if session.cut_reason is not None:  # before its task began
                    session.scope.cancel()
                outcome = await self._handle(session)
            if session.cut_reason is not None:
                outcome = Completed(session.cut_reason)
        finally:
            # The client's own stream, under whatever middlewares put around it.
            try:
                if outcome == Completed() or (self._polite and type(outcome) is Reject):
                    await stream.aclose()
                elif isinstance(stream, PlainStream):
                    stream.close_reset()
                else:
                    await close_hard(stream)
            finally:
                self._ended(session, outcome)

    async def _handle(self, session: Session) -> Outcome:
        try:
            outcome = await self._chain.handle(session)
        except trio.BrokenResourceError as error:  # the client went while a stage was talking to it
            return Completed(Reason.RESET, str(error))
        except Exception as fault:
            self._observer.fault("stage failed", fault, session=session.id, source=session.source)
            return Completed(Reason.FAULT, repr(fault))
        except BaseExceptionGroup as group:  # a cancel, and what a stage's clean-up raised on the way
            cancelled, others = group.split(trio.Cancelled)
            if cancelled is None or not isinstance(others, Exception):
                raise
            self._observer.fault("stage failed", others, session=session.id, source=session.source)
            raise cancelled from None
        if isinstance(outcome, (Completed, Reject)):
            return outcome
        fault = TypeError(f"the endpoint returned {outcome!r}; it must return Completed or Reject")
        self._observer.fault("stage failed", fault, session=session.id, source=session.source)
        return Completed(Reason.FAULT, str(fault))

    def _ended(self, session: Session, outcome: Outcome) -> None:
        """A registered session is over and its sockets are closed."""
        self.live.remove(session)
        self._end(session, outcome)
        if self._emptied is not None and not self.live:
            self._emptied.set()

    def _end(self, session: Session, outcome: Outcome) -> None:
        """Settle it now, or behind the one whose clean-up has ended it: evicting a thousand others nests no calls."""
        self._over.append((session, outcome))
        if self._settling:
            return
        self._settling = True
        try:
            while self._over:
                self._settle(*self._over.popleft())
        finally:
            self._settling = False

    def _settle(self, session: Session, outcome: Outcome) -> None:
        for fault in session.end(outcome):
            self._observer.fault("clean-up failed", fault, session=session.id)
        self._observer.count(outcome)
        self.recent.append(session)

    def cut(self, reason: Reason) -> int:
        """Cut every live session and say how many."""
        return sum(session.cut(reason) for session in self.live)

    async def wait_empty(self) -> None:
        """Wait until no session is live."""
        self._emptied = trio.Event()
        if self.live:
            await self._emptied.wait()
