"""The destinations of one run of a `Forward`: which upstream a session goes to, and which way."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

import trio

from ..addresses.address import Address, parse_address
from ..addresses.destination_rules import AddressRules
from ..errors import ConfigurationError, quote
from ..services.context import EdgeContext
from ..session.kinds import name_of
from ..session.session import Session
from ..session.stage import Closing, Worker
from ..session.verdict import Reason, Reject
from ..telemetry.upstream_counts import UpstreamCounts
from ..upstreams.address_filter import AddressFilter, judged_by
from ..upstreams.balancing.balanced import Balanced
from ..upstreams.balancing.live_balanced import LiveBalanced
from ..upstreams.balancing.seat import Seat
from ..upstreams.by_policy import PolicyUpstreams
from ..upstreams.connector import Permit
from ..upstreams.outbound import open_outbound, part_of
from ..upstreams.own_listeners import refusal_of
from ..upstreams.upstream import Upstream
from ..upstreams.ways.named import NamedOutbounds

if TYPE_CHECKING:
    from .forward import Choose, Forward

MAX_DESTINATIONS: Final = 10_000
"""Upstreams of functions and stages that are kept; beyond it the least recently used one is dropped."""

_NOWHERE: Final = Reject(Reason.SERVICE, "no stage wrote a destination, and its policy names none")


class LiveDestinations:
    """The upstreams that are known already, and those that sessions and policies name.

    Attributes:
        fixed: the upstream of every session; None if sessions have different ones.
    """

    def __init__(self, forward: "Forward", context: EdgeContext) -> None:
        """Open the outbounds; :meth:`run` prepares the upstreams.

        Args:
            forward: the recipe.
            context: the running edge.

        Raises:
            ConfigurationError: the recipe wants preconnect, and its outbound connects in a task; or an outbound
                cannot be opened.
        """
        self._context = context
        outbound = context.outbound if forward.outbound is None else forward.outbound
        self._connector = connector = open_outbound(outbound, context)
        # The live outbound of the recipe, to run and to close; the edge's own is not the endpoint's.
        self._outbound = None if forward.outbound is None else part_of(connector)
        self._seconds, self._retries = forward.connect_seconds, forward.retries
        self._preconnect = forward.preconnect
        self.fixed: Upstream | None = None
        self._balanced: LiveBalanced | None = None
        self._outbounds: NamedOutbounds | None = None
        self._by_policy: PolicyUpstreams | None = None
        # Gives each session an upstream of its own, and is asked once a session.
        self._ask: Callable[[Session], Upstream | Seat | Reject] | None = None
        self._permit: Permit | None = None
        self._known = lru_cache(MAX_DESTINATIONS)(self._name)
        self._listeners = context.listeners
        self._opened = self._listeners.opened
        try:
            self._make(forward)
        except BaseException:
            self.close()
            raise

    def _make(self, forward: "Forward") -> None:
        connector, context, to = self._connector, self._context, forward.to
        if forward.preconnect and forward.outbound is not None and not connector.plain:
            raise ConfigurationError(
                f"Forward(preconnect={forward.preconnect}) does nothing with an outbound that connects in a task, "
                f"{quote(forward.outbound)}: leave preconnect out"
            )
        if isinstance(to, Address):
            self.fixed = Upstream(to, connector, context, self._seconds, retries=self._retries)
            self.fixed.preconnect = forward.preconnect
            context.log.meters.upstreams.append(partial(_listed, self.fixed))
        elif isinstance(to, Balanced):
            self._balanced = LiveBalanced(to, connector, context, self._seconds, self._retries)
            self._ask = self._balanced.seat
        elif to is not None:
            self._ask = partial(self._asked, to)
        else:
            permit = self._permit = AddressFilter(forward.allow).permit
            self._outbounds = NamedOutbounds(connector, context, self._seconds, self._retries)
            self._by_policy = PolicyUpstreams(self._outbounds, context, self._seconds, permit, self._retries)

    def upstream(self, session: Session) -> Upstream | Seat | Reject:
        """Give the upstream of a session, or the refusal of a session that has none. To be called once a session.

        Raises:
            ConfigurationError: the user's function returned text that is no address.
            TypeError: it returned neither an address nor a Reject.
        """
        if self.fixed is not None:
            return self.fixed
        if self._ask is not None:
            return self._ask(session)
        service = session.service
        if session.destination is not None:
            return self._named(session.destination, service.name, service.policy.way, session.address_rules)
        upstream: Upstream | LiveBalanced | None = service.upstream
        if upstream is None or service.refusal is not None:
            return service.refusal or _NOWHERE
        return upstream.seat(session) if isinstance(upstream, LiveBalanced) else upstream

    def _asked(self, choose: "Choose", session: Session) -> Upstream | Reject:
        """Ask the user's function for the upstream of a session."""
        chosen = choose(session)
        if isinstance(chosen, Reject):
            return chosen
        if not isinstance(chosen, (str, Address)):
            where = f"Forward(to={name_of(choose)})"
            raise TypeError(f"{where} returned {quote(chosen)}: it must return an address or Reject")
        return self._named(chosen, session.service.name, None)

    def _named(
        self, destination: str | Address, service: str, way: str | None, rules: tuple[AddressRules, ...] = ()
    ) -> Upstream | Reject:
        """Give the upstream of a destination, from memory unless the edge has opened a listener since."""
        opened = self._listeners.opened
        if opened != self._opened:  # which may be one of the destinations
            self._opened = opened
            self._known.cache_clear()
        return self._known(destination, service, way, rules)

    def _name(
        self, destination: str | Address, service: str, way: str | None, rules: tuple[AddressRules, ...] = ()
    ) -> Upstream | Reject:
        """Make the upstream of a destination that a function or a stage gave to a session of a service."""
        connector = self._connector if self._outbounds is None else self._outbounds.connector(way)
        address = destination if isinstance(destination, Address) else parse_address(destination)
        if (refusal := refusal_of(address, self._context.listeners)) is not None:
            return refusal
        permit = judged_by(rules, self._permit)
        return Upstream(address, connector, self._context, self._seconds, permit, self._retries, asker=service, way=way)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the outbounds, and keep the upstreams prepared, until cancelled."""
        async with trio.open_nursery() as nursery:
            if isinstance(self._outbound, Worker):
                await nursery.start(self._outbound.run)
            if self.fixed is not None:
                self.fixed.warm(nursery)
            if self._balanced is not None:
                self._balanced.warm(nursery, self._preconnect)
            if self._outbounds is not None:
                await nursery.start(self._outbounds.run)
            if self._by_policy is not None:
                await nursery.start(self._by_policy.run)
            task_status.started()
            await trio.sleep_forever()

    def close(self) -> None:
        """Close the outbounds."""
        if self._outbounds is not None:
            self._outbounds.close()
        if isinstance(self._outbound, Closing):
            self._outbound.close()


def _listed(upstream: Upstream) -> Iterator[UpstreamCounts]:
    yield upstream.counts()
