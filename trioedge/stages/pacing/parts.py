"""Divide the rate of a service among the processes that serve it; each then divides its part among its own flows.

Every process writes what it could use into shared memory, and reads what the others could. From the same numbers all of
them compute the same division, so there is no message and no process decides for another one:

| a process | event | then it takes |
| --- | --- | --- |
| takes its part | a look finds that its part has become smaller | the smaller part, at once |
| takes its part | a look finds that its part has become larger | that, or what the others leave, if this is less |
| takes less than its part | the others take less | at its next look, what they leave |
| takes its part | a look does not get the lock of the row | no more than before |
| takes a part | it has no demand and no debt any more | nothing |
| takes a part | it has not looked for :data:`STALE_SECONDS` | nothing, as the others see it |

So what all of them take is never more than the rate, whatever the order of their looks. A flow that begins or wakes has
its equal share all the same, until the others have taken less. Its process pays for that later, by its debt.
"""

from collections.abc import Sequence
from math import inf
from typing import Final, NamedTuple

from ...structures.shared.rate_rows import Use
from .shares import IDLE_RATE, REPAY_SECONDS

STALE_SECONDS: Final = 1.0
"""A process that has not looked at a service for so long counts as idle. While bytes move a look comes each 0.1 s."""

ROUNDING: Final = 1e-6
"""The part by which sums of the same numbers may differ."""


class Allotment(NamedTuple):
    """The part of one process.

    Attributes:
        level: bytes a second, the share of a flow that could use more; infinity when every demand is met.
        part: bytes a second that the process may take from now on.
        held: whether its fair part is larger, and the others have not left it yet.
    """

    level: float
    part: float
    held: bool

    def at_most(self, part: float) -> "Allotment":
        """Give the allotment of a process that may not take more than a part; no limit stays none."""
        return self if self.part <= part or self.part == inf else Allotment(self.level, part, held=True)


def allot(rate: float, own: Use, others: Sequence[Use]) -> Allotment:
    """Compute the part of a process: max-min fair over the flows of all, whichever process has them.

    The flows below the level are known by their sum only, so they count as equal ones. A process that sees one above
    the level names it as limited at its next look, so this is right as soon as the level rests. O(n log n) in the
    number of processes, 5 µs for two.

    Args:
        rate: bytes a second of the service, above 0; infinity for no limit.
        own: this process's use; its `taken` is ignored.
        others: those of the processes that are not idle.
    """
    if rate == inf:
        return Allotment(inf, inf, held=False)
    level, spare = _fill(rate, (own, *others))
    fair = own.limited * level if own.limited else 0.0  # no flow at an infinite level has nothing
    if own.lights:
        fair += min(own.light, own.lights * level)
    fair += own.members * spare
    left = max(0.0, rate - sum(each.taken for each in others))
    return Allotment(level, min(fair, left), held=left < fair * (1 - ROUNDING))


def _fill(rate: float, uses: Sequence[Use]) -> tuple[float, float]:
    """Give the level to which a rate fills all flows; and, where every demand is met, the rest for each member."""
    left, flows = rate, sum(each.limited + each.lights for each in uses)
    for mean, lights in sorted((each.light / each.lights, each.lights) for each in uses if each.lights):
        if mean * flows >= left:
            return left / flows, 0.0
        left -= mean * lights
        flows -= lights
    if flows > 0:
        return left / flows, 0.0
    return inf, left / max(1.0, sum(each.members for each in uses))


class UseCount:
    """A count of one direction's flows at a look, for :class:`Use`."""

    __slots__ = ("_level", "light", "lights", "limited")

    def __init__(self, level: float) -> None:
        """Start without flows.

        Args:
            level: that of the last allotment.
        """
        self._level = level
        self.limited = self.lights = 0
        self.light = 0.0

    def add(self, demand: float) -> None:
        """Count a flow by its demand, as :meth:`~.shares.Flow.observe` returns it."""
        if demand == inf or demand >= self._level:
            self.limited += 1
        elif demand:
            self.light += demand
            self.lights += 1

    def owe(self, debt: float) -> None:
        """Count a debt in bytes as a flow, which is repaid as :meth:`~.shares.Debt.reduce` does it."""
        if debt > 0:
            self.add(debt / REPAY_SECONDS + IDLE_RATE)
