"""The upstreams that policies name: one live object for each destination, made when the first policy names it.

Seed, layer five: an outbound object is not built by the first session, and not built anew when something else changes.
"""

import resource
from collections.abc import Generator
from typing import Final

import trio

from ..addresses.address import Address, parse_address
from ..services.context import EdgeContext
from ..services.service import Service
from ..services.snapshot import Change
from .connector import Connecting, Permit
from .quota import Quota
from .upstream import Upstream

MAX_READY: Final = 10_000
"""Connections kept ready, over all upstreams; fewer where the process may open few files."""

_FIELDS: Final = frozenset({"outbound", "preconnect"})


def most_ready() -> int:
    """Say how many connections all policies together may keep ready: an eighth of the process's file descriptors."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MAX_READY, files // 8)


class PolicyUpstreams:
    """Follows the policies of an edge. What is ready is bounded over all of them, first come, first served."""

    def __init__(self, connector: Connecting, context: EdgeContext, seconds: float, permit: Permit) -> None:
        """Know no upstream yet.

        Args:
            connector: opens their connections.
            context: where they live; its policies are followed from now on.
            seconds: the limit of one connect.
            permit: drops the addresses that may not be connected to.
        """
        self._connector = connector
        self._context = context
        self._seconds = seconds
        self._permit = permit
        self._by_destination: dict[Address, Upstream] = {}
        self._ready: Quota[Upstream] = Quota(most_ready())
        self._touched: dict[Upstream, None] = {}
        """Those that a snapshot which is being applied names, or names no more."""
        self._nursery: trio.Nursery | None = None
        context.watch(self)

    def __len__(self) -> int:
        """PolicyUpstreams that a policy names."""
        return len(self._by_destination)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep connections ready until cancelled; they are closed then."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def changed(self, service: Service, change: Change) -> Generator[None, None, None]:
        """A policy came, changed or went: make the upstream that it names; :meth:`settle` lets go of the one before."""
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
            upstream = Upstream(destination, self._connector, self._context, self._seconds, self._permit)
            self._by_destination[destination] = upstream
        return upstream

    def settle(self) -> Generator[None, None, None]:
        """A snapshot holds: let go of what it names no more, which another service may have named after the first."""
        touched, self._touched = self._touched, {}
        for upstream in touched:
            yield from self._grant(upstream)
            if not upstream.users:
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
        """Let it have as many connections ready as its policies want, if there are so many."""
        for each in self._ready.ask(upstream, upstream.wanted):
            each.preconnect = self._ready.granted(each)
            self._warm(each)
            yield
        if upstream.users and not upstream.warmed:
            self._warm(upstream)

    def _warm(self, upstream: Upstream) -> None:
        if self._nursery is not None:  # else the edge is stopping, and nobody comes any more
            upstream.warm(self._nursery)
