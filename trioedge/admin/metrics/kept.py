"""The counters of processes that have ended or do not answer, so that the sums of all processes never fall.

Prometheus takes a sum that falls for a start from 0, and would count all of it once more.

| a process | its counters in the sums |
| --- | --- |
| answers | those of its answer |
| does not answer, and lives | those of its last answer |
| lives no more | those of its last answer, for as long as the control process lives |

So the use of a process between its last answer and its end is not in the sums. One that seemed to live no more and
answers after all is not counted twice, unless :data:`LATELY` others have ended since.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from ...loop.slices import Stepwise
from .catalogue import SERVICE_BYTES
from .families import GAUGE, SUM, Families, merged

_UNKEPT: Final = frozenset({SERVICE_BYTES.name})
"""Families whose labels change from one answer to the next, so that they would grow for ever."""


LATELY: Final = 8
"""Processes that have ended whose counters are kept one by one."""

Process: TypeAlias = Any
"""A key that tells a process apart from every other."""


class KeptCounters:
    """The counters of earlier answers."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        # A process is in one of the first two, or in none. `_ended` has the sums of those that left the second one.
        self._last: dict[Process, Families] = {}
        self._lately: dict[Process, Families] = {}
        self._ended: Families = {}

    def complete(self, given: Mapping[Process, Families], silent: frozenset[Process]) -> Stepwise[list[Families]]:
        """Give the families of all processes, with what is kept of those that are not among `given`.

        One call at a time. Closed before its end, it loses nothing.

        Args:
            given: the answers, by process.
            silent: the processes that live and have not answered.
        """
        for process in [each for each in self._last if each not in given and each not in silent]:
            self._lately[process] = self._last.pop(process)
        for process in (*given, *silent):
            if process in self._lately:
                self._last[process] = self._lately.pop(process)
        while len(self._lately) > LATELY:
            first = next(iter(self._lately))
            ended = yield from merged([self._ended, self._lately[first]])
            self._ended = ended
            del self._lately[first]
        kept = [self._ended, *self._lately.values(), *(self._last[each] for each in silent if each in self._last)]
        self._last |= {process: _counters(families) for process, families in given.items()}
        yield
        return [*given.values(), *kept]


def _counters(families: Families) -> Families:
    return {
        name: family
        for name, family in families.items()
        if family["type"] != GAUGE and family["merge"] == SUM and name not in _UNKEPT
    }
