"""The rate of one service, as one of several processes that serve it: what this one takes, and what its flows share."""

from collections.abc import Sequence
from math import inf

from ...structures.shared.rate_rows import RateRow, Use
from .parts import STALE_SECONDS, UseCount, allot
from .shares import Debt, Division, Flow


class SharedRate:
    """The part of one process, down and up.

    Attributes:
        elsewhere: the sessions of the service in other processes.
        parts: bytes a second that this process takes.
    """

    # `_allowed` are the bytes that it was allowed to move from the last :meth:`charge` until `_claimed_at`.
    __slots__ = ("_allowed", "_claimed_at", "_held", "_levels", "_row", "elsewhere", "parts")

    def __init__(self, row: RateRow, now: float) -> None:
        """Take nothing yet, but know how many sessions the others have.

        Args:
            row: of the service.
            now: the caller's time, in seconds.
        """
        self._row = row
        with row:
            others = row.others(now, STALE_SECONDS)
        self.elsewhere = 0 if others is None else int(others.members)
        self.parts = 0.0, 0.0
        self._levels = inf, inf
        self._held = [False, False]
        self._allowed = [0.0, 0.0]
        self._claimed_at = now

    def counts(self) -> tuple[UseCount, UseCount]:
        """Give two empty counts of flows, down and up, for :meth:`claim`."""
        return UseCount(self._levels[0]), UseCount(self._levels[1])

    def claim(
        self, now: float, rates: tuple[float, float], counts: Sequence[UseCount], active: int, members: int
    ) -> tuple[float, float]:
        """Take this process's part from now on, and tell the others; returns :attr:`parts`. About 30 µs.

        Args:
            now: the caller's time, in seconds.
            rates: bytes a second of the service.
            counts: its flows with demand, debts included.
            active: its sessions whose bytes move, at least 1 if there is a debt.
            members: all of its sessions.
        """
        self._allow(now)
        with self._row as row:
            others = row.others(now, STALE_SECONDS)
            if others is None:  # so many services have a rate that no row is left: a fixed part is never too much
                self.parts = rates[0] / row.columns, rates[1] / row.columns
                return self.parts
            self.elsewhere = int(others.members)
            uses = [Use(each.limited, each.light, each.lights, 0.0, active) for each in counts]
            down, up = allot(rates[0], uses[0], others.down), allot(rates[1], uses[1], others.up)
            if not row.locked:  # another process may be taking the same bytes just now
                down, up = down.at_most(self.parts[0]), up.at_most(self.parts[1])
            self.parts, self._levels = (down.part, up.part), (down.level, up.level)
            self._held = [down.held, up.held]
            row.write(now, members, uses[0]._replace(taken=down.part), uses[1]._replace(taken=up.part))
        return self.parts

    def charge(
        self, now: float, debts: Sequence[Debt], delivered: Sequence[float], rates: Sequence[float], *, forget: bool
    ) -> None:
        """Account for the bytes that all flows moved since the last call, by what the process took meanwhile.

        Args:
            now: the caller's time, in seconds.
            debts: down and up.
            delivered: bytes of all flows.
            rates: bytes a second of the service.
            forget: whether a part of the bytes went at other rates, so that they are no debt.
        """
        self._allow(now)
        if forget:
            self._allowed = [inf, inf]
        for debt, moved, allowed, rate in zip(debts, delivered, self._allowed, rates, strict=True):
            debt.charge(moved, allowed, rate)
        self._allowed = [0.0, 0.0]

    def share(self, way: int, division: Division, equal: float, flow: Flow) -> float:
        """Give the share of a flow, in bytes a second.

        A flow that is limited has its fair part only, so that the process keeps to its own. While that waits for other
        processes to take less, the flow keeps an equal share if it had one.

        Args:
            way: 0 for down, 1 for up.
            division: of what this process takes.
            equal: an equal share of the service's rate.
            flow: with its demand and its present share.
        """
        fair = division.fair(flow.demand)
        if flow.demand < inf:
            return max(equal, fair)
        return max(min(equal, flow.share), fair) if self._held[way] else fair

    def leave(self) -> None:
        """Take nothing any more, and have no session."""
        with self._row as row:
            row.leave()

    def _allow(self, now: float) -> None:
        seconds, self._claimed_at = now - self._claimed_at, now
        if seconds > 0:
            self._allowed = [bytes_ + part * seconds for bytes_, part in zip(self._allowed, self.parts, strict=True)]
