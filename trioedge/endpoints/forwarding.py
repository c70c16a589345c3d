"""The endpoint that `Forward` opens: connects a session to its upstream, and has the relay carry it."""

import socket
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import trio

from ..addresses.address import Address, parse_address
from ..errors import ConfigurationError
from ..loop.sockets import reset
from ..relay.carry import carry, kernel_paces, lend
from ..relay.socket_relay import Ended, Relay
from ..relay.streams import PlainStream
from ..services.context import EdgeContext
from ..session.session import Session
from ..session.stage import Closing, Worker
from ..session.verdict import Completed, Outcome, Reason, Reject
from ..upstreams.address_filter import AddressFilter
from ..upstreams.by_policy import PolicyUpstreams
from ..upstreams.connector import Attempt
from ..upstreams.errors import UpstreamError
from ..upstreams.outbound import TaskConnector, open_outbound
from ..upstreams.upstream import Upstream

if TYPE_CHECKING:
    from .forward import Forward

MAX_DESTINATIONS: Final = 10_000
"""Destinations of functions and stages that are remembered; the least recently used gives way."""

_NOWHERE: Final = Reject(Reason.SERVICE, "its policy names no outbound")


class Forwarding:
    """The live endpoint."""

    def __init__(self, forward: "Forward", context: EdgeContext) -> None:
        """Make the upstreams that are known already; :meth:`run` prepares them.

        Args:
            forward: the recipe.
            context: the running edge.
        """
        self._context = context
        self._reactor = context.reactor
        self._connector = connector = open_outbound(forward.outbound or context.outbound, context)
        if forward.preconnect and forward.outbound is not None and not connector.plain:
            raise ConfigurationError(
                f"Forward(preconnect={forward.preconnect}) does nothing with an outbound that connects in a task, "
                f"{forward.outbound!r:.100}: leave preconnect out"
            )
        self._seconds = forward.connect_seconds
        self._fixed: Upstream | None = None
        self._by_policy: PolicyUpstreams | None = None
        self._choose = forward.to if callable(forward.to) else None
        self._permit = None
        if isinstance(forward.to, Address):
            self._fixed = Upstream(forward.to, connector, context, self._seconds)
            self._fixed.preconnect = forward.preconnect
        elif forward.to is None:
            self._permit = AddressFilter(forward.allow).permit
            self._by_policy = PolicyUpstreams(connector, context, self._seconds, self._permit)
        self._named = lru_cache(MAX_DESTINATIONS)(self._name)

    def _name(self, destination: str | Address) -> Upstream:
        """Make an upstream of a destination that a function or a stage gave."""
        address = destination if isinstance(destination, Address) else parse_address(destination)
        return Upstream(address, self._connector, self._context, self._seconds, self._permit)

    def upstream(self, session: Session) -> Upstream | Reject:
        """Give the upstream of a session, or the reason why it has none.

        Raises:
            ConfigurationError: the user's function returned text that is no address.
            TypeError: it returned something else.
        """
        if self._fixed is not None:
            return self._fixed
        if self._choose is not None:
            chosen = self._choose(session)
            if isinstance(chosen, Reject):
                return chosen
            if not isinstance(chosen, (str, Address)):
                raise TypeError(
                    f"Forward(to={self._choose.__name__}) returned {chosen!r:.100}: it must return an address or Reject"
                )
            return self._named(chosen)
        if session.destination is not None:
            return self._named(session.destination)
        service = session.service
        return service.refusal or service.upstream or _NOWHERE

    def carries(self, session: Session, upstream: Upstream) -> bool:
        """Whether the reactor can carry a session without a task: plain sockets, which the kernel paces if need be."""
        return self._connector.plain and kernel_paces(session, local=upstream.local)

    def begin(self, session: Session, down: socket.socket, prefetched: bytes, ended: Ended) -> bool:
        """Carry a plain socket in the reactor, without a task.

        Returns:
            False if it needs a task; nothing has happened then.
        """
        upstream = self.upstream(session)
        if isinstance(upstream, Reject):
            reset(down)
            ended(session, upstream)
        elif self.carries(session, upstream):
            self._begin(session, upstream, down, prefetched, ended)
        else:
            return False
        return True

    def _begin(
        self, session: Session, upstream: Upstream, down: socket.socket, prefetched: bytes, ended: Ended
    ) -> None:
        taken = upstream.take()
        if taken is None:
            connecting = PendingConnect(self, upstream, session, down, prefetched, ended)
            session.carrier = connecting
            connecting.attempt = upstream.start(connecting)
            return
        sock, readable = taken
        try:
            self.relay(session, down, sock, prefetched, ended, readable=readable or upstream.local)
        except BaseException:
            self._reactor.forget(sock.fileno())
            sock.close()
            raise

    def relay(
        self, session: Session, down: socket.socket, up: socket.socket, prefetched: bytes, ended: Ended,
        *, readable: bool,
    ) -> None:  # fmt: skip
        """Relay between two plain sockets; `up` is in the reactor already.

        A local socket counts as readable, because a short read there does not mean that it is empty.
        """
        session.carrier = relay = Relay(session, self._reactor, down, up, ended)
        relay.start(prefetched, readable=readable)

    async def handle(self, session: Session) -> Outcome:
        """Carry a session that has a task; after a cancel both sides are closed."""
        upstream = self.upstream(session)
        if isinstance(upstream, Reject):
            return upstream
        stream = session.stream
        if isinstance(stream, PlainStream) and self.carries(session, upstream):

            def begin(down: socket.socket, prefetched: bytes, ended: Ended) -> None:
                self._begin(session, upstream, down, prefetched, ended)

            return await lend(session, stream, self._reactor, begin)
        try:
            up = await upstream.open_stream()
        except UpstreamError as error:
            upstream.unreached(error)
            return Completed(error.reason, error.detail)
        return await carry(session, up, self._reactor)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Prepare upstreams until cancelled: those that are named now, and those that will be."""
        async with trio.open_nursery() as nursery:
            outbound = self._live_outbound()
            if isinstance(outbound, Worker):
                await nursery.start(outbound.run)
            if self._fixed is not None:
                self._fixed.warm(nursery)
            if self._by_policy is not None:
                await nursery.start(self._by_policy.run)
            task_status.started()
            await trio.sleep_forever()

    def close(self) -> None:
        """Close the outbound."""
        outbound = self._live_outbound()
        if isinstance(outbound, Closing):
            outbound.close()

    def _live_outbound(self) -> Any:
        return self._connector.outbound if isinstance(self._connector, TaskConnector) else self._connector


class PendingConnect:
    """The carrier of a session whose upstream is not connected yet."""

    __slots__ = ("_down", "_ended", "_forwarding", "_prefetched", "_session", "_upstream", "attempt")

    phase = "connecting"
    pacing = ""
    began_at: float | None = None
    bytes_up = 0
    bytes_down = 0

    def __init__(
        self, forwarding: Forwarding, upstream: Upstream, session: Session, down: socket.socket, prefetched: bytes,
        ended: Ended,
    ) -> None:  # fmt: skip
        self._forwarding = forwarding
        self._upstream = upstream
        self._session = session
        self._down = down
        self._prefetched = prefetched
        self._ended = ended
        self.attempt: Attempt | None = None

    def connected(self, sock: socket.socket, readable: bool) -> None:
        self._forwarding.relay(
            self._session, self._down, sock, self._prefetched, self._ended, readable=readable or self._upstream.local
        )

    def failed(self, error: UpstreamError) -> None:
        self._upstream.unreached(error)
        self._end(Completed(error.reason, error.detail))

    def queued(self) -> tuple[int, int]:
        return 0, 0

    def pace(self, down_rate: float, up_rate: float) -> None:
        """Do nothing yet: the relay reads the session's rates when it begins."""

    def cut(self, reason: Reason) -> None:
        if self.attempt is not None:
            self.attempt.cancel()
        self._end(Completed(reason))

    def _end(self, outcome: Completed) -> None:
        reset(self._down)
        self._session.carrier = None
        self._ended(self._session, outcome)
