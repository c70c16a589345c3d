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
from ..services.service import Service
from ..services.services import Services
from ..session.chain import Chain
from ..session.session import Session
from ..session.verdict import CONTINUE, Completed, Outcome, Reason, Reject
from ..telemetry.observer import Observer

RECENT_SESSIONS: Final = 1_000
"""Sessions that are over and can still be explained."""

_OVERLOAD: Final = Reject(Reason.OVERLOAD, "as many sessions as the edge may have")


@runtime_checkable
class ReactorEndpoint(Protocol):
    """A live endpoint that can carry plain sockets in the reactor, without a task."""

    def begin(self, session: Session, down: socket.socket, prefetched: bytes, ended: Ended, /) -> bool:
        """Take the client's socket; `ended` is called once, when it is closed.

        Returns:
            False if this session needs a task; the socket is still the caller's then.
        """


class EdgeHome:
    """What sessions ask of their edge: the clock, and services by name."""

    __slots__ = ("clock", "find")

    def __init__(self, clock: Reactor, services: Services) -> None:
        self.clock = clock
        self.find = services.find


class Sessions:
    """The sessions of one edge: admits, registers, guards and ends them."""

    def __init__(
        self, chain: Chain, reactor: Reactor, log: Observer, live: Registry, services: Services, *, max_sessions: int,
        graceful_refuse: bool,
    ) -> None:  # fmt: skip
        """Admit no session yet; :meth:`run` opens the nursery that sessions with a task live in.

        Args:
            chain: every session goes through it.
            reactor: carries the sessions that need no task.
            log: counts ends and logs faults.
            live: where sessions are registered.
            services: where stages find them by name.
            max_sessions: live at a time; the next ones are refused with OVERLOAD.
            graceful_refuse: close refused connections in order, rather than with a reset.
        """
        self._chain = chain
        self._decide = chain.decide
        self._reactor = reactor
        self._log = log
        self._home = EdgeHome(reactor, services)
        self._unnamed: Service = services.unnamed
        self._max = max_sessions
        self._graceful_refuse = graceful_refuse
        self._ids = itertools.count(1)
        self._nursery: trio.Nursery | None = None
        self._emptied: trio.Event | None = None
        endpoint = chain.parts[-1]
        self._endpoint = endpoint if chain.direct and isinstance(endpoint, ReactorEndpoint) else None
        self._over: deque[tuple[Session, Outcome]] = deque()
        self._settling = False
        self.live = live
        self.recent: deque[Session] = deque(maxlen=RECENT_SESSIONS)
        """The sessions that ended last, refused ones included."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the sessions' tasks until cancelled, then cut every session that is left."""
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await trio.sleep_forever()
        finally:
            self.cut(Reason.DRAINED)

    def admit(self, sock: socket.socket, listener: str, source: str, packed: bytes, port: int) -> None:
        """Take an accepted socket: refuse it at once, or carry its session to the end."""
        session = Session(next(self._ids), listener, source, packed, port, self._reactor.now, self._unnamed, self._home)
        self._log.accepted += 1
        refusal = self._refusal(session)
        if refusal is not None:
            if self._graceful_refuse:
                sock.close()
            else:
                reset(sock)
            self._end(session, refusal)
            return
        sock.setblocking(False)  # a system call that a refusal does without
        if self._endpoint is None:
            self._spawn(session, PlainStream(sock))
            return
        self.live.add(session)
        session.began = True
        try:
            if not self._endpoint.begin(session, sock, b"", self._ended):
                session.began = False
                self._start_task(session, PlainStream(sock))
        except Exception as fault:
            self._log.fault("endpoint failed", fault, session=session.id)
            if session.carrier is not None:
                session.carrier.cut(Reason.FAULT)
            elif session.outcome is None:
                reset(sock)
                self._ended(session, Completed(Reason.FAULT, repr(fault)))

    def admit_stream(
        self, stream: trio.abc.HalfCloseableStream, listener: str, source: str, packed: bytes, port: int
    ) -> Session:
        """Take a connected stream that is no plain socket; its session always has a task."""
        now = self._reactor.refresh()
        session = Session(next(self._ids), listener, source, packed, port, now, self._unnamed, self._home)
        self._log.accepted += 1
        refusal = self._refusal(session)
        if refusal is None:
            self._spawn(session, ReplayStream(stream))
        else:
            self._end(session, refusal)
            self._tasks.start_soon(stream.aclose if self._graceful_refuse else partial(close_hard, stream))
        return session

    def _refusal(self, session: Session) -> Reject | None:
        """Ask the leading decisions; one that raises costs this session, and no other."""
        if len(self.live) >= self._max:
            self._log.notice("shedding: too many sessions", live=len(self.live))
            return _OVERLOAD
        try:
            verdict = self._decide(session)
        except Exception as fault:
            self._log.fault("decision failed", fault, session=session.id, source=session.source)
            return Reject(Reason.FAULT, repr(fault))
        if session.cut_reason is not None:
            return Reject(session.cut_reason, "cut by a decision")
        if session.outcome is not None:
            return Reject(session.outcome.reason, "ended by a decision")
        return None if verdict is CONTINUE else verdict

    def _spawn(self, session: Session, stream: trio.abc.HalfCloseableStream) -> None:
        self.live.add(session)
        self._start_task(session, stream)

    def _start_task(self, session: Session, stream: trio.abc.HalfCloseableStream) -> None:
        session.stream = stream
        self._tasks.start_soon(self._carry, session, stream)

    @property
    def _tasks(self) -> trio.Nursery:
        assert self._nursery is not None, "admitted before run()"
        return self._nursery

    async def _carry(self, session: Session, stream: trio.abc.HalfCloseableStream) -> None:
        """A session's task: one scope, one guard, and its stream closed whatever happens."""
        outcome: Outcome = Completed(Reason.DRAINED)
        try:
            with trio.CancelScope() as scope:
                session.scope = scope
                if session.cut_reason is not None:  # before its task began
                    scope.cancel()
                outcome = await self._handle(session)
            if session.cut_reason is not None:
                outcome = Completed(session.cut_reason)
        finally:
            # The client's own stream, under those that middlewares put around it.
            try:
                if outcome == Completed() or (self._graceful_refuse and type(outcome) is Reject):
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
            self._log.fault("stage failed", fault, session=session.id, source=session.source)
            return Completed(Reason.FAULT, repr(fault))
        except BaseExceptionGroup as group:  # a cancel, and what a stage's clean-up raised on the way
            cancelled, others = group.split(trio.Cancelled)
            if cancelled is None or not isinstance(others, Exception):
                raise
            self._log.fault("stage failed", others, session=session.id, source=session.source)
            raise cancelled from None
        if isinstance(outcome, (Completed, Reject)):
            return outcome
        fault = TypeError(f"the endpoint returned {outcome!r}; it must return Completed or Reject")
        self._log.fault("stage failed", fault, session=session.id, source=session.source)
        return Completed(Reason.FAULT, str(fault))

    def _ended(self, session: Session, outcome: Outcome) -> None:
        """A registered session is over and its sockets are closed."""
        try:
            self.live.remove(session)
        except Exception as fault:
            wrong = RuntimeError(f"a stage has called a method of the session that only the edge calls: {fault!r}")
            self._log.fault("stage failed", wrong, session=session.id, source=session.source)
        self._end(session, outcome)
        if self._emptied is not None and not self.live:
            self._emptied.set()

    def _end(self, session: Session, outcome: Outcome) -> None:
        """Settle it now, or behind the one whose clean-up ended it: evicting a thousand others nests no calls."""
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
            self._log.fault("clean-up failed", fault, session=session.id)
        self._log.count(outcome)
        self.recent.append(session)

    def cut(self, reason: Reason) -> int:
        """Cut every live session and count them."""
        return sum(session.cut(reason) for session in self.live)

    async def wait_empty(self) -> None:
        """Wait until no session is live."""
        self._emptied = trio.Event()
        if self.live:
            await self._emptied.wait()
