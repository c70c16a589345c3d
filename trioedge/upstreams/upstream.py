"""One destination as a live object, the same one for as long as a policy names it.

Its name is resolved, its addresses are checked and its idle connections are made before the first session comes. A
change of another field of the policy does not replace it.
"""

import socket
from collections.abc import Hashable
from ipaddress import ip_address

import attrs
import trio

from ..addresses.address import Address, packed_ip
from ..loop.sockets import connect_at_once
from ..services.context import EdgeContext, SocketAddress
from ..session.session import Session
from ..telemetry.connects import ConnectMeter
from ..telemetry.upstream_counts import UpstreamCounts
from .attempt import Attempt, ConnectCallback
from .connector import RETRIES, Connecting, Connector, Permit, Target, introduction_of
from .errors import UpstreamError
from .pool.pool import IdlePool


@attrs.frozen(slots=True)
class Bounds:
    """The bounds of one connect.

    Attributes:
        seconds: its limit, name and all addresses included.
        retries: how often it is retried if it is refused.
    """

    seconds: float
    retries: int


class Upstream:
    """A destination, its outbound, and the idle connections to it.

    Attributes:
        destination: its address.
        way: the name of its outbound among those of the edge; None for the endpoint's own.
        local: whether it is a local socket.
        plain: whether :meth:`start` gives bare sockets; otherwise there is :meth:`open_stream` only.
        preconnect: idle connections to keep.
        users: how many services name it, as its owner counts them.
        wanted: idle connections that the policies of these services want together.
        warmed: whether :meth:`warm` was called.
        introduction: introduces each session to it; None if it gets the client's bytes alone.
        where: its family and socket address if it is one of this machine, whose kernel answers a connect at once; None
            for any other, and for one that may not be connected to or that an outbound leads to.
        connects: counts its connects.
    """

    def __init__(
        self, destination: Address, connector: Connecting, context: EdgeContext, seconds: float,
        permit: Permit | None = None, retries: int = RETRIES, asker: Hashable = None, way: str | None = None,
    ) -> None:  # fmt: skip
        """Connect nothing yet; :meth:`warm` prepares it.

        Args:
            destination: its address.
            connector: opens its connections.
            context: the running edge.
            seconds: the limit of one connect.
            permit: removes the addresses that may not be connected to.
            retries: how often a connect that was refused is retried.
            asker: shares the queries for names with other askers, see :class:`.Target`.
            way: the name of its outbound, if it has one.
        """
        self.way = way
        self.destination = destination
        self.local = destination.scheme == "unix"
        self.plain = connector.plain
        self.preconnect = 0
        self.users = 0
        self.wanted = 0
        self.warmed = False
        self._context = context
        self._connector = connector
        self.connects = ConnectMeter(context.log.meters.connects)
        self._target = Target(destination, seconds, permit, retries, asker, self.connects)
        self.where = own_address(destination) if type(connector) is Connector else None
        if self.where is not None and isinstance(self._target.permitted((self.where,)), UpstreamError):
            self.where = None
        self.introduction = introduction_of(connector)
        self._pool: IdlePool | None = None  # made by the first `preconnect`

    def __repr__(self) -> str:
        ready = 0 if self._pool is None else len(self._pool)
        return f"Upstream({str(self.destination)!r}, preconnect={self.preconnect}, ready={ready})"

    def counts(self, group: str = "", healthy: bool | None = None) -> UpstreamCounts:
        """Give its counts.

        Args:
            group: of the balanced destination that it is a member of.
            healthy: whether it gets sessions; by default whether its last connect succeeded.
        """
        well = not self.connects.failing if healthy is None else healthy
        idle = 0 if self._pool is None else len(self._pool)
        return UpstreamCounts(group or self.way or "", str(self.destination), well, self.connects, idle)

    def warm(self, nursery: trio.Nursery) -> None:
        """Resolve its name, once, and keep `preconnect` idle connections from now on; of several workers, each a part.

        If none of its addresses is permitted, that is logged.

        Args:
            nursery: runs the task of the idle connections.
        """
        if not self.warmed:
            self.warmed = True
            self._connector.warm(self._target, self.unreached)
        size = self._context.part_of(self.preconnect) if self._connector.plain else 0
        if self._pool is not None:
            self._pool.resize(size)
        elif size:
            target = attrs.evolve(self._target, retries=0)  # the pool has pauses of its own
            self._pool = IdlePool(
                self._connector, self._context.reactor, self._context.log, target, size=size, where=self.where
            )
            self._context.log.meters.pools.add(self._pool)
            nursery.start_soon(self._pool.run)

    def close(self) -> None:
        """Close its idle connections soon, because no policy names it any more. Those in use stay open."""
        if self._pool is not None:
            self._pool.close()

    def unreached(self, error: UpstreamError, service: str = "") -> None:
        """Log that a connect failed: at most once a second for each service, and for each upstream that is configured.

        One that a function or a stage names is logged as ``destination``, which is no key of the log's limit: a client
        of a proxy may name a new one with each session.

        Args:
            error: the failure.
            service: that of the session which wanted it, if there is one.
        """
        facts = {"upstream" if self._target.asker is None else "destination": str(self.destination)}
        if service:
            facts["service"] = service
        self._context.log.notice("upstream failed", **facts, reason=str(error.reason), error=error.detail)

    def take(self) -> tuple[socket.SocketType, bool] | None:
        """Take an idle connection, and whether it is readable already; None if there is none."""
        if self._pool is None or not self.preconnect:
            return None
        taken, meters = self._pool.take(), self._context.log.meters
        if taken is not None:
            meters.idle_taken += 1
        else:
            meters.idle_missed += 1
        return taken

    def released(self, _session: object) -> None:
        """Replace an idle connection, because the session that took one has ended; for ``session.defer``."""
        if self._pool is not None:
            self._pool.released()

    def _within(self, bounds: Bounds | None) -> Target:
        if bounds is None:
            return self._target
        return attrs.evolve(self._target, seconds=bounds.seconds, retries=bounds.retries)

    def connect_at_once(self) -> socket.SocketType | None:
        """Connect to a destination on this machine that takes a connection at once; None for any other."""
        made = None if self.where is None else connect_at_once(*self.where)
        if made is not None:
            self.connects.taken()
        return made

    def start(self, callback: ConnectCallback, bounds: Bounds | None = None) -> Attempt:
        """Begin to connect a plain socket.

        Args:
            callback: is given the socket or the error.
            bounds: of this connect; None for those of the upstream.
        """
        return self._connector.start(self._within(bounds), callback)

    async def open_stream(self, session: Session | None, bounds: Bounds | None = None) -> trio.abc.HalfCloseableStream:
        """Connect a stream for a session, and introduce it; after a cancel nothing is left open.

        Args:
            session: the session; None for a connection of the edge's own.
            bounds: of this connect; None for those of the upstream.

        Raises:
            UpstreamError: there is no connection.
        """
        connect = self._connector.open_stream if self.plain else self._counted
        stream = await connect(self._within(bounds))
        if self.introduction is not None:
            await self.introduction.send(session, stream)
        return stream

    async def _counted(self, target: Target) -> trio.abc.HalfCloseableStream:
        """Connect by an outbound that makes no attempt of the edge's own, which would count itself."""
        reactor, connects = self._context.reactor, self.connects
        began_at = reactor.refresh()
        connects.begun()
        try:
            stream = await self._connector.open_stream(target)
        except UpstreamError as error:
            connects.failed(error.detail)
            raise
        finally:
            connects.over()
        connects.answered(reactor.refresh() - began_at)
        return stream


def own_address(destination: Address) -> SocketAddress | None:
    """Give the socket address of a destination that is a local socket or a loopback address, written as one."""
    if destination.scheme == "unix":
        return socket.AF_UNIX, destination.path
    packed = packed_ip(destination.host)
    if packed is None or not ip_address(packed).is_loopback:
        return None
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    where = (destination.host, destination.port)
    return family, where if len(packed) == 4 else (*where, 0, 0)
