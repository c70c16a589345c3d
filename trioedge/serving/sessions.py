"""From an accepted connection to the end of its session: admission, registration, one guard, and the count.

| a connection | when | action |
| --- | --- | --- |
| is accepted | a leading decision refuses it, or raises | close it; it is counted, and never registered |
| is admitted | handshakes are next | register it; no task while its client is in them |
| is admitted, or through its handshakes | only the endpoint is left, and the reactor can carry it | no task |
| is admitted, or through its handshakes | else | start its task |
| ends | | close its sockets, unregister it, run its clean-ups, count it |

An exception of a stage or of the endpoint is logged and ends this one session with ``fault``, also one that is no
``Exception``.
"""

import itertools
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import attrs
import trio
from trio_util import AsyncBool

from ..addresses.source_prefix import SourcePrefix
from ..errors import quote_fault
from ..loop.reactor import Reactor
from ..loop.slices import in_slices
from ..loop.sockets import close, reset
from ..relay.answers import answer_behind, answer_refused
from ..relay.socket_relay import Ended
from ..relay.stream_relay import close_hard
from ..relay.streams import PlainStream, replaying
from ..services.registry import Registry
from ..services.service import Service
from ..services.services import Services
from ..services.sharing.crowd import Crowd
from ..services.sharing.worker_share import WorkerShare
from ..session.chain import Chain
from ..session.session import Session
from ..session.surroundings import Clock
from ..session.verdict import Completed, Outcome, Reason, Reject
from ..telemetry.log import STOPS, EdgeLog
from .background import BackgroundAnswers
from .deciding import refusal_at_listener, refusal_by
from .endings import Endings
from .handing_over.handing_over import HandingOver, SourceWorkers
from .handshaking.handshakes import Handshakes
from .handshaking.talking import WaitingClients
from .part import Part
from .reactor_endpoint import ReactorEndpoint, wrong_begin
from .session_task import SessionTasks

EVICT_REST: Final = 1
"""How many times longer the closing of evicted sessions rests than it works. Half of the loop is theirs then."""


class FreshClock:
    """The edge's clock for code in tasks, read each time: the reactor's own is as old as its last batch of events."""

    __slots__ = ("_reactor",)

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor

    @property
    def now(self) -> float:
        return self._reactor.refresh()


@attrs.frozen
class SessionsPart:
    """The sessions of one of several workers.

    Attributes:
        ids: of the sessions; 1, 2 and so on if None.
        tell_live: see :class:`Crowd`; None for a process alone.
        sources: the workers that sessions are handed to; None where none are.
    """

    ids: Iterator[int] | None = None
    tell_live: Callable[[int], int] | None = None
    sources: SourceWorkers | None = None


def sessions_part(part: Part | None, share: WorkerShare | None, max_sessions: int | None) -> SessionsPart:
    """Give what the sessions of one worker share with those of others; nothing for a process alone."""
    if part is None:
        return SessionsPart()
    return SessionsPart(part.ids(), None if share is None else share.telling(max_sessions), part.sources)


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
        waiting: the clients that are in their handshakes and have to say more.
        crowd: counts the others, against `max_sessions`.
        handing_over: hands sessions to other workers, and takes theirs; None where there are none.
    """

    def __init__(
        self, chain: Chain, reactor: Reactor, log: EdgeLog, live: Registry, services: Services,
        answers: BackgroundAnswers, waiting: WaitingClients, *, max_sessions: int, graceful_refuse: bool,
        source_prefix: SourcePrefix = SourcePrefix(),  # noqa: B008 - frozen
        part: SessionsPart = SessionsPart(),
    ) -> None:  # fmt: skip
        """Admit no session yet; :meth:`run` opens the nursery that sessions with a task live in.

        Args:
            chain: every session goes through it.
            reactor: carries the sessions that need no task.
            log: counts ends and logs faults.
            live: registers the sessions.
            services: the services, by name.
            answers: awaits what handshakes ask in the background.
            waiting: the clients that are in their handshakes and have to say more.
            max_sessions: the most live sessions, without those in handshakes; the next is refused with OVERLOAD.
            graceful_refuse: whether refused connections are closed in order, rather than with a reset.
            source_prefix: the part of an address that limits count as one source.
            part: the other workers that serve the edge; none for a process alone.
        """
        self._decide = chain.decide
        self._reactor, self._log = reactor, log
        self._home = EdgeHome(reactor, services, source_prefix)
        self._unnamed: Service = services.unnamed
        self._handle, self._behind = chain.handle, chain.behind
        self._settle: Ended = self._ended  # bound once, because each relay keeps it
        home = EdgeHome(FreshClock(reactor), services, source_prefix)
        self._tasks = SessionTasks(log, reactor, home, self._settle, graceful_refuse=graceful_refuse)
        self._graceful_refuse, self._close_refused = graceful_refuse, close if graceful_refuse else reset
        self._ids = part.ids or itertools.count(1)
        self._answers, self.waiting = answers, waiting
        self._emptied: trio.Event | None = None
        self._evicting = AsyncBool()  # True while there are marked sessions that the task has not seen
        endpoint = chain.parts[-1]
        self._endpoint = endpoint if chain.direct and isinstance(endpoint, ReactorEndpoint) else None
        self._endings = Endings(log, reactor.refresh)
        self.crowd = Crowd(live, waiting, log, max_sessions, part.tell_live)
        self._unregister = self.crowd.telling(live.remove)
        self.handing_over = None if part.sources is None else HandingOver(
            part.sources, reactor, log, live, services.unnamed, self._home, self._unregister, self._ids.__next__
        )  # fmt: skip
        self._handshakes: Handshakes | None = None
        if chain.handshakes:
            self._handshakes = Handshakes(
                chain.handshakes, reactor, log, answers, waiting, self._through, self._settle,
                graceful_refuse=graceful_refuse, handing_over=self.handing_over,
            )  # fmt: skip
        self.live, self.recent = live, self._endings.recent
        register = log.starts.recording(live.add)
        self._register = register if chain.handshakes else self.crowd.telling(register)  # clients in them do not count

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the tasks of sessions and close those that were evicted, until cancelled; then cut all that are left."""
        try:
            async with trio.open_nursery() as nursery:
                self._answers.nursery = self._tasks.nursery = nursery
                self.live.evictions.start(partial(setattr, self._evicting, "value", True), self._log)
                task_status.started()
                while True:
                    await self._evicting.wait_value(True)
                    self._evicting.value = False
                    await in_slices(self.live.evictions.steps(), rest=EVICT_REST)
        finally:
            self.live.evictions.stop()
            self.cut(Reason.DRAINED)

    def admit(
        self, sock: socket.SocketType, listener: str, source: str, packed: bytes, port: int, service: Service | None
    ) -> None:
        """Take an accepted socket: refuse it at once, or begin its session.

        Args:
            sock: the client's socket, which may block.
            listener: the address it was accepted on.
            source: the client's address as text.
            packed: the same, packed.
            port: the client's port.
            service: the one whose listener this is; None for a listener of the edge's own.
        """
        begun = self._unnamed if service is None else service
        session = Session(next(self._ids), listener, source, packed, port, self._reactor.now, begun, self._home)
        self._log.accepted += 1
        try:
            refusal = self._refusal(session, service, talks=self._handshakes is not None)
            if refusal is not None:
                self._close_refused(sock)
                self._endings.add(session, refusal)
                return
            sock.setblocking(False)  # a system call that a refusal does not need
            self._register(session)
            if self._handshakes is not None:
                self._handshakes.begin(session, sock)
            else:
                self._begin(session, sock, b"")
        except STOPS:
            raise
        except BaseException as fault:
            self._fail(session, sock, fault)

    def _through(self, session: Session, sock: socket.SocketType, prefetched: bytes) -> None:
        """Take a session whose client is through its handshakes; never raises."""
        try:
            if (refusal := self.crowded()) is not None:
                self._refuse(session, sock, refusal)
            else:
                self._begin(session, sock, prefetched)
        except STOPS:
            raise
        except BaseException as fault:
            self._fail(session, sock, fault)

    def _begin(self, session: Session, sock: socket.SocketType, prefetched: bytes) -> None:
        """Have the endpoint carry a registered session, without a task if it can."""
        endpoint = self._endpoint
        if endpoint is not None:
            session.began = True
            begun = endpoint.begin(session, sock, prefetched, self._settle)
            if begun is True:
                if session.cut_reason is not None and session.carrier is not None:  # before it had a carrier
                    session.carrier.cut(session.cut_reason)
                return
            if type(begun) is Reject:
                self._refuse(session, sock, begun)
                return
            if begun is not False:
                raise wrong_begin(begun)
            session.began = False
        stream, handle = PlainStream(sock, fresh=True), self._behind
        if prefetched:
            stream.unread(prefetched)
        if session.answer is not None:
            handle = partial(answer_behind, stream=stream, call_next=self._behind, log=self._log)
        self._tasks.start(session, stream, handle)

    def _refuse(self, session: Session, sock: socket.SocketType, refusal: Reject) -> None:
        """Close the socket of a registered session, in its handshake's words if one waits for this."""
        if not answer_refused(session, sock, refusal, self._reactor, self._log):
            self._close_refused(sock)
        self._ended(session, refusal)

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
        self, stream: trio.abc.HalfCloseableStream, listener: str, source: str, packed: bytes, port: int,
        service: Service | None = None,
    ) -> Session:  # fmt: skip
        """Take a connected stream that is no plain socket; its session always has a task.

        The other arguments are those of :meth:`admit`.
        """
        now = self._reactor.refresh()
        begun = self._unnamed if service is None else service
        session = Session(next(self._ids), listener, source, packed, port, now, begun, self._home)
        self._log.accepted += 1
        refusal = self._refusal(session, service, talks=False)
        if refusal is None:
            self._register(session)
            self._tasks.start(session, replaying(stream), self._handle)
        else:
            self._endings.add(session, refusal)
            self._tasks.nursery.start_soon(stream.aclose if self._graceful_refuse else partial(close_hard, stream))
        return session

    def _refusal(self, session: Session, service: Service | None, *, talks: bool) -> Reject | None:
        """Ask the leading decisions; a client that talks first takes a place of `max_sessions` only behind that."""
        if service is not None and (refusal := refusal_at_listener(session, service)) is not None:
            return refusal
        if not talks and (refusal := self.crowd.refusal(more=1)) is not None:
            return refusal
        return refusal_by(self._decide, session, self._log)

    def crowded(self) -> Reject | None:
        """Give the refusal of a registered session that is through its handshakes, if too many others are live."""
        return self.crowd.refusal(more=0)

    def _ended(self, session: Session, outcome: Outcome) -> None:
        """Unregister a session whose sockets are closed, and settle it."""
        try:
            self._unregister(session)
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
