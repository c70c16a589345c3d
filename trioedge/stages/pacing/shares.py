"""Divide the rate of a service among its flows, because the kernel paces sockets and not services.

A flow is one direction of one session. At each tick, about every 0.1 s, the pacer looks at the flows of a service that
moved bytes: :meth:`Flow.observe` estimates the demand of each, :meth:`Debt.settle` gives the rate there is to divide,
and :func:`divide` divides it.
"""

from collections.abc import Generator, Iterable
from heapq import merge
from itertools import islice
from math import inf
from typing import Final

import attrs

SATURATED: Final = 0.75
"""A flow that uses this part of its share is limited by it: its demand is taken for infinite. Deliveries vary from tick
to tick, so this is less than 1."""

HEADROOM: Final = 1.5
"""The demand of every other flow, in multiples of the rate that it uses. It then uses two thirds of its share, which is
below :data:`SATURATED`, so shares do not swing from tick to tick."""

DECAY: Final = 0.8
"""The factor by which a flow's highest rate fades at each tick. A pause between two requests costs little demand."""

IDLE_RATE: Final = 1.0
"""Bytes a second below which a flow has no demand."""

GRAIN: Final = 16384
"""Bytes by which a service may be ahead of its rate without a debt. The kernel sends packets in trains; if each train
counted as too much and each gap as nothing, slow services would stay below their rate."""

DEBT_SECONDS: Final = 0.5
"""The maximum debt: the bytes of the service's rate in this time. The rest is forgotten."""

REPAY_SECONDS: Final = 1.0
"""The time in which the present debt would be repaid."""


DEMANDS_PER_STEP: Final = 64
"""Demands that are sorted in one step, or merged. A step takes 30 µs."""


@attrs.frozen(slots=True)
class Division:
    """A rate divided among flows; the share of a flow is computed from its demand when it is asked for.

    Attributes:
        equal: bytes a second, an equal share. No flow has less, however small its demand: a packet that was sent at a
            very low rate delays those behind it for seconds, and the kernel does not reschedule it when the rate rises.
            So the only flow of a service has the whole rate. If all flows with a smaller demand want more at the same
            moment, the service exceeds its rate until the next tick, by less than a factor of two.
        level: bytes a second, the share of a flow with a larger demand; infinity when every demand is met.
        spare: bytes a second that each flow has beyond its demand when every demand is met, else 0.
    """

    equal: float
    level: float
    spare: float

    def share(self, demand: float) -> float:
        """Return a flow's share, in bytes a second; :attr:`equal` for a flow without demand."""
        return max(self.equal, self.fair(demand))

    def fair(self, demand: float) -> float:
        """Return a flow's max-min fair part; these parts add up to the rate."""
        return min(demand, self.level) + self.spare


def divide(rate: float, demands: Iterable[float], flows: int) -> Generator[None, None, Division]:
    """Divide a rate max-min fairly: no part can grow without a smaller or equal one shrinking.

    Water-filling (Bertsekas and Gallager, Data Networks, section 6.5.2) for one link. O(n log n) in the number of
    demands, in steps of 30 µs.

    Args:
        rate: bytes a second, above 0; infinity for no limit.
        demands: what flows can use, in bytes a second, 0 to infinity, as :meth:`Flow.observe` returns it.
        flows: the number of flows, at least 1. Flows without demand count, and need not be among `demands`.

    Returns:
        The division. Each fair part is at least the smaller of the flow's demand and an equal share. When every
        demand is met, the rest is divided equally, so the sum of the fair parts is always the rate.
    """
    equal = rate / flows
    if rate == inf:
        return Division(equal, inf, 0.0)
    runs: list[list[float]] = []
    coming = iter(demands)
    while run := list(islice(coming, DEMANDS_PER_STEP)):
        runs.append(sorted(filter(None, run)))
        yield
    wanting = sum(map(len, runs))
    left = rate
    for position, demand in enumerate(merge(*runs)):
        level = left / (wanting - position)
        if demand >= level:
            return Division(equal, level, 0.0)
        left -= demand
        if not position % DEMANDS_PER_STEP:
            yield
    return Division(equal, inf, left / flows)


class Flow:
    """The use of one flow, and its estimated demand.

    Attributes:
        share: bytes a second that it may use at present; the pacer writes it.
        delivered: bytes that the kernel sent in the last tick.
        demand: bytes a second that it could use: 0 for an idle flow, infinity for one that is limited by its share.
    """

    __slots__ = ("_rate", "_sent", "delivered", "demand", "share")

    def __init__(self, share: float, moved: int = 0) -> None:
        """Start with an idle flow.

        Args:
            share: bytes a second that it may use at first.
            moved: bytes handed to the kernel before.
        """
        self.share = share
        self.delivered = 0
        self.demand = 0.0
        self._sent = moved
        self._rate = 0.0

    def observe(self, moved: int, queued: int, seconds: float) -> float:
        """Account for the bytes of a tick.

        Args:
            moved: bytes handed to the kernel since the socket was opened.
            queued: bytes among these that the kernel has not sent yet (SIOCOUTQ or SIOCOUTQNSD).
            seconds: since the last call, above 0.

        Returns:
            :attr:`demand`.
        """
        sent = max(moved - queued, self._sent)  # the end of the stream is a byte in the queue that was never moved
        self.delivered = sent - self._sent
        self._sent = sent
        self._rate = rate = max(self.delivered / seconds, self._rate * DECAY)
        if rate >= self.share * SATURATED:
            self.demand = inf
        elif rate >= IDLE_RATE:
            self.demand = rate * HEADROOM
        else:
            self.demand = 0.0
        return self.demand

    def end(self, moved: int, seconds: float = inf) -> float:
        """Return the bytes that a flow which has ended delivered since the last :meth:`observe`.

        Args:
            moved: bytes handed to the kernel since the socket was opened.
            seconds: infinity if all of them arrive. After a reset, the time since about the last `observe`: the kernel
                dropped an unknown number of bytes, so at most what the share carries in this time counts, and
                :data:`GRAIN`.
        """
        return min(max(moved - self._sent, 0), GRAIN + self.share * seconds)


class Debt:
    """The bytes that a service used beyond its rate, repaid from its rate in the next ticks.

    Kernels are not exact (asked for 1 MB/s, one sent 1.16), and :class:`Division` lets flows wake up at an equal share.
    A debt grows until the rate is reduced by as much as the kernel sends too much. So over any stretch of time a
    service is ahead of its rate by at most :data:`GRAIN` and the debt at its end, unless the kernel sends more than
    twice the rate that it is asked for.
    """

    __slots__ = ("_ahead",)

    def __init__(self) -> None:
        """Start without a debt."""
        self._ahead = 0.0

    def __bool__(self) -> bool:
        """Whether there is a debt."""
        return self._ahead > GRAIN

    @property
    def bytes(self) -> float:
        """The debt."""
        return max(self._ahead - GRAIN, 0.0)

    def settle(self, delivered: float, rate: float, seconds: float) -> float:
        """Account for a tick and return the rate to divide in the next one.

        Args:
            delivered: bytes of all flows in the tick.
            rate: the service's limit in bytes a second, above 0; infinity for none.
            seconds: the length of the tick, above 0; infinity to forget the debt.

        Returns:
            Bytes a second, from half of the limit to all of it. Unused rate is not saved up.
        """
        self.charge(delivered, rate * seconds, rate)
        return self.reduce(rate)

    def charge(self, delivered: float, allowed: float, rate: float) -> None:
        """Account for bytes that were delivered, and for those that were allowed; infinity to forget the debt."""
        self._ahead = min(max(self._ahead + delivered - allowed, 0.0), GRAIN + rate * DEBT_SECONDS)

    def reduce(self, part: float) -> float:
        """Give what there is to divide of a part of the rate: without what repays the debt, and at least half of it."""
        return max(part / 2, part - self.bytes / REPAY_SECONDS)
