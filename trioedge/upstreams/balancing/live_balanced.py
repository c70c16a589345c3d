"""A balanced destination of one run of an edge: its members' upstreams, their health, and their checks."""

import random
from collections.abc import Collection, Iterator

import trio

from ...addresses.address import Address
from ...services.context import EdgeContext
from ...session.session import Session
from ...session.verdict import Reason, Reject
from ...telemetry.members import MemberCounts
from ...telemetry.upstream_counts import UpstreamCounts
from ..connector import Connecting
from ..errors import UpstreamError
from ..upstream import Upstream
from .balanced import Balanced, Member
from .check import MemberCheck
from .choice import POLICIES
from .group import Group, GroupMember
from .health import EJECTED, Health
from .seat import Seat

_NONE_LEFT = Reject(Reason.UPSTREAM_UNREACHABLE, "every member is draining")


class LiveMember(GroupMember):
    """A member with its upstream.

    Attributes:
        address: its address.
        upstream: connects to it.
    """

    __slots__ = ("address", "upstream")

    def __init__(self, member: Member, health: Health, upstream: Upstream) -> None:
        super().__init__(str(member.address), member.weight, health, backup=member.backup)
        self.address: Address = member.address
        self.upstream = upstream


class LiveBalanced:
    """A balanced destination while an edge serves.

    Attributes:
        seconds: the limit of all connects of one session.
        retries: how often the last connect of a session is retried if it is refused.
        tries: how many members one session asks at most.
        try_seconds: the limit of a connect that is not the last one.
    """

    def __init__(
        self, balanced: Balanced, connector: Connecting, context: EdgeContext, seconds: float, retries: int,
        name: str = "",
    ) -> None:  # fmt: skip
        """Connect nothing yet; :meth:`warm` prepares the members.

        Args:
            balanced: the recipe.
            connector: opens the connections.
            context: the running edge.
            seconds: the limit of all connects of one session.
            retries: how often a connect to the last member is retried if it is refused.
            name: of the edge's ``outbounds=``; empty for an endpoint's own destination.
        """
        self.seconds, self.retries = seconds, retries
        self.tries, self.try_seconds = balanced.tries, balanced.try_seconds
        self._name = name
        self._log = context.log
        self._reactor = context.reactor
        self._recipe = balanced
        self._members = [
            LiveMember(
                each,
                Health(balanced.max_failures, balanced.slow_seconds, random.random, checked=balanced.check is not None),
                Upstream(each.address, connector, context, seconds, retries=retries),
            )
            for each in balanced.members
        ]
        self._group = Group(self._members, POLICIES[balanced.policy]())
        script = None if isinstance(balanced.check, str) else balanced.check
        self._check = MemberCheck(script, balanced.check_seconds, context.reactor, context.log)
        self._drained: Collection[Address] = frozenset()
        context.log.members.append(self.counts)
        context.log.meters.upstreams.append(self._listed)

    def warm(self, nursery: trio.Nursery, preconnect: int = 0) -> None:
        """Resolve the members' names, keep `preconnect` idle connections to each, and begin their checks."""
        for each in self._members:
            each.upstream.preconnect = preconnect
            each.upstream.warm(nursery)
            if self._recipe.check is not None:
                nursery.start_soon(self._keep_checking, each)

    def seat(self, session: Session) -> Seat | Reject:
        """Choose the member of a session, and count it there until the session ends."""
        member = self.choose(session)
        return _NONE_LEFT if member is None else Seat(self, session, member)

    def choose(self, session: Session, tried: Collection[LiveMember] = ()) -> LiveMember | None:
        """Choose a member for a session that has tried some; None if none is left."""
        self._see_drained()
        return self._group.choose(session.source_key, self._reactor.now, tried)

    def has_other(self, tried: Collection[LiveMember]) -> bool:
        """Return whether a session that has tried some members could ask another one."""
        self._see_drained()
        return self._group.has_other(self._reactor.now, tried)

    def now(self) -> float:
        """Read the edge's clock."""
        return self._reactor.refresh()

    def connected(self, member: LiveMember) -> None:
        """Note that a member took a connection."""
        if member.health.connected(self._reactor.now):
            self._came_back(member)

    def failed(self, member: LiveMember, error: UpstreamError) -> None:
        """Note that a member took none."""
        member.failed += 1
        if member.health.connect_failed(self._reactor.now):
            self._ejected(member, error)

    def counts(self) -> list[MemberCounts]:
        """Give the counts of the members, in the order of the recipe."""
        now = self._reactor.refresh()
        self._see_drained()
        return [
            MemberCounts(
                group=self._name,
                address=each.name,
                state="draining" if each.draining else each.health.state(now),
                weight=0.0 if each.draining else each.full_weight * each.health.share(now),
                live=each.sessions,
                opened=each.opened,
                failed=each.failed,
            )
            for each in self._members
        ]

    def _listed(self) -> Iterator[UpstreamCounts]:
        now = self._reactor.refresh()
        for each in self._members:
            yield each.upstream.counts(self._name, each.health.state(now) != EJECTED)

    def _see_drained(self) -> None:
        drained = self._recipe.draining.addresses
        if drained is not self._drained:
            self._drained = drained
            for each in self._members:
                each.draining = each.address in drained
            self._group.changed()

    async def _keep_checking(self, member: LiveMember) -> None:
        """Check a member again and again, an ejected one when its pause is over."""
        seconds = self._recipe.check_seconds
        await trio.sleep(random.random() * min(1.0, seconds))  # so that not all checks come at once
        while True:
            error = await self._check.ask(member.upstream)
            now = self._reactor.refresh()
            if error is None:
                if member.health.check_passed(now):
                    self._came_back(member)
            elif member.health.check_failed(now):
                self._ejected(member, error)
            await trio.sleep_until(member.health.check_at(now, seconds * (0.9 + 0.2 * random.random())))

    def _came_back(self, member: LiveMember) -> None:
        self._group.changed()
        self._log.say("member is back", upstream=member.name)

    def _ejected(self, member: LiveMember, error: UpstreamError) -> None:
        self._group.changed()
        self._log.notice("member ejected", upstream=member.name, reason=str(error.reason), error=error.detail)
