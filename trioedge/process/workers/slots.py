"""The table of the processes that live: a row each, which its process writes and the others read.

| state of a row | event | then |
| --- | --- | --- |
| free | the parent forks | starting |
| starting | the process accepts clients | ready |
| starting, ready | the process is told to drain | draining |
| any | the process has died, and the parent has released its parts of the limits | free |

The number of a row is the process's column in the tables of the limits.
"""

from enum import IntEnum
from typing import Final

import attrs

ROW_BYTES: Final = 64

CONTROL: Final = -1
"""The number of the control process."""


class ProcessState(IntEnum):
    """The state of a process."""

    FREE = 0
    STARTING = 1
    READY = 2
    DRAINING = 3


@attrs.frozen
class Row:
    """A process, as its row was read.

    Attributes:
        column: the number of the row.
        state: of the process.
        pid: of the process; 0 before the fork has returned.
        number: of the worker, from 0; -1 for the control process.
        generation: how many restarts came before it.
        beat: when its event loop ran last, in seconds of the monotonic clock.
        live: its live sessions.
    """

    column: int
    state: ProcessState
    pid: int
    number: int
    generation: int
    beat: float
    live: int


class Slots:
    """Rows in memory that several processes share. Each number in it is written by one of them at a time."""

    def __init__(self, memory: memoryview) -> None:
        """Take the memory as it is; all zeros is a table of free rows.

        Args:
            memory: bytes, 64 for each row.
        """
        self.count = len(memory) // ROW_BYTES
        self._numbers, self._times = memory.cast("q"), memory.cast("d")

    def take(self, number: int, generation: int, now: float) -> int | None:
        """Take a free row for a process that is to be forked, and give its column; None if no row is free."""
        for column in range(self.count):
            at = column * 8
            if self._numbers[at] == ProcessState.FREE:
                self._numbers[at + 1], self._numbers[at + 2], self._numbers[at + 3] = 0, number, generation
                self.beat(column, now, 0)
                self._numbers[at] = ProcessState.STARTING
                return column
        return None

    def free(self, column: int) -> None:
        """Free the row of a process that has died."""
        self._numbers[column * 8] = ProcessState.FREE

    def note_death(self, column: int) -> None:
        """Count a worker that had this column and did not end by itself."""
        self._numbers[column * 8 + 6] += 1

    @property
    def deaths(self) -> int:
        """How many workers have died so far, those before restarts included."""
        return sum(self._numbers[column * 8 + 6] for column in range(self.count))

    def set_pid(self, column: int, pid: int) -> None:
        """Note the process of a row."""
        self._numbers[column * 8 + 1] = pid

    def set_state(self, column: int, state: ProcessState) -> None:
        """Note the state of a process."""
        self._numbers[column * 8] = state

    def beat(self, column: int, now: float, live: int) -> None:
        """Note that the event loop of a process runs."""
        at = column * 8
        self._times[at + 4] = now
        self._numbers[at + 5] = live

    def row(self, column: int) -> Row:
        """Read a row."""
        at = column * 8
        state, pid, number, generation = self._numbers[at : at + 4]
        return Row(column, ProcessState(state), pid, number, generation, self._times[at + 4], self._numbers[at + 5])

    def rows(self) -> list[Row]:
        """Read the rows that are not free."""
        return [row for row in map(self.row, range(self.count)) if row.state is not ProcessState.FREE]
