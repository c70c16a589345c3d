"""Keep a service's rates over all of its sessions: the kernel paces sockets, so the shares follow what they carry.

Seed, layer two: nothing here touches a byte. A tenth of a second apart, and only while a service's bytes move or its
sessions change, the shares of its sessions are worked out anew (`core.shares`) and told to the kernel.
"""

from collections.abc import Generator
from math import inf
from typing import Final

import trio

from ..core.registry import Registry
from ..core.services import Change, Service, Services
from ..core.session import Session
from ..core.shares import Debt, Flow, resplit
from .slices import in_slices
from .wakeup import Wakeup

TICK_SECONDS: Final = 0.1
"""Shares are worked out at most this often."""

REST: Final = 4
"""How many times longer than its work a tick of many sessions rests; longer, and it would be late for the next."""

TOLERANCE: Final = 0.02
"""The part of a share by which it has to differ before the kernel is told."""

_NO_RATES: Final = inf, inf


class _Paced:
    """A session's two flows."""

    __slots__ = ("down", "moved", "queued", "session", "up")

    def __init__(self, session: Session, down_share: float, up_share: float) -> None:
        self.session = session
        self.down = Flow(down_share, session.bytes_down)
        self.up = Flow(up_share, session.bytes_up)
        self.moved = session.bytes_down, session.bytes_up
        self.queued = (0, 0)


class _Group:
    """The sessions of one service, and what each direction owes."""

    __slots__ = ("debts", "looked_at", "members", "rates")

    def __init__(self, now: float) -> None:
        self.members: dict[Session, _Paced] = {}
        self.rates = inf, inf
        self.debts = Debt(), Debt()
        self.looked_at = now


class Pacer:
    """The rates of every service."""

    def __init__(self, services: Services, live: Registry, down_rate: float, up_rate: float) -> None:
        """Pace nobody yet.

        Args:
            services: whose policies say the rates.
            live: every session.
            down_rate: bytes a second to the clients of a service whose policy says none; infinity for no limit.
            up_rate: the same to its upstream.
        """
        self._services = services
        self._live = live
        self._default = down_rate, up_rate
        self._groups: dict[str, _Group] = {}
        self._hot: dict[str, None] = {}
        self._wakeup = Wakeup()

    def __len__(self) -> int:
        """Services whose shares are worked out at the next tick."""
        return len(self._hot)

    def changed(self, service: Service, change: Change) -> None:
        """A service's rates may be others now. O(1)."""
        if not change.fields or "down_rate" in change.fields or "up_rate" in change.fields:
            self._heat(service.name)

    def woke(self, service: Service) -> None:
        """A service's bytes move again, or its sessions change. O(1)."""
        if service.name in self._groups or self.rates(service) != _NO_RATES:
            self._heat(service.name)

    def _heat(self, name: str) -> None:
        if name not in self._hot:
            self._hot[name] = None
            self._wakeup.set()

    def rates(self, service: Service | None) -> tuple[float, float]:
        """Give a service's limits down and up, in bytes a second; infinity for none."""
        if service is None:
            return self._default
        policy = service.policy
        return (
            self._default[0] if policy.down_rate is None else policy.down_rate,
            self._default[1] if policy.up_rate is None else policy.up_rate,
        )

    def join(self, session: Session) -> None:
        """Give a new session its equal share, if its service has a rate. About 3 µs with one, 0.3 without."""
        service = self._services.find(session.service)
        rates = self.rates(service)
        if rates == _NO_RATES:
            return
        group = self._groups.get(session.service)
        if group is None:
            group = self._groups[session.service] = _Group(session.started_at)
        self._enter(group, session, rates, 1 if service is None else service.live + 1)
        self._heat(session.service)

    def _enter(self, group: _Group, session: Session, rates: tuple[float, float], count: int) -> None:
        """Let a session in with the equal share of so many; the next look finds it if it has gone by then."""
        down_share, up_share = rates[0] / count, rates[1] / count
        group.members[session] = _Paced(session, down_share, up_share)
        session.pace(down_share, up_share)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work shares out, at once after a rest and then at most every 0.1 s, until cancelled."""
        task_status.started()
        while True:
            await self._wakeup.wait()
            while self._hot:
                hot, self._hot = self._hot, {}
                for name in hot:
                    await in_slices(self._resplit(name, trio.current_time()), rest=REST)
                await trio.sleep(TICK_SECONDS)

    def _resplit(self, name: str, now: float) -> Generator[None, None, None]:
        """Work out one service's shares; it stays hot while its bytes move."""
        service = self._services.get(name)
        rates = self.rates(service)
        group = self._groups.get(name)
        if rates == _NO_RATES or service is None:
            yield from self._let_go(name, group)
            return
        if group is None:
            group = self._groups[name] = _Group(now)
        for session in self._live.each(name):  # those from before there was a rate, or from another service
            if session not in group.members:
                self._enter(group, session, rates, max(1, service.live))
            yield
        for session in tuple(group.members):
            if session.outcome is not None or session.service != name:
                del group.members[session]
                self._release(session)
            yield
        if not group.members:
            del self._groups[name]
            return
        seconds, group.looked_at = now - group.looked_at, now
        if seconds <= 0:  # its first look, within the turn in which it was made
            self._hot[name] = None
            return
        members = list(group.members.values())
        for member in members:
            self._observe(member, seconds)
            yield
        if rates != group.rates:  # what went at the old rates is no debt at the new ones
            group.rates, group.debts, seconds = rates, (Debt(), Debt()), inf
        downs = self._shares([member.down for member in members], rates[0], group.debts[0], seconds)
        ups = self._shares([member.up for member in members], rates[1], group.debts[1], seconds)
        yield
        for member, down, up in zip(members, downs, ups, strict=True):
            if _differs(down, member.down.share) or _differs(up, member.up.share):
                member.down.share, member.up.share = down, up
                member.session.pace(down, up)
                yield
        if any(member.down.demand or member.up.demand for member in members):
            self._hot[name] = None
        else:
            service.down.listen()
            service.up.listen()

    def _let_go(self, name: str, group: _Group | None) -> Generator[None, None, None]:
        if group is not None:
            del self._groups[name]
            for session in tuple(group.members):
                self._release(session)
                yield

    def _release(self, session: Session) -> None:
        """Take a session's limits off, unless the service that it is of now has a rate, and so takes it over."""
        if self.rates(self._services.find(session.service)) == _NO_RATES:
            session.pace(*_NO_RATES)

    def _observe(self, member: _Paced, seconds: float) -> None:
        """Look at what a session moved; the kernel is asked only about one that did, or that had something queued."""
        session = member.session
        moved, carrier = (session.bytes_down, session.bytes_up), session.carrier
        if carrier is not None and (any(member.queued) or moved != member.moved):
            member.queued = carrier.queued()
        member.moved = moved
        member.down.observe(moved[0], member.queued[0], seconds)
        member.up.observe(moved[1], member.queued[1], seconds)

    def _shares(self, flows: list[Flow], rate: float, debt: Debt, seconds: float) -> list[float]:
        if rate == inf:
            return [inf] * len(flows)
        effective = debt.settle(sum(flow.delivered for flow in flows), rate, seconds)
        return resplit(effective, [flow.demand for flow in flows])


def _differs(new: float, old: float) -> bool:
    return new != old and (new == inf or old == inf or abs(new - old) > TOLERANCE * old)
