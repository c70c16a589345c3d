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
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

import trio

from ..addresses.address import Address, parse_address
from ..addresses.destination_rules import AddressRules
from ..errors import ConfigurationError, quote
from ..loop.parting import part
from ..loop.sockets import close, connect_at_once, reset
from ..relay.answers import answer_connected, answer_refused
from ..relay.carry import carry, kernel_paces, lend
from ..relay.socket_relay import Ended, Relay
from ..relay.streams import PlainStream
from ..services.context import EdgeContext
from ..session.kinds import name_of
from ..session.session import Session
from ..session.stage import Closing, Worker
from ..session.verdict import Completed, Outcome, Reason, Reject
from ..telemetry.observer import STOPS
from ..upstreams.address_filter import AddressFilter, judged_by
from ..upstreams.attempt import Attempt
from ..upstreams.by_policy import PolicyUpstreams
from ..upstreams.errors import UpstreamError
from ..upstreams.outbound import TaskConnector, open_outbound
from ..upstreams.own_listeners import refusal_of
from ..upstreams.upstream import Upstream

if TYPE_CHECKING:
    from .forward import Forward

MAX_DESTINATIONS: Final = 10_000
"""Upstreams of functions and stages that are kept; beyond it the least recently used one is dropped."""

_NOWHERE: Final = Reject(Reason.SERVICE, "no stage wrote a destination, and its policy names no outbound")


class Forwarding:
    """The live endpoint."""

    def __init__(self, forward: "Forward", context: EdgeContext) -> None:
        """Make the upstreams that are known already; :meth:`run` prepares them.

        Args:
            forward: the recipe.
            context: the running edge.

        Raises:
            ConfigurationError: the recipe wants preconnect, and its outbound connects in a task.
        """
        self._context = context
        self._reactor = context.reactor
        outbound = context.outbound if forward.outbound is None else forward.outbound
        self._connector = connector = open_outbound(outbound, context)
        # The live outbound of the recipe, to run and to close; the edge's own is not the endpoint's.
        self._outbound: object = None
        if forward.outbound is not None:
            self._outbound = connector.outbound if isinstance(connector, TaskConnector) else connector
            if forward.preconnect and not connector.plain:
                self.close()
                raise ConfigurationError(
                    f"Forward(preconnect={forward.preconnect}) does nothing with an outbound that connects in a task, "
                    f"{quote(forward.outbound)}: leave preconnect out"
                )
        self._seconds = forward.connect_seconds
        self._retries = forward.retries
        self._fixed: Upstream | None = None
        self._by_policy: PolicyUpstreams | None = None
        self._choose = forward.to if callable(forward.to) else None
        self._permit = None
        if isinstance(forward.to, Address):
            self._fixed = Upstream(forward.to, connector, context, self._seconds, retries=self._retries)
            self._fixed.preconnect = forward.preconnect
        elif forward.to is None:
            self._permit = AddressFilter(forward.allow).permit
            self._by_policy = PolicyUpstreams(connector, context, self._seconds, self._permit, self._retries)
        self._named = lru_cache(MAX_DESTINATIONS)(self._name)

    def _name(
        self, destination: str | Address, service: str, rules: tuple[AddressRules, ...] = ()
    ) -> Upstream | Reject:
        """Make the upstream of a destination that a function or a stage gave to a session of a service."""
        address = destination if isinstance(destination, Address) else parse_address(destination)
        if (refusal := refusal_of(address, self._context.listeners)) is not None:
            return refusal
        permit = judged_by(rules, self._permit)
        return Upstream(address, self._connector, self._context, self._seconds, permit, self._retries, asker=service)

    def upstream(self, session: Session) -> Upstream | Reject:
        """Give the upstream of a session, or the refusal of a session that has none.

        Raises:
            ConfigurationError: the user's function returned text that is no address.
            TypeError: it returned neither an address nor a Reject.
        """
        if self._fixed is not None:
            return self._fixed
        if self._choose is not None:
            chosen = self._choose(session)
            if isinstance(chosen, Reject):
                return chosen
            if not isinstance(chosen, (str, Address)):
                where = f"Forward(to={name_of(self._choose)})"
                raise TypeError(f"{where} returned {quote(chosen)}: it must return an address or Reject")
            return self._named(chosen, session.service.name)
        if session.destination is not None:
            return self._named(session.destination, session.service.name, session.address_rules)
        service = session.service
        return service.refusal or service.upstream or _NOWHERE

    def carries(self, session: Session, upstream: Upstream) -> bool:
        """Tell whether the reactor can carry a session without a task.

        It can if the outbound gives plain sockets and the kernel can keep the session's rates.
        """
        return self._connector.plain and kernel_paces(session, local=upstream.local)

    def begin(self, session: Session, down: socket.SocketType, prefetched: bytes, ended: Ended) -> bool | Reject:
        """Carry a plain socket in the reactor, without a task.

        Returns:
            True if it does. False if the session needs a task, or the refusal of one that has no upstream: nothing has
            happened then, but that the task finds what the user's function has answered.
        """
        plain = self._connector.plain
        if not plain and self._choose is not None:  # the task asks the user's function
            return False
        upstream = self._fixed or self.upstream(session)
        if isinstance(upstream, Reject):
            return upstream
        if not plain or not kernel_paces(session, local=upstream.local):
            if self._choose is not None:
                session.state[Upstream] = upstream  # the task does not ask the user's function again
            return False
        self._begin(session, upstream, down, prefetched, ended)
        return True

    def _begin(
        self, session: Session, upstream: Upstream, down: socket.SocketType, prefetched: bytes, ended: Ended
    ) -> None:
        session.lead_to(upstream.destination)
        greeted, registered = False, True
        up: socket.SocketType
        taken = upstream.take() if upstream.preconnect else None
        if taken is not None:
            up, greeted = taken
            session.defer(upstream.released)
        elif upstream.where is not None and (made := connect_at_once(*upstream.where)) is not None:
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
        self, session: Session, upstream: Upstream, down: socket.SocketType, up: socket.SocketType, prefetched: bytes,
        ended: Ended, *, greeted: bool, registered: bool = True,
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
        upstream = (self._choose and session.state.get(Upstream)) or self.upstream(session)
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
            upstream.unreached(error, session.service.name)
            return Completed(error.reason, error.detail)
        return await carry(session, up, self._reactor)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the outbound, and keep the upstreams of policies prepared, until cancelled."""
        async with trio.open_nursery() as nursery:
            if isinstance(self._outbound, Worker):
                await nursery.start(self._outbound.run)
            if self._fixed is not None:
                self._fixed.warm(nursery)
            if self._by_policy is not None:
                await nursery.start(self._by_policy.run)
            task_status.started()
            await trio.sleep_forever()

    def close(self) -> None:
        """Close the outbound."""
        if isinstance(self._outbound, Closing):
            self._outbound.close()


class PendingConnect:
    """The carrier of a session that waits for its upstream; a relay follows it, or the session ends."""

    __slots__ = ("_down", "_ended", "_forwarding", "_prefetched", "_session", "_upstream", "attempt")

    phase = "connecting"
    pacing = ""
    began_at: float | None = None
    bytes_up = 0
    bytes_down = 0

    def __init__(
        self, forwarding: Forwarding, upstream: Upstream, session: Session, down: socket.SocketType, prefetched: bytes,
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
            self._session, self._upstream, self._down, sock, self._prefetched, self._ended, greeted=readable
        )

    def failed(self, error: UpstreamError) -> None:
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
