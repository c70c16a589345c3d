"""Forward a session's bytes to one upstream: always the same, or the one that its service's policy names."""

import socket
from collections.abc import Iterable
from math import inf
from typing import Final

import trio

from ..addresses.address import Address, parse_address
from ..addresses.classes import AddressClass
from ..arguments import check_choice, check_count, check_number
from ..errors import ConfigurationError
from ..loop.sockets import reset
from ..relay.socket_relay import Ended, Relay
from ..relay.stream_relay import StreamRelay, close_hard, wait_until_lifted
from ..relay.streams import PlainStream
from ..services.context import EdgeContext, Outbound
from ..session.meter import Meter
from ..session.session import Session
from ..session.verdict import Completed, Outcome, Reason, Reject
from ..upstreams.address_filter import AddressFilter
from ..upstreams.by_policy import PolicyUpstreams, most_ready
from ..upstreams.connector import Attempt, Connecting
from ..upstreams.errors import UpstreamError
from ..upstreams.upstream import Upstream

_NOWHERE: Final = Reject(Reason.SERVICE, "its policy names no outbound")
ALLOWABLE: Final = (*(str(each) for each in AddressClass if each is not AddressClass.GLOBAL), "unix")


class Forward:
    """Connect to an upstream and carry bytes both ways until both sides have finished.

    An upstream that refuses, does not answer in time or has no address ends the session with a reset and a
    reason of its own (``upstream_refused``, ``upstream_timeout``, ``upstream_unreachable``,
    ``upstream_unresolved``, ``upstream_forbidden``), never later than `connect_seconds`. An evicted session's sockets
    are both free when :meth:`Edge.evict` returns.

    Without a destination, sessions go where their service's policy says. Such an upstream is made when the policy
    arrives, and is the same object for as long as a policy names it: its name is resolved before the first session
    comes, and `preconnect` connections are made, to addresses that `allow` lets through.
    """

    def __init__(
        self,
        destination: str | None = None,
        *,
        preconnect: int = 0,
        connect_seconds: float = 5.0,
        outbound: Outbound | None = None,
        allow: Iterable[str] = (),
    ) -> None:
        """Describe the upstream; nothing is connected before the edge serves.

        Args:
            destination: ``tcp://host:port`` or ``unix:///path``. A name is resolved in the background. None asks the
                policy of the session's service, whose control plane the edge must have.
            preconnect: idle connections kept ready, 0 to 10,000; of a policy's upstream the policy says how many. A
                session takes one and never waits for one. All policies together may have an eighth of the process's
                file descriptors, and 10,000 at most. Right where the client speaks first (HTTP, Redis, TLS): an
                upstream that greets or hangs up on silent clients (SMTP, MySQL, SSH) wants 0.
            connect_seconds: the limit of one connect, name and all addresses included; above 0.
            outbound: the way out; the edge's own, which is ``Direct()``, if None.
            allow: what a policy may name besides public addresses: ``private``, ``loopback``, ``link_local``,
                ``metadata``, ``multicast``, ``unspecified``, ``reserved`` or ``unix``. A `destination` of your own
                may be anything.

        Raises:
            ConfigurationError: names the argument and what is wrong with it.
        """
        self.destination: Address | None = None if destination is None else parse_address(destination)
        check_count("Forward", "preconnect", preconnect, minimum=0, maximum=10_000)
        check_number("Forward", "connect_seconds", connect_seconds, above=0)
        self.allow = (allow,) if isinstance(allow, str) else tuple(allow)
        for each in self.allow:
            check_choice("Forward", "allow", each, ALLOWABLE)
        if destination is None and preconnect:
            raise ConfigurationError("Forward(preconnect=…) without a destination: the policy of each service says it")
        self._preconnect = preconnect
        self.connect_seconds = connect_seconds
        self.outbound = outbound
        self.enforces = () if destination is not None else ("outbound", "preconnect")
        self.needs_control = destination is None
        self._fixed: Upstream | None = None
        self._named: PolicyUpstreams | None = None

    def __repr__(self) -> str:
        to = "" if self.destination is None else f"{str(self.destination)!r}, "
        idle = f"preconnect={self._preconnect}, " if self._preconnect else ""
        allow = f", allow={list(self.allow)}" if self.allow else ""
        return f"Forward({to}{idle}connect_seconds={self.connect_seconds:g}{allow})"

    @property
    def preconnect(self) -> int:
        """Idle connections at most, whose file descriptors are set aside."""
        return most_ready() if self.destination is None else self._preconnect

    def bind(self, context: EdgeContext) -> None:
        """Belong to the edge that begins to serve."""
        self._context = context
        self._reactor = context.reactor
        self._fixed = self._named = None
        permit = None if self.destination is not None else AddressFilter(self.allow).permit
        self._connector: Connecting = (self.outbound or context.outbound).open(context, permit)
        if self.destination is None:
            self._named = PolicyUpstreams(self._connector, context, self.connect_seconds)
        else:
            self._fixed = Upstream(self.destination, self._connector, context, self.connect_seconds)
            self._fixed.preconnect = self._preconnect

    def carries(self, session: Session) -> bool:
        """Whether the reactor can carry a session without a task: plain sockets, which the kernel paces if need be."""
        if not self._connector.plain:
            return False
        if session.down_rate == inf == session.up_rate:
            return True
        upstream = self._upstream(session)
        unix = not session.source_bytes or (upstream is not None and upstream.destination.scheme == "unix")
        return not unix  # the kernel paces TCP and nothing else

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Keep upstreams warm: those that are named now, and those that will be."""
        async with trio.open_nursery() as nursery:
            if self._fixed is not None:
                self._fixed.warm(nursery)
            if self._named is not None:
                await nursery.start(self._named.run)
            task_status.started()
            await trio.sleep_forever()

    def _upstream(self, session: Session) -> Upstream | None:
        if self._fixed is not None:
            return self._fixed
        service = self._context.services.find(session.service)
        return None if service is None else service.upstream

    def _nowhere(self, session: Session) -> Reject:
        services = self._context.services
        return services.refusal(session.service) if services.find(session.service) is None else _NOWHERE

    def begin(self, session: Session, down: socket.socket, early: bytes, ended: Ended) -> None:
        """Carry a plain socket in the reactor, without a task."""
        upstream = self._upstream(session)
        if upstream is None:
            reset(down)
            ended(session, self._nowhere(session))
            return
        unix = upstream.destination.scheme == "unix"
        taken = upstream.take()
        if taken is None:
            connecting = _Connecting(self, upstream, session, down, early, ended)
            session.carrier = connecting
            connecting.attempt = upstream.start(connecting)
        else:
            try:
                self.relay(session, down, taken[0], early, ended, greeted=taken[1] or unix)
            except BaseException:
                self._reactor.forget(taken[0].fileno())
                taken[0].close()
                raise

    def relay(
        self, session: Session, down: socket.socket, up: socket.socket, early: bytes, ended: Ended, *, greeted: bool
    ) -> None:
        """Relay between two plain sockets; `up` is in the reactor already.

        A local socket is as good as greeted, whose short reads do not mean that it is empty.
        """
        session.carrier = relay = Relay(
            session, self._reactor, down, up, self._context.services.meters(session.service), ended
        )
        relay.start(early, greeted=greeted)

    async def handle(self, session: Session) -> Outcome:
        """Carry a session that has a task; after a cancel both sides are closed."""
        stream = session.stream
        if isinstance(stream, PlainStream) and self.carries(session):
            return await self._handle_plain(session, stream)
        upstream = self._upstream(session)
        if upstream is None:
            return self._nowhere(session)
        try:
            up = await upstream.open_stream()
        except UpstreamError as error:
            upstream.unreached(error)
            return Completed(error.reason, error.detail)
        relay = StreamRelay(session, self._context.services.meters(session.service))
        session.carrier = relay
        outcome: Outcome = Completed(Reason.RESET)
        try:
            outcome = await relay.run(stream, up)
        finally:
            if outcome == Completed():
                await up.aclose()
            else:
                await close_hard(up)
        return outcome

    async def _handle_plain(self, session: Session, stream: PlainStream) -> Outcome:
        """Lend the bare socket to the reactor and wait; it is closed when this returns."""
        done = trio.Event()
        result: Outcome = Completed(Reason.DRAINED)

        def ended(session: Session, outcome: Outcome) -> None:  # noqa: ARG001 - the session is known here
            nonlocal result
            result = outcome
            done.set()

        await trio.lowlevel.checkpoint_if_cancelled()
        sock, early = stream.detach()
        try:
            if early and (allowance := session.allowance) is not None:
                if allowance.left < len(early):
                    await wait_until_lifted(allowance)
                allowance.left -= len(early)
            self._reactor.refresh()
            self.begin(session, sock, early, ended)
            await done.wait()
        finally:
            if session.carrier is None:  # it came to nothing
                reset(sock)
            elif not done.is_set():
                session.carrier.cut(Reason.DRAINED)
        return result


class _Connecting:
    """The carrier of a session whose upstream is not there yet."""

    __slots__ = ("_down", "_early", "_ended", "_forward", "_session", "_upstream", "attempt")

    phase = "connecting"
    pacing = ""
    began_at: float | None = None
    bytes_up = 0
    bytes_down = 0

    def __init__(
        self, forward: Forward, upstream: Upstream, session: Session, down: socket.socket, early: bytes, ended: Ended
    ) -> None:
        self._forward = forward
        self._upstream = upstream
        self._session = session
        self._down = down
        self._early = early
        self._ended = ended
        self.attempt: Attempt | None = None

    def connected(self, sock: socket.socket, greeted: bool) -> None:
        unix = self._upstream.destination.scheme == "unix"
        self._forward.relay(self._session, self._down, sock, self._early, self._ended, greeted=greeted or unix)

    def failed(self, error: UpstreamError) -> None:
        self._upstream.unreached(error)
        self._end(Completed(error.reason, error.detail))

    def queued(self) -> tuple[int, int]:
        return 0, 0

    def pace(self, down_rate: float, up_rate: float) -> None:
        """Nothing yet: the relay reads the session's rates when it begins."""

    def count_by(self, meters: tuple[Meter, Meter]) -> None:
        """Nothing yet, as with the rates."""

    def cut(self, reason: Reason) -> None:
        if self.attempt is not None:
            self.attempt.cancel()
        self._end(Completed(reason))

    def _end(self, outcome: Completed) -> None:
        reset(self._down)
        self._session.carrier = None
        self._ended(self._session, outcome)
