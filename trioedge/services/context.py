"""The context of one run of an edge: what its stages, its endpoint and its outbounds are opened with."""

import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import attrs
import trio

from ..addresses.address import Address, parse_address
from ..loop.reactor import Reactor
from ..session.session import Session
from ..session.verdict import Outcome
from ..structures.gcra import Gate
from ..structures.live_counts import LiveCounts
from ..telemetry.observer import Observer
from .control_plane import ControlPlane
from .registry import Registry, SessionsView
from .service import Service
from .services import Services, ServicesView
from .snapshot import Watcher

SocketAddress: TypeAlias = tuple[socket.AddressFamily, object]
"""A family and an address of it, as `socket.connect` takes it."""

Upstream: TypeAlias = "str | Address | socket.socket | trio.abc.HalfCloseableStream"
"""Where a session is relayed to: an address to connect to, or a connection that is there."""


@runtime_checkable
class Outbound(Protocol):
    """A way out: how connections to upstreams are made.

    One that keeps something while an edge serves is a recipe: its ``open(context)`` makes the live outbound, which may
    have ``run`` and ``close`` as live stages have.
    """

    async def connect(self, address: Address, /) -> "socket.socket | trio.abc.HalfCloseableStream":
        """Connect to `address`; the caller cancels it after its own limit, and nothing may be left open then.

        A connected TCP or local stream socket is relayed by the reactor, at full speed; a stream by two tasks.

        Raises:
            UpstreamError: there is no connection, with the reason that the session ends with.
            OSError: the same, with a reason that follows from its number.
        """


class Resolving(Protocol):
    """Names to addresses, from memory."""

    def ask(self, address: Address, on_answer: Callable[[Any], object], /) -> None:
        """Call `on_answer` with the addresses or the error: now, if memory has either, else once it is known."""


class EdgeFunctions(Protocol):
    """What a run of an edge does for its context."""

    async def relay(self, session: Session, upstream: Upstream, /) -> Outcome:
        """See :meth:`EdgeContext.relay`."""

    async def resolve(self, address: Address, /) -> Sequence[SocketAddress]:
        """See :meth:`EdgeContext.resolve`."""

    async def verify(self, service: str, password: str, /) -> bool:
        """See :meth:`EdgeContext.verify`."""

    def addresses(self) -> tuple[str, ...]:
        """See :attr:`EdgeContext.listeners`."""


@attrs.frozen(eq=False, repr=False)
class EdgeContext:
    """One serving edge, as its stages, its endpoint and its outbounds see it.

    A live stage keeps it for as long as its run lasts, and not longer.

    Attributes:
        log: ``say(event, **facts)`` for what happens once, ``notice(event, **facts)`` for what may come in storms (a
            line a second at most), ``fault(event, error, **facts)`` for exceptions, with the traceback.
        control: the control plane; None where there is none.
        outbound: the way out of an endpoint that names none.
        relays: whether the endpoint relays with the edge's relay, so that limits on bytes work.
        reactor: carries plain sockets without a task, and has the edge's deadlines.
        resolver: answers names from memory, for code that cannot await :meth:`resolve`.
    """

    log: Observer
    control: ControlPlane | None
    outbound: Any
    relays: bool
    reactor: Reactor
    resolver: Resolving
    _services: Services
    _sessions: Registry
    _edge: EdgeFunctions

    def now(self) -> float:
        """Read the edge's clock, in seconds. In a decision, ``session.now`` is cheaper."""
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
        """Whether a control plane says which services there are."""
        return self._services.governed

    @property
    def listeners(self) -> tuple[str, ...]:
        """The addresses that the edge listens on now, ports filled in."""
        return self._edge.addresses()

    def gate(self, capacity: int) -> Gate:
        """Make a gate: how often each key may have a session.

        Args:
            capacity: keys remembered at most, at least 1.
        """
        return Gate(capacity)

    def counter(self, capacity: int) -> LiveCounts:
        """Make a table that counts live sessions by key.

        Args:
            capacity: keys with a live session at most, at least 1.
        """
        return LiveCounts(capacity)

    def watch(self, watcher: Watcher) -> None:
        """Have ``watcher.changed(service, change)`` called for every change of a service from now on."""
        self._services.watch(watcher)

    def follow_traffic(self, notify: Callable[[Service], object]) -> None:
        """Have `notify` called when a service's sessions change, and when its bytes move after a silence."""
        self._services.on_traffic.append(notify)

    def relay(self, session: Session, upstream: Upstream) -> Awaitable[Outcome]:
        """Carry a session's bytes to `upstream` and back until both sides have finished; an async method.

        The session's rates, idle limits, allowance and cuts apply, and its service's bytes are counted, as with
        `Forward`. Two plain sockets are relayed by the reactor; anything else by two tasks. Bytes that the endpoint has
        read go first if it gives them back: ``session.stream.unread(data)``.

        Args:
            session: its `stream` is the client.
            upstream: ``tcp://host:port``, ``unix:///path`` or an :class:`Address`, connected by the edge's own
                outbound within 5 s; or a connected socket or stream.

        Returns:
            How it ended; an upstream that cannot be reached is a `Completed` with its reason. Both sides are closed,
            also after a cancel.

        Raises:
            ConfigurationError: `upstream` is text and no address.
        """
        return self._edge.relay(session, upstream)

    def resolve(self, address: str | Address) -> Awaitable[Sequence[SocketAddress]]:
        """Look an address's name up, from memory if it is known; an async method.

        Args:
            address: ``tcp://host:port``.

        Returns:
            The families and addresses to connect to, the best one first.

        Raises:
            UpstreamError: the name has no address, or there was no answer in time.
        """
        return self._edge.resolve(parse_address(address) if isinstance(address, str) else address)

    def verify(self, service: str, password: str) -> Awaitable[bool]:
        """Say whether a password is a service's; an async method, see :meth:`Edge.verify`."""
        return self._edge.verify(service, password)
