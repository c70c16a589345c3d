"""A service's rate divided among its flows, for the kernel paces sockets and not services.

A flow is one direction of one session. Every tick, a tenth of a second or so, whoever drives this looks at the flows
of a service that moved bytes, and at no others: :meth:`Flow.observe` guesses what each could use, :meth:`Debt.settle`
says what rate there is to divide, :func:`divide` divides it.
"""

from collections.abc import Generator, Iterable
from heapq import merge
from itertools import islice
from math import inf
from typing import Final

import attrs

SATURATED: Final = 0.75
"""The part of its share from which a flow counts as held back by it. Deliveries of one tick to the next differ."""

HEADROOM: Final = 1.5
"""What a flow that is not held back is offered, in times of what it used. Its use is then two thirds of its share,
below :data:`SATURATED`: were it not, shares would swing at every tick."""

MEMORY: Final = 0.8
"""What is left of a flow's highest rate a tick later, so that a pause between two requests is no loss of demand."""

IDLE_RATE: Final = 1.0
"""Bytes a second below which a flow wants nothing."""

GRAIN: Final = 16384
"""Bytes by which a service may be ahead of its rate and owe nothing. The kernel sends packets in trains; a debt that
counts each train as too much, and each gap as nothing, would hold slow services below their rate."""

DEBT_SECONDS: Final = 0.5
"""A service owes at most what its rate carries in this time; what is beyond is forgotten."""

REPAY_SECONDS: Final = 1.0
"""What is owed now would be repaid in this time."""


RUN: Final = 64
"""Demands that are sorted in one step, or merged. It takes 30 µs."""


@attrs.frozen(slots=True)
class Division:
    """How a rate is divided, for flows of any demand: nobody's share is worked out who does not ask.

    Attributes:
        equal: bytes a second that each flow would have if all had the same. None has less, however little it used: a
            packet sent at a trickle's pace holds up what follows it for seconds, and the kernel does not take that back
            when the pace is raised. So a flow alone always has the whole rate; and if all that use less than an equal
            share want more at one moment, the service exceeds its rate until the next tick, less than twofold.
        level: what a flow that wants more has; infinity when every demand is met.
        spare: what each flow has beyond its demand when every demand is met.
    """

    equal: float
    level: float
    spare: float

    def share(self, demand: float) -> float:
        """Give a flow's share, in bytes a second; a flow that wants nothing has :attr:`equal`."""
        return max(self.equal, self.fair(demand))

    def fair(self, demand: float) -> float:
        """Give its part of the rate; these add up to the rate, and what flows use at a time adds up to no more."""
        return min(demand, self.level) + self.spare


def divide(rate: float, demands: Iterable[float], flows: int) -> Generator[None, None, Division]:
    """Divide a rate max-min fairly: nobody can get more but at the cost of one who gets less.

    Water-filling (Bertsekas and Gallager, Data Networks, section 6.5.2), for one link. O(n log n) of the flows that
    want something, in steps of 30 µs; those that want nothing cost nothing.

    Args:
        rate: bytes a second, above 0; infinity for no limit.
        demands: what flows can use, in bytes a second, 0 to infinity, as :meth:`Flow.observe` gives them.
        flows: how many there are, those included that want nothing and are not among the demands; at least 1.

    Returns:
        How it is divided. Nobody gets less than the smaller of its demand and an equal share. What is left when every
        demand is met is divided equally, so that the sum of the fair parts is always the rate.
    """
    equal = rate / flows
    if rate == inf:
        return Division(equal, inf, 0.0)
    runs: list[list[float]] = []
    coming = iter(demands)
    while run := list(islice(coming, RUN)):
        runs.append(sorted(filter(None, run)))
        yield
    wanting = sum(map(len, runs))
    left = rate
    for position, demand in enumerate(merge(*runs)):
        level = left / (wanting - position)
        if demand >= level:
            return Division(equal, level, 0.0)
        left -= demand
        if position % RUN == 0:
            yield
    return Division(equal, inf, left / flows)


class Flow:
    """What one flow uses, and from that what it could use.

    Attributes:
        share: bytes a second it may use at present, for the driver to write.
        delivered: bytes that left in the last tick.
        demand: bytes a second it could use: 0 for an idle flow, infinity for one that its share holds back.
    """

    __slots__ = ("_rate", "_sent", "delivered", "demand", "share")

    def __init__(self, share: float, moved: int = 0, queued: int = 0) -> None:
        """Begin with an idle flow.

        Args:
            share: bytes a second it may use at first.
            moved: bytes handed to the kernel before it was looked at.
            queued: bytes of these that the kernel holds still.
        """
        self.share = share
        self.delivered = 0
        self.demand = 0.0
        self._sent = moved - queued
        self._rate = 0.0

    def observe(self, moved: int, queued: int, seconds: float) -> float:
        """Look at a flow after a tick.

        Args:
            moved: bytes handed to the kernel since the socket was opened.
            queued: bytes of these that the kernel holds still (SIOCOUTQ or SIOCOUTQNSD).
            seconds: since the last look, above 0.

        Returns:
            :attr:`demand`.
        """
        sent = max(moved - queued, self._sent)  # the end of the stream is a byte in the queue that nobody handed over
        self.delivered = sent - self._sent
        self._sent = sent
        self._rate = rate = max(self.delivered / seconds, self._rate * MEMORY)
        if rate >= self.share * SATURATED:
            self.demand = inf
        elif rate >= IDLE_RATE:
            self.demand = rate * HEADROOM
        else:
            self.demand = 0.0
        return self.demand

    def end(self, moved: int, seconds: float = inf) -> float:
        """Say what a flow that is over delivered since it was last looked at.

        Args:
            moved: bytes handed to the kernel since the socket was opened.
            seconds: since about when, if it was reset: nobody knows what the kernel dropped, so it counts what its
                share carries in this time, and :data:`GRAIN`. Infinity if all of them arrive.
        """
        return min(max(moved - self._sent, 0), GRAIN + self.share * seconds)


class Debt:
    """What a service used beyond its rate, repaid from what it gets next.

    Kernels are not exact (one asked for 1 MB/s gave 1.16), and :class:`Division` lets flows wake up. A debt grows until
    what is taken off for it equals what is given too much; so over any stretch of time a service is ahead of its rate
    by at most :data:`GRAIN` and the debt at its end. A kernel that gives more than twice what it is asked for is
    beyond this.
    """

    __slots__ = ("_ahead",)

    def __init__(self) -> None:
        self._ahead = 0.0

    def __bool__(self) -> bool:
        """Whether anything is owed."""
        return self._ahead > GRAIN

    def settle(self, delivered: float, rate: float, seconds: float) -> float:
        """Account for a tick and say what rate there is to divide in the next.

        Args:
            delivered: bytes of all flows in the tick.
            rate: the service's limit in bytes a second, above 0; infinity for none.
            seconds: the tick, above 0.

        Returns:
            Bytes a second, from half of the limit to all of it. Unused rate is not saved up.
        """
        ahead = self._ahead + delivered - rate * seconds
        self._ahead = ahead = min(max(ahead, 0.0), GRAIN + rate * DEBT_SECONDS)
        return rate - max(ahead - GRAIN, 0.0) / REPAY_SECONDS
