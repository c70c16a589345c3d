"""Times in fixed buckets of powers of two nanoseconds: a count costs no allocation, and those of many processes add up.

Quantiles are interpolated within a bucket, so one is off by less than a factor of two, and by a tenth where times
are spread evenly.
"""

from collections.abc import Sequence
from typing import Final

from ..structures.times import BUCKETS

SECOND: Final = 1e9
"""Nanoseconds of a second."""


class Histogram:
    """Times, each in the bucket of its nanoseconds: ``counts[n]`` were less than ``2 ** n`` and at least half of that.

    Attributes:
        counts: by bucket.
        nanoseconds: of all times together.
        longest: of them, in nanoseconds; 0 without any.
    """

    __slots__ = ("counts", "longest", "nanoseconds")

    def __init__(self, counts: Sequence[int] = (), nanoseconds: int = 0, longest: int = 0) -> None:
        """Start without a time, or with those of another histogram.

        Args:
            counts: by bucket, at most :data:`~trioedge.structures.times.BUCKETS`.
            nanoseconds: of all of them together.
            longest: the longest one, in nanoseconds.
        """
        self.counts = [*counts, *[0] * (BUCKETS - len(counts))]
        self.nanoseconds = nanoseconds
        self.longest = longest

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return (self.counts, self.nanoseconds, self.longest) == (other.counts, other.nanoseconds, other.longest)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Histogram({self.count} times, {self.seconds:g} s together)"

    def add(self, seconds: float) -> None:
        """Count one time, in seconds. O(1), 0.2 µs."""
        self.add_nanoseconds(int(seconds * SECOND))

    def add_nanoseconds(self, took: int) -> None:
        """Count one time, in nanoseconds."""
        self.counts[took.bit_length()] += 1
        self.nanoseconds += took
        if took > self.longest:
            self.longest = took

    @property
    def count(self) -> int:
        """How many times were counted."""
        return sum(self.counts)

    @property
    def seconds(self) -> float:
        """All times together, in seconds."""
        return self.nanoseconds / SECOND

    @property
    def max(self) -> float:
        """The longest time, in seconds; 0 without any."""
        return self.longest / SECOND

    def quantile(self, part: float) -> float:
        """Give a quantile, in seconds: `part` of the times, from 0 to 1, were at most as long; 0 without any.

        It is never longer than the longest one.
        """
        return min(quantile(self.counts, part), float(self.longest)) / SECOND

    def merge(self, other: "Histogram") -> None:
        """Count the times of another histogram as well."""
        for place, count in enumerate(other.counts):
            self.counts[place] += count
        self.nanoseconds += other.nanoseconds
        self.longest = max(self.longest, other.longest)


def quantile(counts: Sequence[int], part: float) -> float:
    """Give a quantile of counts in buckets of powers of two, in the unit of the buckets; 0 without any count.

    Args:
        counts: ``counts[n]`` are less than ``2 ** n`` and at least half of that.
        part: from 0 to 1; 0.5 gives the median.
    """
    wanted, seen = part * sum(counts), 0
    for place, count in enumerate(counts):
        seen += count
        if count and seen >= wanted:
            lower, upper = (2.0 ** (place - 1), 2.0**place) if place else (0.0, 0.0)
            return upper - (upper - lower) * (seen - wanted) / count
    return 0.0
