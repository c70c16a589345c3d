"""A rate limiter by key: how often a key may open a session. It never waits, and is independent of byte rates.

The generic cell rate algorithm (ITU-T I.371, annex A): the whole state of a key is one float, its theoretical arrival
time, at which all that the key has spent is paid back.
"""

from collections import OrderedDict
from collections.abc import Hashable
from enum import Enum

ROUNDING = 0.01
"""The part of an interval by which a session may be early. Sums of floats are not exact, and a key that has rested must
get its whole burst."""

MAX_INTERVAL_SECONDS = 1e9
"""Thirty years. Longer intervals would add up to infinity, and a rate close to 0 would be no limit at all."""


class GateAnswer(Enum):
    """The answer of a gate."""

    ADMITTED = "admitted"
    TOO_FAST = "too fast"
    FULL = "full"


ADMITTED, TOO_FAST, FULL = GateAnswer.ADMITTED, GateAnswer.TOO_FAST, GateAnswer.FULL  # a look-up in an Enum costs 60 ns


class RateSpec:
    """A rate in sessions a second, and the burst that is allowed at once after a rest."""

    __slots__ = ("interval", "tolerance")

    def __init__(self, rate: float, burst: int) -> None:
        """Compute the two numbers that a gate compares with, in seconds.

        Args:
            rate: sessions a second, above 0.
            burst: sessions at once, at least 1.
        """
        self.interval = min(1.0 / rate, MAX_INTERVAL_SECONDS)
        self.tolerance = (burst - 1 + ROUNDING) * self.interval


class Gate:
    """Admits at most ``rate * seconds + burst`` sessions of a key in any stretch of time.

    A key that has opened no session for ``burst / rate`` seconds has its whole burst again and is dropped. At capacity
    a new key is refused and no live key is dropped, because a client that rotates keys would then start afresh.
    """

    __slots__ = ("_arrivals", "_capacity")

    def __init__(self, capacity: int) -> None:
        """Start without keys.

        Args:
            capacity: the maximum of keys in memory, at least 1.
        """
        self._capacity = capacity
        # The theoretical arrival time of each key, in seconds; the key whose last admission is oldest comes first.
        self._arrivals: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        """Keys in memory."""
        return len(self._arrivals)

    def admit(self, key: Hashable, now: float, rate: RateSpec) -> GateAnswer:
        """Admit one session, or say why not. O(1), about 0.3 µs.

        Args:
            key: at capacity, a new one is FULL.
            now: seconds; must not go back.
            rate: may be another one each time; the sessions that were admitted before still count.
        """
        arrivals = self._arrivals
        arrival = arrivals.get(key)
        if arrival is None:
            self._drop_idle(now)
            if len(arrivals) >= self._capacity:
                return FULL
            arrivals[key] = now + rate.interval
            return ADMITTED
        if arrival < now:
            arrival = now
        elif arrival - now > rate.tolerance:
            return TOO_FAST
        arrivals[key] = arrival + rate.interval
        arrivals.move_to_end(key)
        return ADMITTED

    def _drop_idle(self, now: float) -> None:
        """Drop up to two idle keys, so that the table shrinks faster than it can grow."""
        for _ in range(2):
            if not self._arrivals:
                return
            key = next(iter(self._arrivals))
            if self._arrivals[key] > now:
                return
            del self._arrivals[key]
