"""A rate limiter by key: how often a key may open a session. It never waits, and is independent of byte rates.

The generic cell rate algorithm (ITU-T I.371, annex A): the whole state of a key is one float, its theoretical arrival
time, at which all that the key has spent is paid back.
"""

from collections import OrderedDict
from collections.abc import Hashable
from enum import Enum

from ..arguments import check_count, check_number
from ..errors import quote

ROUNDING = 0.01
"""The part of an interval by which a session may be early. Sums of floats are not exact, and a key that has rested must
get its whole burst."""

MAX_INTERVAL_SECONDS = 1e9
"""Thirty years. Longer intervals would add up to infinity, and a rate close to 0 would be no limit at all."""


class GateAnswer(Enum):
    """The answer of :meth:`Gate.admit`."""

    ADMITTED = "admitted"
    """The session is admitted, and counts."""
    TOO_FAST = "too fast"
    """The key has opened too many sessions lately. This one does not count."""
    FULL = "full"
    """The key is new, and the gate has as many keys as its capacity. This session does not count."""


ADMITTED, TOO_FAST, FULL = GateAnswer.ADMITTED, GateAnswer.TOO_FAST, GateAnswer.FULL  # a look-up in an Enum costs 60 ns


class RateSpec:
    """A rate in sessions a second with a burst, as :meth:`Gate.admit` takes it: ``RateSpec(5, burst=20)``.

    Make one for each rate and keep it: making one costs more than asking the gate.

    Attributes:
        rate: sessions a second.
        burst: sessions that a key may open at once after a rest of ``burst / rate`` seconds.
        interval: seconds between two sessions at this rate, at most 1e9.
        tolerance: seconds by which a session may be early because of the burst.
    """

    __slots__ = ("burst", "interval", "rate", "tolerance")

    def __init__(self, rate: float, burst: int) -> None:
        """Compute the two numbers that a gate compares with.

        Args:
            rate: sessions a second, above 0; a fraction is good, so 0.1 is one session in ten seconds.
            burst: sessions at once, a whole number of at least 1.

        Raises:
            ConfigurationError: ``RateSpec(rate=0) must be a number above 0``.
        """
        check_number("RateSpec", "rate", rate, above=0)
        check_count("RateSpec", "burst", burst)
        self.rate, self.burst = rate, burst
        self.interval = min(1.0 / rate, MAX_INTERVAL_SECONDS)
        self.tolerance = (burst - 1 + ROUNDING) * self.interval

    def __repr__(self) -> str:
        return f"RateSpec({self.rate:g}, burst={self.burst})"


class Gate:
    """A limit of how often each key may open a session; :meth:`EdgeContext.gate` makes one.

    In any stretch of time a key opens at most ``rate * seconds + burst`` sessions. A key that has opened no session for
    ``burst / rate`` seconds has its whole burst again and is dropped. At capacity a new key is refused, and
    no active key is dropped, because a client that rotates keys would then start afresh. ``len(gate)`` is the number of
    keys in memory.
    """

    __slots__ = ("_arrivals", "_capacity")

    def __init__(self, capacity: int) -> None:
        """Start without keys.

        Args:
            capacity: the maximum of keys in memory, at least 1.

        Raises:
            ConfigurationError: `capacity` is no whole number of at least 1.
        """
        check_count("Gate", "capacity", capacity)
        self._capacity = capacity
        # The theoretical arrival time of each key, in seconds; the key whose last admission is oldest comes first.
        self._arrivals: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        """Keys in memory."""
        return len(self._arrivals)

    def admit(self, key: Hashable, now: float, rate: RateSpec) -> GateAnswer:
        """Admit one session of a key, or refuse it. O(1), about 0.3 µs; it never waits.

        Args:
            key: any hashable value, such as ``session.source``.
            now: the time in seconds, which must not go back; in a decision ``session.now``.
            rate: may be another one each time; the sessions that were admitted before still count.

        Returns:
            ``ADMITTED``, ``TOO_FAST`` or ``FULL``. Only an admitted session counts.

        Raises:
            TypeError: `rate` is no :class:`RateSpec`, and the key is not in memory.
        """
        arrivals = self._arrivals
        arrival = arrivals.get(key)
        if arrival is None:
            self._drop_idle(now)
            if len(arrivals) >= self._capacity:
                return FULL
            try:  # costs nothing unless it raises
                arrivals[key] = now + rate.interval
            except AttributeError:
                raise TypeError(f"gate.admit(rate={quote(rate)}) must be te.RateSpec(rate, burst)") from None
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
