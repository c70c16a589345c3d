"""The counts of processes that have ended or do not answer, so that the sums of an edge do not fall.

A process counts as it did in its last answer; its counts from there to its end are in no sum.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ..asking import WorkerAnswer

NUMBERS: Final = ("accepted", "bytes_up", "bytes_down", "observers_lost")
TABLES: Final = ("refused", "ended", "api_errors")

MAX_PROCESSES: Final = 256
"""Processes that are told apart. Of more, those that have been silent for longest are one: they do not come back."""


class PastStatistics:
    """The last statistics of each process."""

    def __init__(self) -> None:
        """Know of no process."""
        self._last: dict[int, Mapping[str, Any]] = {}  # by process id, the one that answered last at the end
        self._ended: Mapping[str, Any] = {}

    def beside(self, given: Sequence[WorkerAnswer]) -> Mapping[str, Any]:
        """Take the statistics of those that have answered, and give the sums of all others; empty if there are none."""
        answered = {each.worker.pid: each.value for each in given}
        for pid, value in answered.items():
            self._last.pop(pid, None)
            self._last[pid] = {name: value[name] for name in (*NUMBERS, *TABLES)}
        while len(self._last) > MAX_PROCESSES:
            self._ended = _summed([self._ended, self._last.pop(next(iter(self._last)))])
        return _summed([self._ended, *(counts for pid, counts in self._last.items() if pid not in answered)])


def added(tables: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add tables of counts up."""
    total: Counter[str] = Counter()
    for each in tables:
        total.update(each)
    return dict(total)


def _summed(found: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    known = [each for each in found if each]
    if not known:
        return {}
    return {
        **{name: sum(each[name] for each in known) for name in NUMBERS},
        **{name: added(each[name] for each in known) for name in TABLES},
    }
