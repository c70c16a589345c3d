"""The upstreams that policies name: one live object for each destination and way, from the first policy that names it.

| a destination is | event | action |
| --- | --- | --- |
| new | a policy names it | make its upstream, resolve its name, make idle connections |
| named | another policy names it | share the upstream; the idle connections add up |
| named | a policy names another one, or goes | its service changes at once; the former upstream when all is applied |
| not named any more | the snapshot is applied | remove the upstream, and close its idle connections |

A policy whose outbound is a balanced destination has that as its upstream, for as long as the edge serves.

All of them together keep at most :func:`max_idle` idle connections, which go to the policies that came first.
"""

import resource
from collections.abc import Generator, Iterator
from typing import Final

import trio

from ..addresses.address import Address, parse_address
from ..services.context import EdgeContext
from ..services.policy import Policy
from ..services.service import Service
from ..services.snapshot import Change
from ..telemetry.upstream_counts import UpstreamCounts
from .balancing.live_balanced import LiveBalanced
from .connector import RETRIES, Permit
from .pool.quota import Quota
from .upstream import Upstream
from .ways.named import NamedOutbounds

MAX_IDLE: Final = 10_000
"""Idle connections over all upstreams; fewer where the process may open few files."""

_FIELDS: Final = frozenset({"destination", "outbound", "preconnect"})


def max_idle() -> int:
    """Give the most idle connections of all policies together: an eighth of the process's file descriptors."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MAX_IDLE, files // 8)


class PolicyUpstreams:
    """Follows the policies of an edge and keeps ``service.upstream`` of each service."""

    def __init__(
        self, outbounds: NamedOutbounds, context: EdgeContext, seconds: float, permit: Permit, retries: int = RETRIES
    ) -> None:
        """Follow the policies from now on.

        Args:
            outbounds: open the connections.
            context: the running edge.
            seconds: the limit of one connect.
            permit: removes the addresses that may not be connected to.
            retries: how often a connect that was refused is retried.
        """
        self._outbounds = outbounds
        self._context = context
        self._seconds = seconds
        self._permit = permit
        self._retries = retries
        # `_by_destination` has every upstream with users, and between two calls of `settle` also those in `_touched`
        # that have none. `_touched` has the upstreams that the present snapshot names, or names no more.
        self._by_destination: dict[tuple[Address, str | None], Upstream] = {}
        self._touched: dict[Upstream, None] = {}
        self._idle: Quota[Upstream] = Quota(max_idle())
        self._nursery: trio.Nursery | None = None
        context.watch(self)
        context.log.meters.upstreams.append(self._listed)

    def _listed(self) -> Iterator[UpstreamCounts]:
        for upstream in tuple(self._by_destination.values()):
            yield upstream.counts()

    def __len__(self) -> int:
        """Upstreams that a policy names."""
        return len(self._by_destination)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep idle connections until cancelled; they are closed then."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def changed(self, service: Service, change: Change) -> Generator[None, None, None]:
        """Give a service the upstream that its new policy names; :meth:`settle` removes the former one."""
        if change.fields and not _FIELDS & set(change.fields):
            return
        before: Upstream | LiveBalanced | None = service.upstream
        if isinstance(before, Upstream) and change.before is not None:
            before.users -= 1
            before.wanted -= change.before.policy.preconnect
            self._touched[before] = None
        after = service.upstream = None if change.after is None else self._named(change.after.policy)
        if isinstance(after, Upstream) and change.after is not None:
            after.users += 1
            after.wanted += change.after.policy.preconnect
            self._touched[after] = None
            yield from self._grant(after)

    def _named(self, policy: Policy) -> Upstream | LiveBalanced | None:
        """Give the upstream that a policy names, a new one if it is the first that does; None if it names none."""
        way = policy.way
        if policy.to is None:
            return self._outbounds.group(way)
        destination = parse_address(policy.to)
        upstream = self._by_destination.get((destination, way))
        if upstream is None:
            connector = self._outbounds.connector(way)
            upstream = Upstream(
                destination, connector, self._context, self._seconds, self._permit, self._retries, destination, way
            )
            self._by_destination[destination, way] = upstream
        return upstream

    def settle(self) -> Generator[None, None, None]:
        """Remove the upstreams that no policy names now that the snapshot is applied, and log too few connections."""
        touched, self._touched = self._touched, {}
        for upstream in touched:
            yield from self._grant(upstream)
            key = upstream.destination, upstream.way
            if not upstream.users and self._by_destination.get(key) is upstream:
                del self._by_destination[key]
                upstream.close()
            yield
        while touched:  # one at a time, because to free very many at once would hold the loop
            upstream, _ = touched.popitem()
            if upstream.preconnect < upstream.wanted:
                self._context.log.notice(
                    "preconnect: fewer than policies want", upstream=str(upstream.destination),
                    wanted=upstream.wanted, ready=upstream.preconnect,
                )  # fmt: skip
            yield

    def _grant(self, upstream: Upstream) -> Generator[None, None, None]:
        """Give an upstream the idle connections that its policies want, or as many as are left."""
        for each in self._idle.ask(upstream, upstream.wanted):
            each.preconnect = self._idle.granted(each)
            self._warm(each)
            yield
        if upstream.users and not upstream.warmed:
            self._warm(upstream)

    def _warm(self, upstream: Upstream) -> None:
        if self._nursery is not None:  # else the edge is stopping
            upstream.warm(self._nursery)
