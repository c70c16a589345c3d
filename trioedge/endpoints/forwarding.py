"""The endpoint that `Forward` opens: connects a session to its upstream, and has a relay carry its bytes.

| a session is | event | action |
| --- | --- | --- |
| beginning | it has no destination, or one at which the edge itself listens | refused |
| beginning | its upstream has an idle connection | relaying |
| beginning | its upstream is a socket of this machine that takes a connection at once | relaying |
| beginning | neither | connecting |
| connecting | connected | relaying |
| connecting | failed, or a cut | reset the client; the session ends |

A plain socket needs no task for this (:meth:`Forwarding.begin`), unless the outbound connects in one or the kernel
cannot keep the session's rates. Any other client stream has a task (:meth:`Forwarding.handle`).
"""

import socket
from functools import partial

import attrs
import trio

from ..loop.parting import part
from ..loop.sockets import close, reset
from ..relay.answers import answer_connected, answer_refused
from ..relay.carry import carry, kernel_paces, lend
from ..relay.socket_relay import Ended, Relay
from ..relay.streams import PlainStream
from ..services.context import EdgeContext
from ..session.session import Session
from ..session.verdict import Completed, Outcome, Reason, Reject
from ..telemetry.log import STOPS
from ..upstreams.attempt import Attempt
from ..upstreams.balancing.seat import Seat
from ..upstreams.errors import UpstreamError
from ..upstreams.upstream import Upstream
from .destinations import LiveDestinations


class Forwarding:
    """The live endpoint."""

    def __init__(self, destinations: LiveDestinations, context: EdgeContext) -> None:
        """Connect nothing yet.

        Args:
            destinations: give each session its upstream.
            context: the running edge.
        """
        self._context = context
        self._reactor = context.reactor
        self._destinations = destinations
        self._fixed = destinations.fixed

    def carries(self, session: Session, upstream: Upstream | Seat) -> bool:
        """Tell whether the reactor can carry a session without a task.

        It can if the outbound gives plain sockets and the kernel can keep the session's rates.
        """
        return upstream.plain and kernel_paces(session, local=upstream.local)

    def begin(self, session: Session, down: socket.SocketType, prefetched: bytes, ended: Ended) -> bool | Reject:
        """Carry a plain socket in the reactor, without a task.

        Returns:
            True if it does. False if the session needs a task, or the refusal of one that has no upstream: nothing has
            happened then, but that the task finds the upstream that was chosen.
        """
        upstream = self._fixed or self._destinations.upstream(session)
        if isinstance(upstream, Reject):
            return upstream
        if not self.carries(session, upstream):
            if self._fixed is None:
                session.state[_Chosen] = _Chosen(upstream)
            return False
        self._begin(session, upstream, down, prefetched, ended)
        return True

    def _begin(
        self, session: Session, upstream: Upstream | Seat, down: socket.SocketType, prefetched: bytes, ended: Ended
    ) -> None:
        session.lead_to(upstream.destination)
        greeted, registered = False, True
        up: socket.SocketType
        taken = upstream.take() if upstream.preconnect else None
        if taken is not None:
            up, greeted = taken
            session.defer(upstream.released)
        elif (made := upstream.connect_at_once()) is not None:
            up, registered = made, False
        else:
            connecting = PendingConnect(self, upstream, session, down, prefetched, ended)
            session.carrier = connecting
            connecting.attempt = upstream.start(connecting)
            return
        try:
            self.relay(session, upstream, down, up, prefetched, ended, greeted=greeted, registered=registered)
        except BaseException:
            self._reactor.forget(up.fileno())
            close(up)
            raise

    def relay(
        self, session: Session, upstream: Upstream | Seat, down: socket.SocketType, up: socket.SocketType,
        prefetched: bytes, ended: Ended, *, greeted: bool, registered: bool = True,
    ) -> None:  # fmt: skip
        """Relay between two plain sockets, once the session is introduced to its upstream.

        A relay that cannot start ends its session. This raises only if there is no relay.

        Args:
            session: the session.
            upstream: its upstream; a short read of a local socket does not mean that it is empty.
            down: the client's socket.
            up: the upstream's socket.
            prefetched: bytes that were read from the client.
            ended: called once, when both sockets are closed.
            greeted: the upstream has sent bytes, and their event has passed.
            registered: whether `up` is in the reactor already.
        """
        if session.answer is not None and (outcome := answer_connected(session, down, self._context.log)) is not None:
            self._reactor.forget(up.fileno())
            reset(up)
            if type(outcome) is Reject:
                part(self._reactor, down)
            else:
                reset(down)
            ended(session, outcome)
            return
        if upstream.introduction is not None:
            prefetched = upstream.introduction.begin(session, down, up) + prefetched
        session.carrier = relay = Relay(session, self._reactor, down, up, ended)
        try:
            relay.start(prefetched, readable=greeted or upstream.local, registered=registered)
        except STOPS:
            raise
        except BaseException as fault:
            self._context.log.fault("endpoint failed", fault, session=session.id)
            relay.crashed(fault)

    def refuse(self, session: Session, down: socket.SocketType, outcome: Outcome) -> bool:
        """Tell the client of a handshake that there is no upstream, and close its socket; false if none waits."""
        return answer_refused(session, down, outcome, self._reactor, self._context.log)

    async def handle(self, session: Session) -> Outcome:
        """Carry a session that has a task; after a cancel both sides are closed.

        A connect that fails is an outcome with its reason.
        """
        chosen = None if self._fixed is not None else session.state.get(_Chosen)
        upstream = self._destinations.upstream(session) if chosen is None else chosen.upstream
        if isinstance(upstream, Reject):
            return upstream
        stream = session.stream
        if isinstance(stream, PlainStream) and self.carries(session, upstream):
            begin = partial(self._begin, session, upstream)
            return await lend(session, stream, self._reactor, begin)
        session.lead_to(upstream.destination)
        try:
            up = await upstream.open_stream(session)
        except UpstreamError as error:
            if session.answer is None:
                upstream.unreached(error, session.service.name)
            return Completed(error.reason, error.detail)
        return await carry(session, up, self._reactor)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the outbounds, and keep the upstreams prepared, until cancelled."""
        await self._destinations.run(task_status=task_status)

    def close(self) -> None:
        """Close the outbounds."""
        self._destinations.close()


@attrs.frozen(slots=True)
class _Chosen:
    """The upstream of a session that needs a task, in which none is chosen again."""

    upstream: Upstream | Seat


class PendingConnect:
    """The carrier of a session that waits for its upstream; a relay follows it, or the session ends."""

    __slots__ = ("_down", "_ended", "_forwarding", "_prefetched", "_session", "_upstream", "attempt")

    phase = "connecting"
    pacing = ""
    began_at: float | None = None
    bytes_up = 0
    bytes_down = 0

    def __init__(
        self, forwarding: Forwarding, upstream: Upstream | Seat, session: Session, down: socket.SocketType,
        prefetched: bytes, ended: Ended,
    ) -> None:  # fmt: skip
        self._forwarding = forwarding
        self._upstream = upstream
        self._session = session
        self._down = down
        self._prefetched = prefetched
        self._ended = ended
        self.attempt: Attempt | Seat | None = None

    def connected(self, sock: socket.socket, readable: bool) -> None:
        self._forwarding.relay(
            self._session, self._upstream, self._down, sock, self._prefetched, self._ended, greeted=readable
        )

    def failed(self, error: UpstreamError) -> None:
        if self._session.answer is None:  # else the client is told, and names destinations as it likes
            self._upstream.unreached(error, self._session.service.name)
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
        self._session.carrier = None  # a handshake that cuts its session with its last words finds nothing to cut
        if not self._forwarding.refuse(self._session, self._down, outcome):
            reset(self._down)
        self._ended(self._session, outcome)
