"""Which services are over, because their quota is used up or they have expired.

| a service | event | then | action |
| --- | --- | --- | --- |
| any | a snapshot applies a policy | over, or not: judged by that | the snapshot cuts its sessions if it is over |
| not over | the chunk of bytes that uses its quota up | over, ``quota`` | cut its sessions |
| not over | another worker announces that its quota is used up | over, ``quota`` | cut its sessions |
| not over | the wall clock has reached its `expires_at` | over, ``expired`` | cut its sessions |
| over, ``expired`` | the wall clock was set back to before that | judged again | |
| any | a snapshot removes it | forgotten | |

The wall clock may be set at any time, and a machine may sleep. So a due time is never trusted for longer than
:data:`LOOK_SECONDS`: then the clock is asked again.
"""

from collections import OrderedDict
from collections.abc import Callable, Generator
from functools import partial
from math import inf
from typing import Final

from ...session.verdict import Reject
from ...structures.deadlines import Deadlines
from ..policy import Settings
from ..service import EXPIRED, USED_UP, Service
from .quota import QuotaCount
from .shared_quota import TICK_SECONDS as NEWS_SECONDS
from .shared_quota import ControlQuota, SharedQuotas, WorkerQuota

LOOK_SECONDS: Final = 30.0
"""The longest time between two looks at the wall clock while a service has an expiry."""

TICK_SECONDS: Final = 1.0
"""How late a service expires at most, while the clock is not set."""


def _still() -> float:
    return 0.0


class Terms:
    """The quotas and the expiries of all services of one run of an edge.

    Attributes:
        wake: called when there is something to do for the worker that calls :meth:`look` and :meth:`take`.
    """

    # A service whose policy has an expiry is in `_ticks`, and at that tick in `_ahead`, by its expiry; or once that has
    # passed in `_past`, by the negative of it, so that the latest is due first when the clock is set back. `_to_cut`
    # has the services that have come to be over between two snapshots, in that order; `_by_row` those whose count is
    # shared.
    __slots__ = ("_ahead", "_by_row", "_past", "_reported", "_shared", "_ticks", "_to_cut", "_wall_clock", "wake")

    def __init__(
        self, wall_clock: Callable[[], float] = _still, *, reported: bool = False, shared: SharedQuotas | None = None
    ) -> None:
        """Know no service.

        Args:
            wall_clock: gives the seconds since 1970; by default it stands still there, so that no service expires.
            reported: whether the control plane takes reports, of which it makes `quota_used`.
            shared: the counts of all workers; None for a process alone.
        """
        self._shared = shared
        self._by_row: dict[int, Service] = {}
        self._wall_clock = wall_clock
        self._reported = reported
        self._ahead: Deadlines[Service] = Deadlines(TICK_SECONDS)
        self._past: Deadlines[Service] = Deadlines(TICK_SECONDS)
        self._ticks: dict[Service, int] = {}
        self._to_cut: OrderedDict[Service, None] = OrderedDict()
        self.wake: Callable[[], object] = lambda: None

    def apply(self, service: Service) -> None:
        """Follow the policy of a service that was added or changed, and judge it by that. O(1)."""
        policy, quota = service.policy, service.quota
        if quota is None and policy.quota_bytes is not None:
            service.quota = quota = self._count(service, policy.quota_used)
        if quota is not None:
            quota.learn(policy.quota_used)
            quota.limit(policy.quota_bytes)
        self._discard(service)
        if policy.expires_at is not None:
            self._expect(service, policy.expires_at)
        over = self.judgement(service, service.settings)
        if over is not service.over:
            service.judge(over)

    def judgement(self, service: Service, settings: Settings) -> Reject | None:
        """Give the refusal that a service would have under these settings, or None; nothing changes. O(1)."""
        policy = settings.policy
        if policy.expires_at is not None and policy.expires_at <= self._wall_clock():
            return EXPIRED
        if policy.quota_bytes is None:
            return None
        used = policy.quota_used if service.quota is None else service.quota.under(policy.quota_used)
        return None if used < policy.quota_bytes else USED_UP

    def forget(self, service: Service) -> None:
        """Follow a service no more, because it is removed."""
        self._discard(service)
        self._to_cut.pop(service, None)
        if service.quota is not None:
            service.quota.leave()
            if isinstance(service.quota, (ControlQuota, WorkerQuota)):
                self._by_row.pop(service.quota.row.number, None)
        if self._shared is not None:
            self._shared.forget(service.name)

    def next_look(self) -> float:
        """Give the seconds until the next :meth:`look`; infinity while no service has an expiry or a shared count."""
        news = NEWS_SECONDS if self._by_row else inf
        if not self._ticks:
            return news
        return min(max(0.0, self._ahead.next_due() - self._wall_clock()), LOOK_SECONDS, news)

    def look(self) -> Generator[None, None, None]:
        """Judge the services whose expiry has come, or is ahead again, and those that are announced, one a step."""
        if self._by_row and self._shared is not None:
            rows = self._shared.heard()
            for row in tuple(self._by_row) if rows is None else rows:
                service = self._by_row.get(row)
                if service is not None:
                    self._change(service, self.judgement(service, service.settings))
                yield
        while (service := self._ahead.take(self._wall_clock())) is not None:
            self._judge_again(service)
            yield
        while (service := self._past.take(-self._wall_clock() - TICK_SECONDS)) is not None:
            self._judge_again(service)
            yield

    def take(self) -> Service | None:
        """Give one service that has come to be over and still is, so that its sessions must be cut; None for none."""
        while self._to_cut:
            service, _ = self._to_cut.popitem(last=False)
            if service.over is not None:
                return service
        return None

    def _judge_again(self, service: Service) -> None:
        expires_at = service.policy.expires_at
        assert expires_at is not None, "it is in `_ahead` or in `_past`"
        self._expect(service, expires_at)
        self._change(service, self.judgement(service, service.settings))

    def _count(self, service: Service, used: int) -> QuotaCount:
        meters, spent = (service.up, service.down), partial(self._spent, service)
        if self._shared is not None:
            shared = self._shared.count(service.name, *meters, used, spent, reported=self._reported)
            if shared is not None:
                self._by_row[shared.row.number] = service
                self.wake()  # to hear the news from now on
                return shared
        return QuotaCount(*meters, used, spent, reported=self._reported)

    def _spent(self, service: Service) -> None:
        if service.over is None:
            if self._shared is not None and isinstance(service.quota, WorkerQuota):
                self._shared.announce(service.quota.row)
            self._change(service, USED_UP)
            self.wake()

    def _change(self, service: Service, over: Reject | None) -> None:
        if over is not service.over:
            service.judge(over)
            if over is not None:
                self._to_cut[service] = None

    def _expect(self, service: Service, expires_at: float) -> None:
        sooner = not self._ticks
        if expires_at <= self._wall_clock():
            self._ticks[service] = self._past.add(service, -expires_at)
        else:
            sooner = sooner or expires_at < self._ahead.next_due()
            self._ticks[service] = self._ahead.add(service, expires_at)
        if sooner:
            self.wake()

    def _discard(self, service: Service) -> None:
        tick = self._ticks.pop(service, None)
        if tick is not None:
            self._ahead.discard(service, tick)
            self._past.discard(service, tick)
