"""The times that one stage took: counts in buckets of powers of two nanoseconds, and behind them all times together.

A plain list, because each session adds to one for each of its stages: 60 ns.
"""

from typing import Final

BUCKETS: Final = 64
"""Bucket ``n`` counts times below ``2 ** n`` nanoseconds: 2 ** 63 are 292 years."""

TOTAL: Final = BUCKETS
"""The place of the nanoseconds of all times together."""


def no_times() -> list[int]:
    """Give the list of a stage that no session has reached."""
    return [0] * (BUCKETS + 1)


def add_time(times: list[int], nanoseconds: int) -> None:
    """Count one time; a loop over stages does the same in place."""
    times[nanoseconds.bit_length()] += 1
    times[TOTAL] += nanoseconds
