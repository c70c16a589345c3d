"""From an accepted connection to the end of its session: admission, registration, one guard, and the count.

| a connection | when | action |
| --- | --- | --- |
| is accepted | a leading decision refuses it, or raises | close it; it is counted, and never registered |
| is admitted | only the endpoint is left, and the reactor can carry it | register it; no task |
| is admitted | else | register it, and start its task |
| ends | | close its sockets, unregister it, run its clean-ups, count it |

An exception of a stage or of the endpoint is logged and ends this one session with ``fault``, also one that is no
``Exception``.
"""

import itertools
import socket
from functools import partial
from typing import Final, Protocol, runtime_checkable

import trio
from trio_util import AsyncBool

from ..addresses.source_prefix import SourcePrefix
from ..errors import quote, quote_fault
from ..loop.reactor import Reactor
from ..loop.slices import in_slices
from ..loop.sockets import close, reset
from ..relay.socket_relay import Ended
from ..relay.stream_relay import close_hard
from ..relay.streams import PlainStream, ReplayStream
from ..services.registry import Registry
from ..services.service import Service
from ..services.services import Services
from ..session.chain import Chain
from ..session.session import Session
from ..session.surroundings import Clock
from ..session.verdict import CONTINUE, Completed, Outcome, Reason, Reject
from ..telemetry.observer import STOPS, Observer
from .endings import Endings
from .session_task import SessionTask

EVICT_REST: Final = 1
"""How many times longer the closing of evicted sessions rests than it works. Half of the loop is theirs then."""

_OVERLOAD: Final = Reject(Reason.OVERLOAD, "the edge has max_sessions sessions")


@runtime_checkable
class ReactorEndpoint(Protocol):
    """A live endpoint that can carry plain sockets in the reactor, without a task."""

    def begin(self, session: Session, down: socket.SocketType, prefetched: bytes, ended: Ended, /) -> bool | Reject:
        """Begin to carry a session over the client's socket.

        If this raises, the edge cuts ``session.carrier``, or closes the socket if there is none yet.

        Args:
            session: the session; its service is final.
            down: the client's non-blocking socket.
            prefetched: bytes that were read from it.
            ended: to be called once, when the socket is closed.

        Returns:
            True if it is carried. False if the session needs a task, or a refusal: nothing has happened then, and the
            edge handles or closes the socket.
        """


class FreshClock:
    """The edge's clock for code in tasks, read each time: the reactor's own is as old as its last batch of events."""

    __slots__ = ("_reactor",)

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor

    @property
    def now(self) -> float:
        return self._reactor.refresh()


class EdgeHome:
    """The running edge, as sessions see it: the clock, and services by name."""

    __slots__ = ("clock", "find", "source_prefix")

    def __init__(
        self,
        clock: Clock,
        services: Services,
        source_prefix: SourcePrefix = SourcePrefix(),  # noqa: B008 - frozen
    ) -> None:
        self.clock = clock
        self.find = services.find
        self.source_prefix = source_prefix


class Sessions:
    """Admits, registers, guards and ends the sessions of one run of an edge.

    Attributes:
        live: the registered sessions.
        recent: the sessions that ended last, refused ones included.
    """

    def __init__(
        self, chain: Chain, reactor: Reactor, log: Observer, live: Registry, services: Services, *, max_sessions: int,
        graceful_refuse: bool, source_prefix: SourcePrefix = SourcePrefix(),  # noqa: B008 - frozen
    ) -> None:  # fmt: skip
        """Admit no session yet; :meth:`run` opens the nursery that sessions with a task live in.

        Args:
            chain: every session goes through it.
            reactor: carries the sessions that need no task.
            log: counts ends and logs faults.
            live: registers the sessions.
            services: the services, by name.
            max_sessions: the most live sessions; beyond it a connection is refused with OVERLOAD.
            graceful_refuse: whether refused connections are closed in order, rather than with a reset.
            source_prefix: the part of an address that limits count as one source.
        """
        self._decide = chain.decide
        self._reactor = reactor
        self._log = log
        self._home = EdgeHome(reactor, services, source_prefix)
        self._home_of_tasks = EdgeHome(FreshClock(reactor), services, source_prefix)
        self._unnamed: Service = services.unnamed
        self._max = max_sessions
        self._graceful_refuse = graceful_refuse
        self._ids = itertools.count(1)
        self._nursery: trio.Nursery | None = None
        self._emptied: trio.Event | None = None
        self._evicting = AsyncBool()  # True while there are marked sessions that the task has not seen
        endpoint = chain.parts[-1]
        self._endpoint = endpoint if chain.direct and isinstance(endpoint, ReactorEndpoint) else None
        self._endings = Endings(log)
        self._settle: Ended = self._ended  # bound once, because each relay keeps it
        self._run = SessionTask(chain.handle, log, reactor, self._settle, graceful_refuse=graceful_refuse).run
        self.live = live
        self.recent = self._endings.recent

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the tasks of sessions and close those that were evicted, until cancelled; then cut all that are left."""
        try:
            async with trio.open_nursery() as self._nursery:
                self.live.evictions.start(self._wake, self._log)
                task_status.started()
                while True:
                    await self._evicting.wait_value(True)
                    self._evicting.value = False
                    await in_slices(self.live.evictions.steps(), rest=EVICT_REST)
        finally:
            self.live.evictions.stop()
            self.cut(Reason.DRAINED)

    def _wake(self) -> None:
        self._evicting.value = True

    def admit(self, sock: socket.SocketType, listener: str, source: str, packed: bytes, port: int) -> None:
        """Take an accepted socket: refuse it at once, or begin its session.

        Args:
            sock: the client's socket, which may block.
            listener: the address it was accepted on.
            source: the client's address as text.
            packed: the same, packed.
            port: the client's port.
        """
        session = Session(next(self._ids), listener, source, packed, port, self._reactor.now, self._unnamed, self._home)
        self._log.accepted += 1
        try:
            refusal = self._refusal(session)
            if refusal is not None:
                self._close_refused(sock)
                self._endings.add(session, refusal)
                return
            sock.setblocking(False)  # a system call that a refusal does not need
            if self._endpoint is None:
                self._spawn(session, PlainStream(sock, fresh=True))
            else:
                self._begin(self._endpoint, session, sock)
        except STOPS:
            raise
        except BaseException as fault:
            self._fail(session, sock, fault)

    def _begin(self, endpoint: ReactorEndpoint, session: Session, sock: socket.SocketType) -> None:
        """Have the endpoint carry a session without a task."""
        self.live.add(session)
        session.began = True
        begun = endpoint.begin(session, sock, b"", self._settle)
        if begun is True:
            if session.cut_reason is not None and session.carrier is not None:  # before it had a carrier
                session.carrier.cut(session.cut_reason)
        elif begun is False:
            session.began = False
            self._start_task(session, PlainStream(sock, fresh=True))
        elif type(begun) is Reject:
            self._close_refused(sock)
            self._ended(session, begun)
        else:
            raise TypeError(f"the endpoint's begin() returned {quote(begun)}; it must return True, False or a Reject")

    def _fail(self, session: Session, sock: socket.SocketType, fault: BaseException) -> None:
        """End a session whose beginning raised an exception."""
        self._log.fault("endpoint failed", fault, session=session.id)
        if session.carrier is not None:
            session.carrier.cut(Reason.FAULT)
        elif session.outcome is None:
            reset(sock)
            end = self._endings.add if session.index is None else self._ended
            end(session, Completed(Reason.FAULT, quote_fault(fault)))

    def admit_stream(
        self, stream: trio.abc.HalfCloseableStream, listener: str, source: str, packed: bytes, port: int
    ) -> Session:
        """Take a connected stream that is no plain socket; its session always has a task.

        Args:
            stream: the client.
            listener: the address it counts as accepted on.
            source: the client's address as text.
            packed: the same, packed.
            port: the client's port.
        """
        now = self._reactor.refresh()
        session = Session(next(self._ids), listener, source, packed, port, now, self._unnamed, self._home)
        self._log.accepted += 1
        refusal = self._refusal(session)
        if refusal is None:
            self._spawn(session, ReplayStream(stream))
        else:
            self._endings.add(session, refusal)
            self._tasks.start_soon(stream.aclose if self._graceful_refuse else partial(close_hard, stream))
        return session

    def _close_refused(self, sock: socket.SocketType) -> None:
        (close if self._graceful_refuse else reset)(sock)

    def _refusal(self, session: Session) -> Reject | None:
        """Ask the leading decisions; an exception of one is a refusal."""
        if self.live.count >= self._max:
            self._log.notice("shedding: too many sessions", live=self.live.count)
            return _OVERLOAD
        try:
            verdict = self._decide(session)
        except STOPS:
            raise
        except BaseException as fault:
            self._log.fault("decision failed", fault, session=session.id, source=session.source)
            return Reject(Reason.FAULT, quote_fault(fault))
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
        session.live_in(self._home_of_tasks)
        self._tasks.start_soon(self._run, session, stream, name="a session")
        self._reactor.starting += 1

    @property
    def _tasks(self) -> trio.Nursery:
        assert self._nursery is not None, "admitted before run()"
        return self._nursery

    def _ended(self, session: Session, outcome: Outcome) -> None:
        """Unregister a session whose sockets are closed, and settle it."""
        try:
            self.live.remove(session)
        except STOPS:
            raise
        except BaseException as fault:
            wrong = RuntimeError(
                f"a stage has called a method of the session that only the edge calls: {quote_fault(fault)}"
            )
            self._log.fault("stage failed", wrong, session=session.id, source=session.source)
        self._endings.add(session, outcome)
        if self._emptied is not None and not self.live:
            self._emptied.set()

    def cut(self, reason: Reason) -> int:
        """Cut every live session, in slices if there are many, and give how many were cut."""
        return self.live.evictions.cut(self.live, reason)

    async def wait_empty(self) -> None:
        """Wait until no session is live."""
        self._emptied = trio.Event()
        if self.live:
            await self._emptied.wait()
