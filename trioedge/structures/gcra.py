"""A rate limiter by key: how often a key may open a session. It never waits, and is independent of byte rates.

The generic cell rate algorithm (ITU-T I.371, annex A): the whole state of a key is one float, its theoretical arrival
time, at which all that the key has spent is paid back.
"""

from collections.abc import Hashable
from enum import Enum
from typing import Final

from ..arguments import check_count, check_number
from ..errors import quote
from .deadlines import Deadlines
from .places import FairPlaces, Groups, no_groups

ROUNDING = 0.01
"""The part of an interval by which a session may be early. Sums of floats are not exact, and a key that has rested must
get its whole burst."""

TICK_SECONDS: Final = 1 / 16
"""The resolution at which idle keys expire. They are dropped at most so late."""

DROPS: Final = 2
"""Keys that are looked at for each new key, so that the table shrinks faster than it can grow."""

DROPS_WHEN_FULL: Final = 16

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
    no active key is dropped, because a client that rotates keys would then start afresh. Once a gate is half full, keys
    of one wider prefix are refused while there is room for others: see :mod:`~trioedge.structures.places`.
    ``len(gate)`` is the number of keys in memory.
    """

    # Each key of `_arrivals` is in `_expiry` once, at a time that is not later than its theoretical arrival time by
    # more than a tick. A key that was admitted again since is put off when it comes up, not at each admission.
    __slots__ = ("_arrivals", "_capacity", "_expiry", "_places")

    def __init__(self, capacity: int, groups: Groups = no_groups) -> None:
        """Start without keys.

        Args:
            capacity: the maximum of keys in memory, at least 1.
            groups: the wider prefixes of a key, which share the places of a gate that is more than half full.

        Raises:
            ConfigurationError: `capacity` is no whole number of at least 1.
        """
        check_count("Gate", "capacity", capacity)
        self._capacity = capacity
        self._arrivals: dict[Hashable, float] = {}  # the theoretical arrival time of each key, in seconds
        self._expiry: Deadlines[Hashable] = Deadlines(TICK_SECONDS)
        self._places = FairPlaces(capacity, groups)

    def __len__(self) -> int:
        """Keys in memory."""
        return len(self._arrivals)

    def admit(self, key: Hashable, now: float, rate: RateSpec) -> GateAnswer:
        """Admit one session of a key, or refuse it. O(1), about 0.2 µs, 1 µs for a new key; it never waits.

        Args:
            key: any hashable value, such as ``session.source_key``.
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
            return self._enter(key, now, rate)
        if arrival < now:
            arrival = now
        elif arrival - now > rate.tolerance:
            return TOO_FAST
        arrivals[key] = arrival + rate.interval
        return ADMITTED

    def _enter(self, key: Hashable, now: float, rate: RateSpec) -> GateAnswer:
        """Admit the first session of a key, if there is a place."""
        try:
            due = now + rate.interval
        except AttributeError:
            raise TypeError(f"gate.admit(rate={quote(rate)}) must be te.RateSpec(rate, burst)") from None
        size = len(self._arrivals)
        self._drop_idle(now, DROPS if size < self._capacity else DROPS_WHEN_FULL)
        if not self._places.take(key, len(self._arrivals)):
            return FULL
        self._arrivals[key] = due
        self._expiry.add(key, due)
        return ADMITTED

    def _drop_idle(self, now: float, steps: int) -> None:
        """Drop idle keys in the order in which they expire, and put off those that were admitted again."""
        for _ in range(steps):
            key = self._expiry.take(now)
            if key is None:
                return
            arrival = self._arrivals[key]
            if arrival > now:
                self._expiry.add(key, arrival)
            else:
                del self._arrivals[key]
                self._places.give_back(key)
