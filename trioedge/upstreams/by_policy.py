"""The upstreams that policies name: one live object for each destination, from the first policy that names it on.

| a destination is | event | action |
| --- | --- | --- |
| new | a policy names it | make its upstream, resolve its name, make idle connections |
| named | another policy names it | share the upstream; the idle connections add up |
| named | a policy names another one, or goes | its service changes at once; the former upstream when all is applied |
| not named any more | the snapshot is applied | remove the upstream, and close its idle connections |

All of them together keep at most :func:`max_idle` idle connections, which go to the policies that came first.
"""

import resource
from collections.abc import Generator
from typing import Final

import trio

from ..addresses.address import Address, parse_address
from ..services.context import EdgeContext
from ..services.service import Service
from ..services.snapshot import Change
from .connector import RETRIES, Connecting, Permit
from .pool.quota import Quota
from .upstream import Upstream

MAX_IDLE: Final = 10_000
"""Idle connections over all upstreams; fewer where the process may open few files."""

_FIELDS: Final = frozenset({"outbound", "preconnect"})


def max_idle() -> int:
    """Give the most idle connections of all policies together: an eighth of the process's file descriptors."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MAX_IDLE, files // 8)


class PolicyUpstreams:
    """Follows the policies of an edge and keeps ``service.upstream`` of each service."""

    def __init__(
        self, connector: Connecting, context: EdgeContext, seconds: float, permit: Permit, retries: int = RETRIES
    ) -> None:
        """Follow the policies from now on.

        Args:
            connector: opens the connections.
            context: the running edge.
            seconds: the limit of one connect.
            permit: removes the addresses that may not be connected to.
            retries: how often a connect that was refused is retried.
        """
        self._connector = connector
        self._context = context
        self._seconds = seconds
        self._permit = permit
        self._retries = retries
        # `_by_destination` has every upstream with users, and between two calls of `settle` also those in `_touched`
        # that have none. `_touched` has the upstreams that the present snapshot names, or names no more.
        self._by_destination: dict[Address, Upstream] = {}
        self._touched: dict[Upstream, None] = {}
        self._idle: Quota[Upstream] = Quota(max_idle())
        self._nursery: trio.Nursery | None = None
        context.watch(self)

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
        before: Upstream | None = service.upstream
        if before is not None and change.before is not None:
            before.users -= 1
            before.wanted -= change.before.policy.preconnect
        after = None
        if change.after is not None and change.after.policy.outbound is not None:
            after = self._named(parse_address(change.after.policy.outbound))
            after.users += 1
            after.wanted += change.after.policy.preconnect
        service.upstream = after
        for upstream in filter(None, (after, before)):
            self._touched[upstream] = None
        if after is not None:
            yield from self._grant(after)

    def _named(self, destination: Address) -> Upstream:
        upstream = self._by_destination.get(destination)
        if upstream is None:
            upstream = Upstream(
                destination, self._connector, self._context, self._seconds, self._permit, self._retries, destination
            )
            self._by_destination[destination] = upstream
        return upstream

    def settle(self) -> Generator[None, None, None]:
        """Remove the upstreams that no policy names now that the snapshot is applied, and log too few connections."""
        touched, self._touched = self._touched, {}
        for upstream in touched:
            yield from self._grant(upstream)
            if not upstream.users and self._by_destination.get(upstream.destination) is upstream:
                del self._by_destination[upstream.destination]
                upstream.close()
            yield
        for upstream in touched:
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
