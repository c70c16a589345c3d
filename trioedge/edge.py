"""The edge: listeners, a chain and what runs in the background, put together; and `run`, which serves it."""

import resource
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import trio

from .addresses.address import normalise_source, parse_address
from .admin.api import Admin
from .arguments import check_choice, check_count, check_number
from .control.supervisor import ControlState, ControlSupervisor
from .errors import ConfigurationError
from .loop.reactor import Reactor
from .services.context import Bound, EdgeContext, Outbound
from .services.control_plane import ControlPlane
from .services.passwords import Passwords
from .services.plan import Plan
from .services.registry import Registry
from .services.services import Service, Services, Snapshot
from .serving.listener import Listener, bind
from .serving.sessions import Sessions
from .session.chain import Chain, compile_chain
from .session.meter import Total
from .session.session import Session
from .session.stage import Worker
from .session.verdict import Reason
from .stages.identify import identified
from .telemetry.observer import Observer, Statistics
from .telemetry.trace import Explanation, StageTimes, explain, stage_times
from .upstreams.direct import Direct
from .upstreams.resolver import Resolver

_busy: Final[set[int]] = set()
"""Edges that serve now, their control planes, and those of their parts that belong to one edge, by identity."""

SPARE_DESCRIPTORS: Final = 64
"""File descriptors left to the process when the default of `max_sessions` is worked out."""


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
        control: ControlPlane | None = None,
        name: str | None = None,
        report_seconds: float = 10.0,
        admin: str | None = None,
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
            control: says which services there are and what holds for each, from the start and whenever that changes.
                Nobody is accepted before its first word; after that a silent one costs nobody anything. Unless a
                stage names the service, ``Identify()`` is put first, and the only service is ``default``. Behind one
                of your own that does, an ``Identify`` is put that refuses what the control plane does not name.
            name: what reports call this edge, the same after a restart; the machine's name if None.
            report_seconds: between two reports of a busy service, above 0.
            admin: a local socket, ``unix:///run/edge.sock``, on which the edge tells its own user how it is and what a
                snapshot would do; ``trioedge diff --edge`` asks there. None for none.
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
        check_number("Edge", "report_seconds", report_seconds, above=0)
        if control is not None:
            if not isinstance(control, ControlPlane):
                raise ConfigurationError(f"control={control!r} is no control plane: it needs async run(link)")
            if isinstance(stages, Sequence):
                stages = identified(stages)
        self.listen = tuple(str(parse_address(address, listening=True)) for address in addresses)
        for address in self.listen:
            if self.listen.count(address) > 1 and not address.endswith(":0"):
                raise ConfigurationError(f"listen names {address} twice")
        self.chain: Chain = compile_chain(stages, endpoint, clock=time.perf_counter_ns)
        if control is None and getattr(endpoint, "needs_control", False):
            name_of = type(endpoint).__name__
            raise ConfigurationError(
                f"{name_of}() names no destination, and no control plane names one: write {name_of}('tcp://…'), or "
                "give the edge control=…"
            )
        self.drain_seconds = drain_seconds
        self.control = control
        self.name = socket.gethostname() if name is None else name
        self._report_seconds = report_seconds
        self._admin = None if admin is None else parse_address(admin)
        if self._admin is not None and self._admin.scheme != "unix":
            raise ConfigurationError(f"admin={admin!r} must be a local socket, as in unix:///run/edge.sock")
        self._max_sessions = max_sessions
        self._polite = refuse == "close"
        self._drain_asked = trio.Event()
        self._listeners: list[Listener] = []
        self._observer = Observer()
        self._totals = (Total(), Total())
        self._passwords = Passwords()
        self._renew()

    def _renew(self) -> None:
        """Know no service and no session, as before serving."""
        self._sessions: Sessions | None = None
        self._governance = ControlSupervisor(
            self.control,
            self._observer,
            self._totals,
            name=self.name,
            enforced=self.chain.enforced,
            report_seconds=self._report_seconds,
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that are listened on now, ports filled in; none before and after serving."""
        return tuple(str(listener.address) for listener in self._listeners)

    @property
    def sessions(self) -> Registry:
        """The live sessions: iterate, count, or look one up by id."""
        return self._governance.live

    @property
    def services(self) -> Services:
        """The services, by name, with their policies and what they used; empty without a control plane."""
        return self._governance.services

    def service(self, name: str) -> Service:
        """Give a live service.

        Raises:
            KeyError: the control plane names none of that name.
        """
        service = self._governance.services.get(name) if name in self._governance.services else None
        if service is None:
            raise KeyError(name)
        return service

    async def plan(self, snapshot: Snapshot) -> Plan:
        """Say what a snapshot would do to services and to the sessions that live now; nothing changes.

        Raises:
            ConfigurationError: the edge has no control plane.
            SnapshotError: it has faults; it lists the first 100 and counts the others.
        """
        if self.control is None:
            raise ConfigurationError("an edge without control=… has no services that a snapshot could change")
        return await self._governance.convergence.plan(snapshot)

    def control_state(self) -> ControlState:
        """Say how the edge stands with its control plane."""
        return self._governance.state()

    async def verify(self, service: str, password: str) -> bool:
        """Say whether `password` is the service's: a slow hash in a thread once, then memory for ten minutes."""
        before = self._password_hash(service)
        right = await self._passwords.verify(password, before)
        return right and self._password_hash(service) == before  # it may have been changed meanwhile

    def _password_hash(self, service: str) -> str | None:
        found = self._governance.services.find(service)
        return None if found is None else found.settings.credentials.password_hash

    def explain(self, session: int | Session) -> Explanation:
        """Say which stage decided what on a session, and in how many microseconds.

        Args:
            session: one that lives, or one of the last 1,000 that ended or were refused; or its id.

        Raises:
            KeyError: it is neither.
        """
        if not isinstance(session, Session):
            recent = () if self._sessions is None else self._sessions.recent
            found = self._governance.live.get(session) or next((each for each in recent if each.id == session), None)
            if found is None:
                raise KeyError(session)
            session = found
        return explain(session, self.chain)

    def stage_times(self) -> Sequence[StageTimes]:
        """Say how long each stage took, over all sessions since the edge was made."""
        return stage_times(self.chain)

    def evict(
        self,
        *,
        service: str | None = None,
        source: str | None = None,
        device: str | None = None,
        session: int | Session | None = None,
    ) -> int:
        """Cut the live sessions that match everything named, with reason ``evicted``, and say how many.

        The sockets of those that relay or connect are closed when this returns; one that a middleware holds is
        closed when its task next runs. Costs what it closes, whatever else lives.

        Args:
            service: sessions of this service.
            source: sessions of this address, in any spelling.
            device: sessions of this device of `service`, as a device limit names it.
            session: this session, or the one with this id.

        Raises:
            TypeError: nothing is named (to cut all, :meth:`drain`), or a device without its service.
            ConfigurationError: `source` is not an address.
        """
        if service is None and source is None and device is None and session is None:
            raise TypeError("evict() needs a service, a source, a device or a session")
        if source is not None:
            source, _ = normalise_source(source)
        if isinstance(session, Session):
            session = session.id
        matching = self.sessions.matching(service=service, source=source, device=device, session=session)
        return sum(each.cut(Reason.EVICTED) for each in matching)

    def statistics(self) -> Statistics:
        """Give the counts as they are now; costs the same however many sessions live."""
        observer = self._observer
        return Statistics(
            accepted=observer.accepted,
            live=len(self.sessions),
            refused=dict(observer.refused),
            ended=dict(observer.ended),
            bytes_up=self._totals[0].bytes,
            bytes_down=self._totals[1].bytes,
        )

    def drain(self) -> None:
        """Stop accepting; :meth:`serve` returns when the sessions have finished, or cuts them at the deadline."""
        self._drain_asked.set()

    async def serve(self, *, task_status: trio.TaskStatus["Edge"] = trio.TASK_STATUS_IGNORED) -> int:
        """Serve until :meth:`drain` or a cancel; either way nothing of the edge is left when this returns.

        `task_status.started(edge)` is called once every address is listened on and every worker is ready, or a drain
        came before.

        Returns:
            How many sessions were cut because they had not finished at the drain deadline.

        Raises:
            ListenError: an address cannot be listened on; nothing was started.
        """
        with self._alone():
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
        with self._alone():
            return await self._serve(outbound, task_status)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Have this edge, its parts and its control plane to itself: what another edge has would forget this one."""
        if id(self) in _busy:
            raise RuntimeError("this edge is serving already")
        own: list[object] = [part for part in self.chain.parts if isinstance(part, Bound)]
        own += [] if self.control is None else [self.control]
        for part in own:
            if id(part) in _busy:
                raise ConfigurationError(f"{part!r} serves another edge already: give each edge one of its own")
        mine = {id(each) for each in (self, *own)}
        _busy.update(mine)
        try:
            yield
        finally:
            _busy.difference_update(mine)

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
        self._renew()
        governance = self._governance
        reactor = Reactor(observer)
        resolver = Resolver(reactor)
        context = EdgeContext(reactor, resolver, observer, outbound, governance.services, governance.live, self.control)
        sessions = self._sessions = Sessions(
            self.chain,
            reactor,
            observer,
            governance.live,
            most=self._max_sessions or self._affordable(),
            polite=self._polite,
        )
        self._drain_asked = trio.Event()
        cut = 0
        async with trio.open_nursery() as workers:
            await workers.start(reactor.run)
            await workers.start(resolver.run)
            for part in self.chain.parts:
                if isinstance(part, Bound):
                    part.bind(context)
                if isinstance(part, Worker):
                    await workers.start(part.run)
            await workers.start(sessions.run)
            if self._admin is not None:
                await workers.start(Admin(self.plan, self.control_state).serve, self._admin)
            await governance.start(workers, self._drain_asked)
            try:
                if not self._drain_asked.is_set():
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
            await sessions.wait_empty()
            await governance.finish()
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
