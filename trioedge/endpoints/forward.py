"""Forward a session's bytes to one upstream."""

import socket

import trio

from ..core.address import Address, parse_address
from ..core.bounds import check_count, check_number
from ..core.errors import UpstreamError
from ..core.session import Session
from ..core.verdict import Completed, Outcome, Reason
from ..runtime.connector import Attempt, Connecting
from ..runtime.ground import Ground, Outbound
from ..runtime.idle_pool import IdlePool
from ..runtime.relay import Ended, Relay
from ..runtime.sockets import reset
from ..runtime.stream_relay import StreamRelay, close_hard
from ..runtime.streams import PlainStream


class Forward:
    """Connect to an upstream and carry bytes both ways until both sides have finished.

    An upstream that refuses, does not answer in time or has no address ends the session with a reset and a
    reason of its own (``upstream_refused``, ``upstream_timeout``, ``upstream_unreachable``,
    ``upstream_unresolved``), never later than `connect_seconds`. An evicted session's sockets are both free when
    :meth:`Edge.evict` returns.
    """

    def __init__(
        self, destination: str, *, preconnect: int = 0, connect_seconds: float = 5.0, outbound: Outbound | None = None
    ) -> None:
        """Describe the upstream; nothing is connected before the edge serves.

        Args:
            destination: ``tcp://host:port`` or ``unix:///path``. A name is resolved in the background.
            preconnect: idle connections kept ready, 0 to 10,000. A session takes one and never waits for one.
                Right where the client speaks first (HTTP, Redis, TLS): an upstream that greets or hangs up on
                silent clients (SMTP, MySQL, SSH) wants 0.
            connect_seconds: the limit of one connect, name and all addresses included; above 0.
            outbound: the way out; the edge's own, which is ``Direct()``, if None.

        Raises:
            ConfigurationError: names the argument and what is wrong with it.
        """
        self.destination: Address = parse_address(destination)
        check_count("Forward", "preconnect", preconnect, least=0, most=10_000)
        check_number("Forward", "connect_seconds", connect_seconds, above=0)
        self.preconnect = preconnect
        self.connect_seconds = connect_seconds
        self.outbound = outbound
        self._pool: IdlePool | None = None

    def __repr__(self) -> str:
        idle = f", preconnect={self.preconnect}" if self.preconnect else ""
        return f"Forward({str(self.destination)!r}{idle}, connect_seconds={self.connect_seconds:g})"

    def bind(self, ground: Ground) -> None:
        """Belong to the edge that begins to serve."""
        self._ground = ground
        self._reactor = ground.reactor
        self._connector: Connecting = (self.outbound or ground.outbound).open(ground)
        self._pool = None
        if self.preconnect and self._connector.plain:
            self._pool = IdlePool(
                self._connector, ground.reactor, ground.observer, self.destination,
                size=self.preconnect, seconds=self.connect_seconds,
            )  # fmt: skip

    @property
    def plain(self) -> bool:
        """Whether sessions can be carried without a task; it depends on the way out."""
        return self._connector.plain

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Keep the idle connections ready."""
        if self._pool is None:
            task_status.started()
        else:
            await self._pool.run(task_status=task_status)

    def begin(self, session: Session, down: socket.socket, early: bytes, ended: Ended) -> None:
        """Carry a plain socket in the reactor, without a task."""
        taken = None if self._pool is None else self._pool.take()
        if taken is None:
            connecting = _Connecting(self, session, down, early, ended)
            session.carrier = connecting
            connecting.attempt = self._connector.start(self.destination, self.connect_seconds, connecting)
        else:
            self.relay(session, down, taken[0], early, ended, greeted=taken[1])

    def relay(
        self, session: Session, down: socket.socket, up: socket.socket, early: bytes, ended: Ended, *, greeted: bool
    ) -> None:
        """Relay between two plain sockets; `up` is in the reactor already."""
        session.carrier = relay = Relay(session, self._reactor, down, up, self._ground.meters, ended)
        relay.start(early, greeted=greeted or self.destination.scheme == "unix")

    def unreached(self, error: UpstreamError) -> Completed:
        """Say, at most once a second, that the upstream cannot be reached; give the session's end."""
        self._ground.observer.notice("upstream failed", reason=str(error.reason), error=error.detail)
        return Completed(error.reason, error.detail)

    async def handle(self, session: Session) -> Outcome:
        """Carry a session that has a task; after a cancel both sides are closed."""
        stream = session.stream
        if isinstance(stream, PlainStream) and self._connector.plain:
            return await self._handle_plain(session, stream)
        try:
            up = await self._connector.open_stream(self.destination, self.connect_seconds)
        except UpstreamError as error:
            return self.unreached(error)
        relay = StreamRelay(session)
        session.carrier = relay
        outcome: Outcome = Completed(Reason.RESET)
        try:
            outcome = await relay.run(stream, up, self._ground.meters)
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
        self._reactor.refresh()
        try:
            self.begin(session, sock, early, ended)
            await done.wait()
        finally:
            if not done.is_set() and session.carrier is not None:
                session.carrier.cut(Reason.DRAINED)
        return result


class _Connecting:
    """The carrier of a session whose upstream is not there yet."""

    __slots__ = ("_down", "_early", "_ended", "_forward", "_session", "attempt")

    phase = "connecting"
    bytes_up = 0
    bytes_down = 0

    def __init__(self, forward: Forward, session: Session, down: socket.socket, early: bytes, ended: Ended) -> None:
        self._forward = forward
        self._session = session
        self._down = down
        self._early = early
        self._ended = ended
        self.attempt: Attempt | None = None

    def connected(self, sock: socket.socket, greeted: bool) -> None:
        self._forward.relay(self._session, self._down, sock, self._early, self._ended, greeted=greeted)

    def failed(self, error: UpstreamError) -> None:
        self._end(self._forward.unreached(error))

    def cut(self, reason: Reason) -> None:
        if self.attempt is not None:
            self.attempt.cancel()
        self._end(Completed(reason))

    def _end(self, outcome: Completed) -> None:
        reset(self._down)
        self._session.carrier = None
        self._ended(self._session, outcome)
