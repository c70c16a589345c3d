"""Apply the rates of services: every 0.1 s each is divided among the service's sessions, which the kernel paces.

A service is looked at only while its bytes move or its sessions change (:mod:`.rate_group`). A tick costs what the
sessions whose bytes move cost, however many are silent. No byte passes here.

| a service is | event | then |
| --- | --- | --- |
| clean | its sessions or rates change, or its bytes move after a silence | dirty |
| dirty | a tick begins | looked at, in turns with the others |
| looked at | the tick ends, or the task is cancelled between two slices | looked at; the next tick goes on |
| looked at | its rates change | dirty, because the look is closed |
| looked at | the look raises | dirty; the fault is logged |
| looked at | the look ends: bytes moved, there is a debt, or it was marked | dirty |
| looked at | the look ends, else | clean |
"""

from collections import OrderedDict
from functools import partial
from math import inf
from typing import Final

import trio
from trio_util import AsyncBool

from ...loop.slices import Stepwise, in_slices
from ...services.context import EdgeContext
from ...services.service import Service
from ...services.snapshot import Change
from ...session.session import Session
from ...session.verdict import CONTINUE, Verdict
from ...structures.dirty_set import DirtySet
from ...telemetry.log import STOPS
from .rate_group import RateGroup
from .shared_rate import SharedRate

TICK_SECONDS: Final = 0.1
"""The time between two divisions of a rate."""

REST: Final = 4
"""How many times longer a rest is than the slice of work before it. With a longer one, a tick of many sessions would
not end before the next."""

STEPS_PER_TURN: Final = 32
"""Maximum steps for one service before the others continue."""

_NO_RATES: Final = inf, inf


class Pacer:
    """The rates of every service; the live stage of `Pacing`."""

    # `_looks` has exactly the services that are taken from `_dirty`, each with the look at it, so no service has two
    # looks at a time. A service with a group has a session in it, a debt, or is dirty or looked at.
    def __init__(self, context: EdgeContext, down_rate: float, up_rate: float) -> None:
        """Start without a service.

        Args:
            context: the running edge; its policies have the rates.
            down_rate: bytes a second to the clients of a service whose policy has none; infinity for no limit.
            up_rate: the same to its upstream.
        """
        self._sessions = context.sessions
        self._log = context.log
        self._limits = None if context.share is None else context.share.limits
        self._meters = context.log.meters
        self._default = down_rate, up_rate
        self._groups: dict[Service, RateGroup] = {}
        self._dirty: DirtySet[Service] = DirtySet()
        self._looks: OrderedDict[Service, Stepwise[None]] = OrderedDict()
        self._meters.paced = self._dirty, self._looks
        self._wakeup = AsyncBool()
        context.watch(self)
        context.follow_traffic(self.traffic)

    def decide(self, session: Session) -> Verdict:
        """Apply an equal share to the session if its service has a rate: 3 µs, and 0.3 without. Always CONTINUE."""
        service = session.service
        rates = self.rates(service)
        if rates != _NO_RATES:
            group = self._groups.get(service)
            if group is None:
                group = self._begin(service, rates, session.now)
            group.enter(session, rates, service.live + 1)
        return CONTINUE

    def rates(self, service: Service) -> tuple[float, float]:
        """Return the limits of a service down and up, in bytes a second; infinity for none."""
        policy = service.policy
        return (
            self._default[0] if policy.down_rate is None else policy.down_rate,
            self._default[1] if policy.up_rate is None else policy.up_rate,
        )

    def changed(self, service: Service, change: Change) -> None:
        """Mark a service whose rates may have changed; ignored if it has no sessions. O(1)."""
        if change.fields and "down_rate" not in change.fields and "up_rate" not in change.fields:
            return
        if service.live or service in self._groups:
            if service in self._looks:
                self._looks[service].close()  # it applies shares of the old rates
            self.mark_dirty(service)

    def traffic(self, service: Service) -> None:
        """Mark a service whose sessions change, or whose bytes move after a silence. O(1)."""
        if service in self._groups or self.rates(service) != _NO_RATES:
            self.mark_dirty(service)

    def mark_dirty(self, service: Service) -> None:
        """Look at a service at the next tick."""
        self._dirty.mark(service)
        self._wakeup.value = True

    def _begin(self, service: Service, rates: tuple[float, float], now: float) -> RateGroup:
        shared = None if self._limits is None else SharedRate(self._limits.rate(service.name), now)
        group = RateGroup(rates, now, partial(self.mark_dirty, service), self._release, shared)
        self._groups[service] = group
        return group

    def _end(self, service: Service) -> None:
        group = self._groups.pop(service)
        if group.shared is not None:
            group.shared.leave()

    def _release(self, session: Session) -> None:
        """Remove the limits of a session that left its group, unless its service has a rate, which then applies."""
        if self.rates(session.service) == _NO_RATES:
            session.pace(*_NO_RATES)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look at dirty services, at once after a pause and then at most every 0.1 s, until cancelled."""
        task_status.started()
        while True:
            await self._wakeup.wait_value(True)
            self._wakeup.value = False
            while self._dirty or self._looks:
                with trio.move_on_after(TICK_SECONDS) as tick:  # a look that has not ended goes on in the next tick
                    await in_slices(self._turns(), rest=REST)
                await trio.sleep_until(tick.deadline)

    def _turns(self) -> Stepwise[None]:
        """Look at every dirty service, in turns of some steps each, so that small services need one turn."""
        for _ in range(len(self._dirty)):
            (service,) = self._dirty.take(1)
            self._looks[service] = self._look(service)
            yield
        while self._looks:
            service, look = next(iter(self._looks.items()))
            for _ in range(STEPS_PER_TURN):
                yield
                try:
                    over = next(look, look) is look
                except STOPS:
                    raise
                except BaseException as fault:  # of this service only
                    self._log.fault("pacing failed", fault, service=service.name)
                    self._dirty.mark(service)  # because its active sessions do not notify again
                    over = True
                if over:
                    del self._looks[service]
                    self._dirty.done(service)
                    break
            else:
                self._looks.move_to_end(service)

    def _look(self, service: Service) -> Stepwise[None]:
        """Compute and apply the shares of one service; it is dirty again if its bytes move."""
        self._meters.looks += 1
        now = trio.current_time()
        rates = self.rates(service)
        group = self._groups.get(service)
        if rates == _NO_RATES or service.removed:
            yield from self._dissolve(service, group)
            return
        if group is None:
            group = self._begin(service, rates, now)
            group.retune(rates)  # bytes until now went without a rate
        if service.live != len(group.members):  # some came before there was a rate, or from another service
            for session in self._sessions.of(service):
                if session not in group.members:
                    group.enter(session, rates, max(1, service.live))
                yield
        if rates == group.rates and now > group.looked_at:
            members = yield from group.observe(now)
        else:  # the rates changed, or the group is new: divide at once, by the demands of the last look
            members = list(group.members.values())
            if rates != group.rates:
                group.retune(rates)
        if group.members:
            yield from group.share(members, trio.current_time())
            self._meters.divisions += 1
        elif group.owes:
            yield from group.claim(members, trio.current_time())
        else:
            self._end(service)
            return
        if group.active or not group.members:  # without members there is a debt, which the next session repays
            self._dirty.mark(service)

    def _dissolve(self, service: Service, group: RateGroup | None) -> Stepwise[None]:
        """Remove the limits of every member, because the service has no rate any more, or is removed."""
        if group is not None:
            for session in tuple(group.members):
                if session in group.members:
                    session.follow(None)
                yield
            if not group.members:  # else sessions came meanwhile, which marked it dirty
                self._end(service)
