"""The counters of processes that have ended or do not answer, so that the sums of all processes never fall.

Prometheus takes a sum that falls for a start from 0, and would count all of it once more.

| a process | its counters in the sums |
| --- | --- |
| answers | those of its answer |
| does not answer, and lives | those of its last answer |
| lives no more | those of its last answer, for as long as the control process lives |

So the use of a process between its last answer and its end is not in the sums.
"""

from collections.abc import Mapping
from typing import Final

from ...loop.slices import Stepwise
from .catalogue import SERVICE_BYTES
from .families import GAUGE, SUM, Families, merged

_UNKEPT: Final = frozenset({SERVICE_BYTES.name})
"""Families whose labels change from one answer to the next, so that they would grow for ever."""


class KeptCounters:
    """The counters of earlier answers."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._last: dict[int, Families] = {}  # by the process
        self._ended: Families = {}  # sums of those that live no more

    def complete(self, given: Mapping[int, Families], silent: frozenset[int]) -> Stepwise[list[Families]]:
        """Give the families of all processes, with what is kept of those that are not among `given`.

        One call at a time. Closed before its end, it loses nothing.

        Args:
            given: the answers, by process.
            silent: the processes that live and have not answered.
        """
        for process in [each for each in self._last if each not in given and each not in silent]:
            ended = yield from merged([self._ended, self._last[process]])
            self._ended = ended
            del self._last[process]
        kept = [self._ended, *(self._last[each] for each in silent if each in self._last)]
        self._last |= {process: _counters(families) for process, families in given.items()}
        return [*given.values(), *kept]


def _counters(families: Families) -> Families:
    return {
        name: family
        for name, family in families.items()
        if family["type"] != GAUGE and family["merge"] == SUM and name not in _UNKEPT
    }
