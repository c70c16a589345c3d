"""Keep a service's rates over all of its sessions: the kernel paces sockets, so the shares follow what they carry.

Seed, layer two: nothing here touches a byte. A tenth of a second apart, and only while a service's bytes move or its
sessions change, the shares of its sessions are worked out anew (`shares`) and told to the kernel. A tick costs what the
sessions that move cost: one that rests is not looked at before it says that its bytes move again.
"""

from collections import OrderedDict
from collections.abc import Generator
from functools import partial
from math import inf
from typing import Final

import trio
from trio_util import AsyncBool

from ...loop.slices import in_slices
from ...services.registry import Registry
from ...services.services import Change, Service, Services
from ...session.session import Session
from ...telemetry.observer import Observer
from .rate_group import RateGroup

TICK_SECONDS: Final = 0.1
"""Shares are worked out at most this often."""

REST: Final = 4
"""How many times longer than its work a tick of many sessions rests; longer, and it would be late for the next."""

STEPS: Final = 32
"""What a look at one service may do before others have a turn, so that a small one never waits for a large one."""

_NO_RATES: Final = inf, inf


class Pacer:
    """The rates of every service."""

    def __init__(
        self, services: Services, live: Registry, observer: Observer, down_rate: float, up_rate: float
    ) -> None:
        """Pace nobody yet.

        Args:
            services: whose policies say the rates.
            live: every session.
            observer: told of what nobody expected.
            down_rate: bytes a second to the clients of a service whose policy says none; infinity for no limit.
            up_rate: the same to its upstream.
        """
        self._services = services
        self._live = live
        self._observer = observer
        self._default = down_rate, up_rate
        self._groups: dict[str, RateGroup] = {}
        self._hot: OrderedDict[str, None] = OrderedDict()
        self._looks: OrderedDict[str, Generator[None, None, None]] = OrderedDict()
        """Looks that are under way."""
        self._wakeup = AsyncBool()

    def __len__(self) -> int:
        """Services whose shares are worked out at the next tick."""
        return len(self._hot)

    def changed(self, service: Service, change: Change) -> None:
        """A service's rates may be others now, which is nothing to one without sessions. O(1)."""
        if change.fields and "down_rate" not in change.fields and "up_rate" not in change.fields:
            return
        if service.live or service.name in self._groups:
            if service.name in self._looks:
                self._looks[service.name].close()  # what it works out holds no more
            self.heat(service.name)

    def woke(self, service: Service) -> None:
        """A service's sessions change, or its bytes move again. O(1)."""
        if service.name in self._groups or self.rates(service) != _NO_RATES:
            self.heat(service.name)

    def heat(self, name: str) -> None:
        """Look at a service at the next tick."""
        if name not in self._hot:
            self._hot[name] = None
            self._wakeup.value = True

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
            group = self._begin(session.service, rates, session.started_at)
        group.enter(session, rates, 1 if service is None else service.live + 1)

    def _begin(self, name: str, rates: tuple[float, float], now: float) -> RateGroup:
        group = self._groups[name] = RateGroup(rates, now, partial(self.heat, name), self._release)
        return group

    def _release(self, session: Session) -> None:
        """Take a session's limits off, unless the service that it is of now has a rate, and so takes it over."""
        if self.rates(self._services.find(session.service)) == _NO_RATES:
            session.pace(*_NO_RATES)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work shares out, at once after a rest and then at most every 0.1 s, until cancelled."""
        task_status.started()
        while True:
            await self._wakeup.wait_value(True)
            self._wakeup.value = False
            while self._hot or self._looks:
                with trio.move_on_after(TICK_SECONDS) as tick:  # a look that is not done by then goes on in the next
                    await in_slices(self._turns(), rest=REST)
                await trio.sleep_until(tick.deadline)

    def _turns(self) -> Generator[None, None, None]:
        """Look at every hot service, in turns of a few steps each: small ones are done after their first."""
        for _ in range(len(self._hot)):
            name, _ = self._hot.popitem(last=False)
            if name in self._looks:
                self._hot[name] = None
            else:
                self._looks[name] = self._look(name)
            yield
        while self._looks:
            name, look = next(iter(self._looks.items()))
            for _ in range(STEPS):
                yield
                try:
                    over = next(look, look) is look
                except Exception as fault:  # of this service; the others keep their rates
                    self._observer.fault("pacing failed", fault, service=name)
                    self.heat(name)  # those who move would not say so again
                    over = True
                if over:
                    del self._looks[name]
                    break
            else:
                self._looks.move_to_end(name)

    def _look(self, name: str) -> Generator[None, None, None]:
        """Work out one service's shares; it stays hot while its bytes move."""
        now = trio.current_time()
        service = self._services.get(name)
        rates = self.rates(service)
        group = self._groups.get(name)
        if rates == _NO_RATES or service is None:
            yield from self._let_go(name, group)
            return
        if group is None:
            group = self._begin(name, rates, now)
            group.retune(rates)  # what is on its way went without a rate
        if service.live != len(group.members):  # some are from before there was a rate, or from another service
            for session in self._live.each(name):
                if session not in group.members:
                    group.enter(session, rates, max(1, service.live))
                yield
        if rates == group.rates and now > group.looked_at:
            members = yield from group.observe(now)
        else:  # other rates, or made in this turn: nobody is looked at, for whoever wanted something still does
            members = list(group.members.values())
            if rates != group.rates:
                group.retune(rates)
        if group.members:
            yield from group.share(members)
        elif not group.owes:
            del self._groups[name]
            return
        if group.active or not group.members:  # without any, there are debts, for whoever comes next to make up for
            self._hot[name] = None

    def _let_go(self, name: str, group: RateGroup | None) -> Generator[None, None, None]:
        if group is not None:
            for session in tuple(group.members):
                if session in group.members:
                    session.follow(None)
                yield
            if not group.members:  # else rates came and went while this was on its way, and it is looked at again
                del self._groups[name]
