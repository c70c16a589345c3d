"""The use that each process makes of the rate of a service: a row for each service, with a column for each process.

| a process | event | its column |
| --- | --- | --- |
| has no session of the service | it has one | written, with the time |
| has some | a look at the service | written anew |
| has some | none of its bytes move | as it was: old, so that the others see only its sessions |
| has some | none is left, and no debt | zeros |
| is dead | its parent releases the column | zeros |

A row of zeros is idle, and the next new service of its bucket may take it. Each process writes its own column only. A
lock of the bucket is held from reading the others to writing the own one, so that no two take the same bytes.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Final, NamedTuple

from .keys import Digest
from .rows import NO_KEY, WAYS, KeyPlace, Rows, rows_with_digest
from .stripes import Stripe


class Use(NamedTuple):
    """The use that one process could make of one direction of a service's rate.

    Attributes:
        limited: flows that could use the level or more.
        light: bytes a second that the other flows could use together.
        lights: the number of these.
        taken: bytes a second that the process takes at present.
        members: sessions whose bytes move; they have equal parts of the rest of the rate.
    """

    limited: float = 0.0
    light: float = 0.0
    lights: float = 0.0
    taken: float = 0.0
    members: float = 0.0


IDLE: Final = Use()

_USE: Final = len(Use._fields)
FIELDS: Final = 2 + 2 * _USE
"""Doubles of a column: the time, the sessions, the use down and the use up."""


class Others(NamedTuple):
    """The other processes.

    Attributes:
        down: the use down of each that is not idle.
        up: the use up of the same.
        members: the sessions of all, of the idle ones too.
    """

    down: list[Use]
    up: list[Use]
    members: float


def rate_row_bytes(columns: int) -> int:
    """Give the bytes of a row: a digest, and the doubles of each column."""
    return 8 + 8 * FIELDS * columns


class RateRows:
    """The rows of one table, as one process sees them."""

    __slots__ = ("_offset", "_rows", "_uses", "column", "columns")

    def __init__(
        self, memory: memoryview, *, columns: int, column: int, digest: Digest, stripes: Sequence[Stripe], offset: float
    ) -> None:
        """Look at a table, which is empty where its bytes are 0.

        Args:
            memory: :func:`rate_row_bytes` a row, in format ``B``; as many rows as a power of two.
            columns: processes that may have sessions at a time.
            column: of this process.
            digest: of the name of a service.
            stripes: the locks.
            offset: seconds by which the callers' clock is ahead of that of the table.
        """
        rows = len(memory) // rate_row_bytes(columns)
        self._uses = memory[8 * rows : rate_row_bytes(columns) * rows].cast("d")
        self._rows = Rows(memory[: 8 * rows].cast("Q"), rows // 2, digest, stripes)
        self._offset = offset
        self.columns, self.column = columns, column

    def row(self, service: str) -> "RateRow":
        """Give the row of a service; it is taken at the first :meth:`RateRow.others`."""
        return RateRow(self, self._rows.place(service))

    def seek(self, place: KeyPlace) -> int:
        """Give the row of a service, a new one if it has none; -1 if there is no room. Call it with the lock."""
        digests, before = self._rows.digests, place.row
        if digests[before] != place.digest:
            row = self._rows.seek(place, 0.0, self._idle)
            if row < 0:
                return row
            if digests[before] == NO_KEY:  # the second row of a service, which two processes had without the lock
                self.clear(before)
            place.row = row
        return place.row

    def has(self, place: KeyPlace) -> bool:
        """Tell whether the row that a service had last is still its own."""
        return self._rows.digests[place.row] == place.digest

    def read(self, row: int, now: float, stale_after: float) -> Others:
        """Read the columns of the other processes."""
        own, before = self.column, now - self._offset - stale_after
        size = FIELDS * self.columns
        values = self._uses[row * size : (row + 1) * size].tolist()
        down, up, members = [], [], 0.0
        for column in range(self.columns):
            at = FIELDS * column
            if column != own and values[at]:
                members += values[at + 1]
                if values[at] > before:
                    down.append(Use(*values[at + 2 : at + 2 + _USE]))
                    up.append(Use(*values[at + 2 + _USE : at + FIELDS]))
        return Others(down, up, members)

    def write(self, row: int, now: float, members: float, down: Use, up: Use) -> None:
        """Write the column of this process; the time last, so that a new column is seen when it is whole."""
        at = (row * self.columns + self.column) * FIELDS
        uses = self._uses
        for number, value in enumerate((members, *down, *up), at + 1):
            uses[number] = value
        uses[at] = now - self._offset

    def clear(self, row: int) -> None:
        """Zero the column of this process."""
        at = (row * self.columns + self.column) * FIELDS
        for number in range(at, at + FIELDS):
            self._uses[number] = 0.0

    def _idle(self, first: int, _: float) -> int:
        """Give a row of the bucket of which every column is zero; -1 for none."""
        size = FIELDS * self.columns
        for row in range(first, first + WAYS):
            if not any(self._uses[row * size : (row + 1) * size : FIELDS].tolist()):
                return row
        return -1


class RateRow:
    """The row of one service, as one process sees it; within ``with row:`` it has the lock, if that was to be had.

    Attributes:
        locked: whether this process has the lock. Without it no process takes more than before.
    """

    __slots__ = ("_place", "_rows", "locked")

    def __init__(self, rows: RateRows, place: KeyPlace) -> None:
        """Look at a row; :meth:`RateRows.row` makes one."""
        self._rows, self._place, self.locked = rows, place, False

    def __enter__(self) -> "RateRow":
        self.locked = self._place.stripe.take()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self.locked:
            self.locked = False
            self._place.stripe.free()

    @property
    def columns(self) -> int:
        """Processes that may have sessions at a time."""
        return self._rows.columns

    def others(self, now: float, stale_after: float) -> Others | None:
        """Read the other processes; None if there is no room for the service. About 5 µs.

        Args:
            now: the caller's time, in seconds.
            stale_after: seconds; a process whose column is older counts as idle.
        """
        row = self._rows.seek(self._place)
        return None if row < 0 else self._rows.read(row, now, stale_after)

    def write(self, now: float, members: float, down: Use, up: Use) -> None:
        """Write the use that this process makes, after :meth:`others`."""
        if self._rows.has(self._place):
            self._rows.write(self._place.row, now, members, down, up)

    def leave(self) -> None:
        """Zero the column of this process, which has no session of the service any more."""
        if self._rows.has(self._place):
            self._rows.clear(self._place.row)


def zero_rates(memory: memoryview, columns: int, column: int) -> None:
    """Zero the column of a dead process in every row; takes 0.1 ms, more with many rates, and no lock."""
    rows = len(memory) // rate_row_bytes(columns)
    uses = memory[8 * rows : rate_row_bytes(columns) * rows].cast("d")
    for row in rows_with_digest(memory[: 8 * rows].cast("Q")):
        at = (row * columns + column) * FIELDS
        if uses[at]:
            for number in range(at, at + FIELDS):
                uses[number] = 0.0
