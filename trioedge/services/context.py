"""The context of one run of an edge, with which its stages, its endpoint and its outbounds are opened."""

import socket
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence, Sized
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import attrs
import trio

from ..addresses.address import Address, parse_address
from ..addresses.source_prefix import SourcePrefix, flood_groups
from ..arguments import check_count
from ..errors import ConfigurationError
from ..loop.reactor import Reactor
from ..session.session import Session
from ..session.verdict import Outcome, Reason
from ..structures.gcra import Gate
from ..structures.live_counts import LiveCounts
from ..telemetry.log import EdgeLog
from .control_plane import ControlPlane
from .linking.device_judge import DeviceJudge
from .listening.listeners import Listeners
from .registry import Registry, SessionsView
from .service import Service
from .services import Services, ServicesView
from .sharing.worker_share import WorkerShare
from .snapshot import Watcher

S = TypeVar("S", bound=Sized)

SocketAddress: TypeAlias = tuple[socket.AddressFamily, object]
"""An address family and an address of it: ``socket.socket(family).connect(address)``."""

Upstream: TypeAlias = "str | Address | socket.socket | trio.abc.HalfCloseableStream"
"""The other end of a relay: an address to connect to, as text or :class:`Address`; or a connected socket or stream."""


@runtime_checkable
class Outbound(Protocol):
    """Makes connections to upstreams.

    An outbound that keeps something while an edge serves is a recipe: its ``open(context)`` makes the live outbound,
    which may have ``run`` and ``close`` as live stages have.
    """

    async def connect(self, address: Address, /) -> "socket.socket | trio.abc.HalfCloseableStream":
        """Connect to `address`. The caller has a limit of its own and cancels; nothing may be left open then.

        Returns:
            A connected TCP or local stream socket, which the reactor relays at full speed; or a stream, which two tasks
            relay.

        Raises:
            UpstreamError: there is no connection; the session ends with the reason of the error.
            OSError: there is no connection; the session ends with the reason that belongs to the error number.
        """


class Resolving(Protocol):
    """A resolver of names that remembers answers; :meth:`EdgeContext.resolve` is the same for code that can await."""

    def ask(self, address: Address, on_answer: Callable[[Any], object], asker: Hashable = None, /) -> None:
        """Call `on_answer` once: before this returns if the answer is remembered, and later if it is not.

        Args:
            address: ``tcp://host:port``, parsed.
            on_answer: called with the families and addresses to connect to, the best one first, or with an
                :class:`UpstreamError`. It must not wait. Its exceptions come out of this call, or are logged if the
                answer comes later.
            asker: shares the queries for names with other askers, as the services of an edge do.
        """

    def fresh_until(self, address: Address, /) -> float:
        """Give the time until which the answer does not change, in seconds of the edge's clock; infinity for ever."""


class EdgeFunctions(Protocol):
    """The functions of a run of an edge that its context offers."""

    async def relay(self, session: Session, upstream: Upstream, /) -> Outcome:
        """See :meth:`EdgeContext.relay`."""

    async def resolve(self, address: Address, /) -> Sequence[SocketAddress]:
        """See :meth:`EdgeContext.resolve`."""

    async def verify(self, service: str, password: str, source: Session | str | None, /) -> bool:
        """See :meth:`EdgeContext.verify`."""

    def recall(self, service: str, password: str, /) -> bool | None:
        """See :meth:`EdgeContext.recall`."""

    @property
    def listeners(self) -> Listeners:
        """See :attr:`EdgeContext.listeners`."""

    async def wait_draining(self) -> None:
        """See :meth:`EdgeContext.wait_draining`."""


@attrs.frozen(eq=False, repr=False)
class EdgeContext:
    """One run of an edge, as its stages, its endpoint and its outbounds see it. It is of no use after the run.

    Attributes:
        log: ``say(event, **facts)`` logs something that happens once; ``notice(event, **facts)`` something that may
            happen very often, at most one line a second; ``fault(event, error, **facts)`` an exception, with its
            traceback.
        control: the control plane; None where there is none.
        outbound: the outbound of an endpoint that names none.
        outbounds: those of ``Edge(outbounds=…)``, by name, for an endpoint that reads the outbound of a policy.
        relays: whether the endpoint relays with the edge's relay, so that limits on bytes work.
        reactor: the event loop, which has the edge's deadlines and carries plain sockets without a task.
        resolver: resolves names by a callback, in code that cannot await :meth:`resolve`.
        source_prefix: the part of an address that limits count as one source; ``session.source_key`` is cut by it.
        share: this process as one of several workers of the edge; None for a process alone.
    """

    log: EdgeLog
    control: ControlPlane | None
    outbound: Any
    relays: bool
    reactor: Reactor
    resolver: Resolving
    _services: Services
    _sessions: Registry
    _edge: EdgeFunctions
    source_prefix: SourcePrefix = SourcePrefix()  # noqa: RUF009 - frozen
    outbounds: Mapping[str, Any] = MappingProxyType({})
    share: WorkerShare | None = None

    def now(self) -> float:
        """Read the edge's clock, in seconds. In a decision ``session.now`` is cheaper."""
        return self.reactor.refresh()

    @property
    def services(self) -> ServicesView:
        """The services by name, to read."""
        return ServicesView(self._services)

    @property
    def sessions(self) -> SessionsView:
        """The live sessions, to read: iterate, count, find by service, source or device."""
        return SessionsView(self._sessions)

    @property
    def governed(self) -> bool:
        """Whether a control plane names the services. If not, every name is a service from its first use."""
        return self._services.governed

    @property
    def listeners(self) -> Listeners:
        """The addresses that the edge listens on, as a sequence of texts with their real ports; it follows the edge.

        In a rehearsal it has only the listeners that policies name.
        """
        return self._edge.listeners

    def gate(self, capacity: int, per: str | None = None) -> Gate:
        """Make a gate, which limits how often each key may open a session: ``gate.admit(key, session.now, rate)``.

        Key clients by ``session.source_key``: one client has a whole IPv6 prefix of addresses. With several workers
        the gate is shared, so that a key has one rate in all of them. Its keys are then text, bytes, numbers, services
        or tuples of these, and any other key is a fault. Call it in ``open``, in the same order in every worker.

        Args:
            capacity: the maximum of keys in memory, at least 1. A key has a place until it has its whole burst again.
            per: ``source`` if keys are those of sources or end with one, ``peer`` for those of peers, also with a
                length behind it. One worker has all clients of an address, so such a gate is its own and costs less;
                clients without an address share. Anything else, and None, is right for any key.

        Raises:
            ConfigurationError: `capacity` is no whole number of at least 1; or the edges of this process have more than
                64 shared gates.
        """
        if self.share is None:
            return self._watched("gate", Gate(capacity, flood_groups), capacity)
        check_count("Gate", "capacity", capacity)
        gate = self.share.gate(capacity, per)
        return self._watched("gate", gate, capacity) if self.share.has_own(per) else gate

    def counter(self, capacity: int, per: str | None = None) -> LiveCounts:
        """Make a counter, which limits how many live sessions each key has: ``counter.enter(key, limit)``.

        With several workers it is shared as a gate is; see :meth:`gate`.

        Args:
            capacity: the maximum of keys with a live session, at least 1.
            per: as for :meth:`gate`.

        Raises:
            ConfigurationError: `capacity` is no whole number of at least 1; or the edges of this process have more than
                64 shared counters.
        """
        if self.share is None:
            return self._watched("counter", LiveCounts(capacity, flood_groups), capacity)
        check_count("LiveCounts", "capacity", capacity)
        counts = self.share.counter(capacity, per)
        return self._watched("counter", counts, capacity) if self.share.has_own(per) else counts

    def _watched(self, kind: str, table: S, capacity: int) -> S:
        """Have the metrics tell how full a table of this process is; of a shared one that takes too long."""
        self.log.meters.add_table(kind, table.__len__, capacity)
        return table

    def part_of(self, count: int) -> int:
        """Give this worker's part of a number that the whole edge may have, rounded up; all of it for a process alone.

        Idle connections to an upstream are such a number.
        """
        return count if self.share is None else self.share.part_of(count)

    def cut(self, sessions: Iterable[Session], reason: Reason) -> int:
        """Cut many live sessions: mark all of them now, close them soon, in slices, and return how many were marked.

        Each has its `cut_reason` when this returns. A single one: ``session.cut(reason)``, which closes it at once.
        """
        return self._sessions.evictions.cut(sessions, reason, at_once=0)

    def watch(self, watcher: Watcher) -> None:
        """Call ``watcher.changed(service, change)`` after every change of a service from now on.

        An exception of a watcher is logged; the change stays, and the other watchers are called.
        """
        self._services.watch(watcher)

    def judge_devices(self, judge: DeviceJudge) -> None:
        """Let the control plane's link reach the live stage that judges devices, as `DeviceLimit` does when it opens.

        Raises:
            ConfigurationError: another stage of the chain does so already.
        """
        if self._services.device_judge is not None:
            raise ConfigurationError("two stages of the chain judge devices: leave one of them out")
        self._services.device_judge = judge

    def follow_traffic(self, notify: Callable[[Service], object]) -> None:
        """Call `notify` when sessions of a service come or go, and when its bytes move.

        Bytes are reported once after each ``service.up.listen()`` or ``service.down.listen()``. `notify` must not wait.
        Its exceptions are logged, and change nothing.
        """
        self._services.on_traffic.append(notify)

    def relay(self, session: Session, upstream: Upstream) -> Awaitable[Outcome]:
        """Relay a session's bytes to `upstream` and back until both sides have finished; an async method.

        The session's rates, idle limits, allowance and cuts apply, and its service's bytes are counted, as with
        `Forward`. The reactor relays between two plain sockets, two tasks between anything else. Bytes that the
        endpoint has read are relayed first if it gives them back: ``session.stream.unread(data)``.

        Args:
            session: a session with a task; its `stream` is the client.
            upstream: ``tcp://host:port``, ``unix:///path`` or an :class:`Address`, which the edge's own outbound
                connects within 5 s; or a connected socket or stream.

        Returns:
            The outcome, for the endpoint to return. An upstream that cannot be reached gives a `Completed` with its
            reason, and so does an address at which the edge itself listens. Both sides are closed, also after a cancel.

        Raises:
            ConfigurationError: `upstream` is text and no address.
            RuntimeError: the session has a relay already, has ended or has no task, and `upstream` is closed; or
                `upstream` is a socket that carries another session, which goes on.
        """
        return self._edge.relay(session, upstream)

    def resolve(self, address: str | Address) -> Awaitable[Sequence[SocketAddress]]:
        """Resolve the name of an address, from memory if it was resolved lately; an async method.

        After a cancel the look-up goes on, and its answer is remembered.

        Args:
            address: ``tcp://host:port``.

        Returns:
            The families and addresses to connect to, the best one first.

        Raises:
            ConfigurationError: `address` is text and no address.
            UpstreamError: the name has no address, or there was no answer in time.
        """
        return self._edge.resolve(parse_address(address) if isinstance(address, str) else address)

    def wait_draining(self) -> Awaitable[None]:
        """Wait until the edge drains; an async method.

        From then on it accepts no session, and live ones may go on for a while: a worker of an endpoint ends those
        that wait for nothing but a next request.
        """
        return self._edge.wait_draining()

    def verify(self, service: str, password: str, source: Session | str | None = None) -> Awaitable[bool]:
        """Return whether a password is a service's; an async method, see :meth:`Edge.verify`."""
        return self._edge.verify(service, password, source)

    def recall(self, service: str, password: str) -> bool | None:
        """Return what :meth:`verify` knows from memory, at once; None if it must compute a hash first, in a task.

        A handshake asks this, and then ``yield te.Background(context.verify, service, password, session)``.
        """
        return self._edge.recall(service, password)
