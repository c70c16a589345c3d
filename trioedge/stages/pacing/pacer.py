"""Keep a service's rates over all of its sessions: the kernel paces sockets, so the shares follow the bytes they carry.

Nothing here touches a byte. A tenth of a second apart, and only while a service's bytes move or its sessions change,
the shares of its sessions are worked out anew (`shares`) and applied by the kernel. A tick costs what the sessions that
move cost: a session at rest is not looked at before it says that its bytes move again.
"""

from collections import OrderedDict
from collections.abc import Generator
from functools import partial
from math import inf
from typing import Final

import trio
from trio_util import AsyncBool

from ...loop.slices import in_slices
from ...services.context import EdgeContext
from ...services.service import Service
from ...services.snapshot import Change
from ...session.session import Session
from ...session.verdict import CONTINUE, Verdict
from ...structures.dirty_set import DirtySet
from .rate_group import RateGroup

TICK_SECONDS: Final = 0.1
"""Shares are worked out at most this often."""

REST: Final = 4
"""How many times longer than its work a tick of many sessions rests; longer, and it would be late for the next."""

STEPS: Final = 32
"""Steps of one service before the others have a turn, so that a small service never waits for a large one."""

_NO_RATES: Final = inf, inf


class Pacer:
    """The rates of every service; the live stage of `Pacing`."""

    # A service is dirty from the moment that its shares may be others. A tick takes every dirty service into `_looks`;
    # it leaves there when its shares are applied, and is dirty again if its bytes still move.
    def __init__(self, context: EdgeContext, down_rate: float, up_rate: float) -> None:
        """Pace no service yet.

        Args:
            context: the running edge, whose policies say the rates.
            down_rate: bytes a second to the clients of a service whose policy says none; infinity for no limit.
            up_rate: the same to its upstream.
        """
        self._sessions = context.sessions
        self._log = context.log
        self._default = down_rate, up_rate
        self._groups: dict[Service, RateGroup] = {}
        self._dirty: DirtySet[Service] = DirtySet()
        self._looks: OrderedDict[Service, Generator[None, None, None]] = OrderedDict()
        self._wakeup = AsyncBool()
        context.watch(self)
        context.follow_traffic(self.traffic)

    def __len__(self) -> int:
        """Services whose shares are worked out at the next tick."""
        return len(self._dirty)

    def decide(self, session: Session) -> Verdict:
        """Give the session its equal share, if its service has a rate; 3 µs with one, 0.3 without. Always CONTINUE."""
        service = session.service
        rates = self.rates(service)
        if rates != _NO_RATES:
            group = self._groups.get(service)
            if group is None:
                group = self._begin(service, rates, session.now)
            group.enter(session, rates, service.live + 1)
        return CONTINUE

    def rates(self, service: Service) -> tuple[float, float]:
        """Give a service's limits down and up, in bytes a second; infinity for none."""
        policy = service.policy
        return (
            self._default[0] if policy.down_rate is None else policy.down_rate,
            self._default[1] if policy.up_rate is None else policy.up_rate,
        )

    def changed(self, service: Service, change: Change) -> None:
        """Mark a service whose rates may be others now; ignored if it has no sessions. O(1)."""
        if change.fields and "down_rate" not in change.fields and "up_rate" not in change.fields:
            return
        if service.live or service in self._groups:
            if service in self._looks:
                self._looks[service].close()  # its shares are of the old rates
            self.mark_dirty(service)

    def traffic(self, service: Service) -> None:
        """Mark a service whose sessions change, or whose bytes move again. O(1)."""
        if service in self._groups or self.rates(service) != _NO_RATES:
            self.mark_dirty(service)

    def mark_dirty(self, service: Service) -> None:
        """Work out a service's shares at the next tick."""
        self._dirty.mark(service)
        self._wakeup.value = True

    def _begin(self, service: Service, rates: tuple[float, float], now: float) -> RateGroup:
        group = self._groups[service] = RateGroup(rates, now, partial(self.mark_dirty, service), self._release)
        return group

    def _release(self, session: Session) -> None:
        """Take a session's limits off, unless its present service has a rate too and applies its own."""
        if self.rates(session.service) == _NO_RATES:
            session.pace(*_NO_RATES)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work shares out, at once after a rest and then at most every 0.1 s, until cancelled."""
        task_status.started()
        while True:
            await self._wakeup.wait_value(True)
            self._wakeup.value = False
            while self._dirty or self._looks:
                with trio.move_on_after(TICK_SECONDS) as tick:  # a look that is not done by then goes on in the next
                    await in_slices(self._turns(), rest=REST)
                await trio.sleep_until(tick.deadline)

    def _turns(self) -> Generator[None, None, None]:
        """Look at every dirty service, in turns of a few steps each, so that small ones are done after their first."""
        for _ in range(len(self._dirty)):
            (service,) = self._dirty.take(1)
            self._looks[service] = self._look(service)
            yield
        while self._looks:
            service, look = next(iter(self._looks.items()))
            for _ in range(STEPS):
                yield
                try:
                    over = next(look, look) is look
                except Exception as fault:  # of this service; the others keep their rates
                    self._log.fault("pacing failed", fault, service=service.name)
                    self._dirty.mark(service)  # its moving sessions would not say so again
                    over = True
                if over:
                    del self._looks[service]
                    self._dirty.done(service)
                    break
            else:
                self._looks.move_to_end(service)

    def _look(self, service: Service) -> Generator[None, None, None]:
        """Work out one service's shares; it stays dirty while its bytes move."""
        now = trio.current_time()
        rates = self.rates(service)
        group = self._groups.get(service)
        if rates == _NO_RATES or service.removed:
            yield from self._dissolve(service, group)
            return
        if group is None:
            group = self._begin(service, rates, now)
            group.retune(rates)  # bytes on their way went without a rate
        if service.live != len(group.members):  # some are from before there was a rate, or from another service
            for session in self._sessions.of(service):
                if session not in group.members:
                    group.enter(session, rates, max(1, service.live))
                yield
        if rates == group.rates and now > group.looked_at:
            members = yield from group.observe(now)
        else:  # other rates, or a group of this turn: no member is looked at, because each that wanted something does
            members = list(group.members.values())
            if rates != group.rates:
                group.retune(rates)
        if group.members:
            yield from group.share(members)
        elif not group.owes:
            del self._groups[service]
            return
        if group.active or not group.members:  # without members there are debts, which the next one makes up for
            self._dirty.mark(service)

    def _dissolve(self, service: Service, group: RateGroup | None) -> Generator[None, None, None]:
        """Take the limits off every member of a service without rates."""
        if group is not None:
            for session in tuple(group.members):
                if session in group.members:
                    session.follow(None)
                yield
            if not group.members:  # else rates came and went meanwhile, and it is looked at again
                del self._groups[service]
