"""The time gate: how often a key may open a session. It never waits and shares nothing with byte rates.

The generic cell rate algorithm (ITU-T I.371 annex A; seed, layer one): a key's whole state is one float, the
theoretical arrival time at which it will have spent what it took.
"""

from collections import OrderedDict
from collections.abc import Hashable
from enum import Enum

ROUNDING = 0.01
"""The part of an interval by which a session may be early: sums of floats are not exact, and a rested key gets all
of its burst."""

MAX_INTERVAL_SECONDS = 1e9
"""Thirty years. The sums of longer intervals would be infinite, and a rate close to none no limit at all."""


class GateAnswer(Enum):
    """What a gate answers."""

    ADMITTED = "admitted"
    TOO_FAST = "too fast"
    FULL = "full"


ADMITTED, TOO_FAST, FULL = GateAnswer.ADMITTED, GateAnswer.TOO_FAST, GateAnswer.FULL  # a look-up in an Enum costs 60 ns


class RateSpec:
    """How often: `rate` sessions a second, and `burst` at once after a rest."""

    __slots__ = ("interval", "tolerance")

    def __init__(self, rate: float, burst: int) -> None:
        """Work out what a gate compares with.

        Args:
            rate: sessions a second, above 0.
            burst: sessions at once, at least 1.
        """
        self.interval = min(1.0 / rate, MAX_INTERVAL_SECONDS)
        self.tolerance = (burst - 1 + ROUNDING) * self.interval


class Gate:
    """Admits at most ``rate * seconds + burst`` sessions of a key in any stretch of time.

    Keys are held in the order of their last admission. One that has been quiet for ``burst / rate`` seconds is
    as good as new and is dropped; at capacity a new key is refused rather than a live one forgotten, for
    forgetting would let a client that rotates keys start afresh.
    """

    __slots__ = ("_arrivals", "_capacity")

    def __init__(self, capacity: int) -> None:
        """Open a gate.

        Args:
            capacity: keys remembered at most, at least 1.
        """
        self._capacity = capacity
        self._arrivals: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        """Keys remembered now."""
        return len(self._arrivals)

    def admit(self, key: Hashable, now: float, cadence: RateSpec) -> GateAnswer:
        """Spend one session of `key` at `now` seconds, or say why not. O(1), about 0.3 µs.

        A key may have another cadence each time; what it spent stays spent.
        """
        arrivals = self._arrivals
        arrival = arrivals.get(key)
        if arrival is None:
            self._drop_idle(now)
            if len(arrivals) >= self._capacity:
                return FULL
            arrivals[key] = now + cadence.interval
            return ADMITTED
        if arrival < now:
            arrival = now
        elif arrival - now > cadence.tolerance:
            return TOO_FAST
        arrivals[key] = arrival + cadence.interval
        arrivals.move_to_end(key)
        return ADMITTED

    def forget(self, key: Hashable) -> None:
        """Let a key start afresh, because it will mean another one from now on. O(1)."""
        self._arrivals.pop(key, None)

    def _drop_idle(self, now: float) -> None:
        """Forget up to two idle keys, so that the table shrinks faster than it can grow."""
        for _ in range(2):
            if not self._arrivals:
                return
            key = next(iter(self._arrivals))
            if self._arrivals[key] > now:
                return
            del self._arrivals[key]
