"""The edge: listeners, a chain and what runs in the background, put together; and `run`, which serves it."""

import gc
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final

import attrs
import structlog
import trio

from .core.address import normalise_source, parse_address
from .core.bounds import check_choice, check_count, check_number
from .core.chain import Chain, compile_chain
from .core.errors import ConfigurationError
from .core.registry import Registry
from .core.session import Session
from .core.stage import Worker
from .core.verdict import Reason
from .outbounds.direct import Direct
from .runtime.ground import Bound, Ground, Outbound
from .runtime.listener import Listener, bind
from .runtime.observe import Observer
from .runtime.reactor import Reactor
from .runtime.relay import Meter
from .runtime.resolver import Resolver
from .runtime.serve import Sessions

SPARE_DESCRIPTORS: Final = 64
"""File descriptors left to the process when the default of `max_sessions` is worked out."""


class ExitCode(IntEnum):
    """What the process says when it ends."""

    DRAINED = 0
    """Stopped by a signal; every session finished by itself."""
    FAULT = 1
    """Ended by an exception nobody expected."""
    CONFIGURATION = 2
    """The target or the configuration cannot be; nothing was started."""
    LISTEN = 3
    """An address cannot be listened on."""
    CUT = 4
    """Stopped by a signal; sessions were cut, at the drain deadline or by a second signal."""


@attrs.frozen
class Statistics:
    """An edge's counts since it was made.

    Attributes:
        accepted: connections accepted, the refused among them.
        live: sessions now.
        refused: sessions refused, by reason.
        ended: sessions that ran and ended, by reason.
        bytes_up: bytes handed to upstreams, live sessions included.
        bytes_down: bytes handed to clients, live sessions included.
    """

    accepted: int
    live: int
    refused: Mapping[Reason, int]
    ended: Mapping[Reason, int]
    bytes_up: int
    bytes_down: int


class Edge:
    """Listeners, stages and an endpoint.

    Attributes:
        chain: the compiled chain; `trioedge check` prints it.
        listen: the addresses, as they were given.
        drain_seconds: how long sessions may go on after :meth:`drain`.
    """

    def __init__(
        self,
        listen: str | Sequence[str],
        stages: Sequence[object],
        endpoint: object,
        *,
        drain_seconds: float = 10.0,
        max_sessions: int | None = None,
        refuse: str = "reset",
    ) -> None:
        """Compile an edge; nothing is opened before it serves.

        Args:
            listen: ``tcp://127.0.0.1:6380``, ``tcp://[::1]:9000``, ``unix:///run/edge.sock``, or several. Port 0
                lets the system choose; see :attr:`addresses`. ``tcp://[::]:80`` takes IPv4 as well.
            stages: decisions and middlewares in order of execution.
            endpoint: where sessions go.
            drain_seconds: how long sessions may go on after :meth:`drain`, at least 0.
            max_sessions: live at once; the next is refused with reason ``overload``. When None, as many as
                file descriptors allow: half of the limit less 64, with the endpoint's idle connections set aside.
            refuse: ``reset`` closes refused connections with a reset, which costs client and kernel least;
                ``close`` closes them in order.

        Raises:
            ConfigurationError: what is wrong, where, and how to mend it.
        """
        addresses = [listen] if isinstance(listen, str) else list(listen)
        if not addresses:
            raise ConfigurationError("listen names no address: write listen='tcp://127.0.0.1:6380'")
        check_number("Edge", "drain_seconds", drain_seconds)
        if max_sessions is not None:
            check_count("Edge", "max_sessions", max_sessions)
        check_choice("Edge", "refuse", refuse, ("reset", "close"))
        self.listen = tuple(str(parse_address(address, listening=True)) for address in addresses)
        self.chain: Chain = compile_chain(stages, endpoint)
        self.drain_seconds = drain_seconds
        self._max_sessions = max_sessions
        self._polite = refuse == "close"
        self._drain_asked = trio.Event()
        self._listeners: list[Listener] = []
        self._observer = Observer()
        self._meters = (Meter(), Meter())
        self._sessions: Sessions | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that are listened on now, ports filled in; none before and after serving."""
        return tuple(str(listener.address) for listener in self._listeners)

    @property
    def sessions(self) -> Registry:
        """The live sessions: iterate, count, or look one up by id."""
        return Registry() if self._sessions is None else self._sessions.live

    def evict(
        self, *, service: str | None = None, source: str | None = None, session: int | Session | None = None
    ) -> int:
        """Cut the live sessions that match everything named, with reason ``evicted``, and say how many.

        The sockets of those that relay or connect are closed when this returns; one that a middleware holds is
        closed when its task next runs. Costs what it closes, whatever else lives.

        Args:
            service: sessions of this service.
            source: sessions of this address, in any spelling.
            session: this session, or the one with this id.

        Raises:
            TypeError: nothing is named; to cut all, :meth:`drain`.
            ConfigurationError: `source` is not an address.
        """
        if service is None and source is None and session is None:
            raise TypeError("evict() needs a service, a source or a session")
        if source is not None:
            source, _ = normalise_source(source)
        if isinstance(session, Session):
            session = session.id
        matching = self.sessions.matching(service=service, source=source, session=session)
        return sum(each.cut(Reason.EVICTED) for each in matching)

    def statistics(self) -> Statistics:
        """Give the counts as they are now; costs the same however many sessions live."""
        observer = self._observer
        return Statistics(
            accepted=observer.accepted,
            live=len(self.sessions),
            refused=dict(observer.refused),
            ended=dict(observer.ended),
            bytes_up=self._meters[0].bytes,
            bytes_down=self._meters[1].bytes,
        )

    def drain(self) -> None:
        """Stop accepting; :meth:`serve` returns when the sessions have finished, or cuts them at the deadline."""
        self._drain_asked.set()

    async def serve(self, *, task_status: trio.TaskStatus["Edge"] = trio.TASK_STATUS_IGNORED) -> int:
        """Serve until :meth:`drain` or a cancel; either way nothing of the edge is left when this returns.

        `task_status.started(edge)` is called once every address is listened on and every worker is ready.

        Returns:
            How many sessions were cut because they had not finished at the drain deadline.

        Raises:
            ListenError: an address cannot be listened on; nothing was started.
        """
        if self._listeners:
            raise RuntimeError("this edge is serving already")
        self._listeners = []
        try:
            for address in self.listen:
                self._listeners.append(bind(parse_address(address, listening=True)))
            return await self._serve(Direct(), task_status)
        finally:
            for listener in self._listeners:
                listener.close()
            self._listeners = []

    async def rehearse(
        self, outbound: Outbound, *, task_status: trio.TaskStatus["Edge"] = trio.TASK_STATUS_IGNORED
    ) -> int:
        """Serve as :meth:`serve` does, but listen nowhere and connect through `outbound`.

        For `trioedge.testing`, which brings the clients: :meth:`admit`.
        """
        return await self._serve(outbound, task_status)

    def admit(self, stream: trio.abc.HalfCloseableStream, source: str, *, port: int = 0) -> Session:
        """Take a connected stream as if it had been accepted from `source`; only while serving.

        Raises:
            ConfigurationError: `source` is not an address.
        """
        if self._sessions is None:
            raise RuntimeError("this edge is not serving")
        text, packed = normalise_source(source)
        return self._sessions.admit_stream(stream, self.listen[0], text, packed, port)

    async def _serve(self, outbound: Outbound, task_status: trio.TaskStatus["Edge"]) -> int:
        """Start from the inside out: workers, sessions, listeners; stop in the other order."""
        observer = self._observer
        reactor = Reactor(observer)
        resolver = Resolver(reactor)
        ground = Ground(reactor, resolver, observer, outbound, self._meters)
        self._drain_asked = trio.Event()
        async with trio.open_nursery() as workers:
            await workers.start(reactor.run)
            await workers.start(resolver.run)
            for part in self.chain.parts:
                if isinstance(part, Bound):
                    part.bind(ground)
                if isinstance(part, Worker):
                    await workers.start(part.run)
            sessions = self._sessions = Sessions(
                self.chain, reactor, observer, most=self._max_sessions or self._affordable(), polite=self._polite
            )
            await workers.start(sessions.run)
            try:
                for listener in self._listeners:
                    listener.open(reactor, observer, sessions.admit, self._shed)
                if self._listeners:
                    observer.say("listening", addresses=list(self.addresses))
                task_status.started(self)
                await self._drain_asked.wait()
                for listener in self._listeners:
                    listener.close()
                observer.say("draining", live=len(sessions.live), seconds=self.drain_seconds)
                with trio.move_on_after(self.drain_seconds):
                    await sessions.wait_empty()
            finally:
                cut = sessions.cut(Reason.DRAINED)
                observer.say("stopped", cut=cut)
            workers.cancel_scope.cancel()
        return cut

    def _shed(self) -> None:
        self._observer.accepted += 1
        self._observer.refused[Reason.OVERLOAD] += 1
        self._observer.notice("shedding: out of file descriptors", live=len(self.sessions))

    def _affordable(self) -> int:
        """How many sessions, of two sockets each, the limit of open files allows."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return max(1, (files - SPARE_DESCRIPTORS - getattr(self.chain.parts[-1], "preconnect", 0)) // 2)


def run(edge: Edge) -> ExitCode:
    """Serve until SIGTERM or SIGINT, then drain; a second signal cuts at once.

    For a process that is an edge and nothing else: the soft limit of open files is raised to the hard one, what
    was imported is taken out of the garbage collector's sight, and log lines go to stderr unless structlog was
    configured otherwise.

    Returns:
        DRAINED or CUT.

    Raises:
        ListenError: an address cannot be listened on.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.collect()
    gc.freeze()
    if not structlog.is_configured():
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        cut = trio.run(serve_until_signal, edge)
    except BaseExceptionGroup as group:  # out of its nurseries, as one line
        configuration, others = group.split(ConfigurationError)
        if configuration is None or others is not None:
            raise
        raise _first(configuration) from None
    return ExitCode.CUT if cut else ExitCode.DRAINED


def _first(group: BaseExceptionGroup[ConfigurationError]) -> ConfigurationError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ConfigurationError)
    return error


async def serve_until_signal(edge: Edge) -> int:
    """Serve until a signal, drain, and give how many sessions were cut."""
    cut = 0
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def listen_to_signals() -> None:
                nonlocal cut
                count = 0
                async for _ in signals:
                    count += 1
                    if count == 1:
                        edge.drain()
                    else:
                        cut = len(edge.sessions)
                        nursery.cancel_scope.cancel()

            nursery.start_soon(listen_to_signals)
            cut = await edge.serve()
            nursery.cancel_scope.cancel()
    return cut
