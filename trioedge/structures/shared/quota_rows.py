"""The counts of quotas over several processes: a row for each service, and in it a column for each process.

| a process | event | its column | the row |
| --- | --- | --- | --- |
| has no count of the service | its first policy with a quota | joined, 0 bytes | is made, if it is the first |
| joined | a chunk of bytes | has them | |
| joined | it tells the control process what it has moved | told: the same bytes | |
| joined | the service is removed | zeros | is forgotten by the control process |
| joined | it is dead: its parent releases the column | zeros | keeps the bytes, as told |

The bytes of a service are the sum over the columns and those of dead processes, so each process knows the count at any
time, without a message and to the byte. Each writes its own column, and the control process what corrects the count. A
row that no process is joined to is taken by another service, those first that are forgotten and so have no key.

The news tell that a quota is used up. Each process has a number and a ring of the last 64 rows that it has announced,
which the others read at each tick; one that is further behind looks at all of its services.
"""

from collections.abc import Sequence
from typing import Final

from .keys import Digest
from .rows import NO_KEY, WAYS, Rows, rows_with_digest
from .stripes import Stripe

AHEAD, SAID, SENT, ACKNOWLEDGED, SAFE, _DEAD_MOVED, _DEAD_TOLD = range(7)
HEADER: Final = 7
"""Numbers of a row beside its columns."""

_JOINED, _MOVED, _TOLD = range(3)
FIELDS: Final = 3
"""Numbers of a column: whether the process is joined, the bytes that it has moved, and those that it has told."""

RING: Final = 64
"""Rows that a process announces before the first of them is forgotten."""

MOST: Final = 2**62
"""The largest number of a row."""


def quota_row_bytes(columns: int) -> int:
    """Give the bytes of a row: a digest, the numbers of the row, and those of each column."""
    return 8 + 8 * (HEADER + FIELDS * columns)


def news_bytes(columns: int) -> int:
    """Give the bytes of the news: for each column a number and a ring."""
    return 8 * (1 + RING) * columns


class QuotaRows:
    """The rows of one table, as one process sees them."""

    __slots__ = ("_cells", "_column", "_columns", "_heard", "_news", "_rows")

    def __init__(
        self, memory: memoryview, news: memoryview, *, columns: int, column: int, digest: Digest,
        stripes: Sequence[Stripe],
    ) -> None:  # fmt: skip
        """Look at a table, which is empty where its bytes are 0.

        Args:
            memory: :func:`quota_row_bytes` a row, in format ``B``; as many rows as a power of two.
            news: :func:`news_bytes`, in format ``B``.
            columns: processes that may live at a time.
            column: of this process.
            digest: of the name of a service.
            stripes: the locks.
        """
        rows = len(memory) // quota_row_bytes(columns)
        self._cells = memory[8 * rows : quota_row_bytes(columns) * rows].cast("q")
        self._rows = Rows(memory[: 8 * rows].cast("Q"), rows // 2, digest, stripes)
        self._columns, self._column = columns, column
        self._news = news.cast("q")
        self._heard = self._numbers()

    def open(self, service: str, used: int) -> "QuotaRow | None":
        """Give the row of a service; a new one if it has none yet. About 5 µs.

        Args:
            service: its name.
            used: bytes that are used already, for a new row.

        Returns:
            The row; None if there is no room.
        """
        place = self._rows.place(service)
        locked = place.stripe.take()
        try:
            number = self._rows.find(place)
            if number >= 0:
                return self._row(number)
            number = self._rows.seek(place, 0.0, self._idle)
            if number < 0:
                return None
            row = self._row(number)
            row.begin(used)
            return row
        finally:
            if locked:
                place.stripe.free()

    def forget(self, service: str) -> None:
        """Forget the count of a service that is removed; a service of that name begins anew. Processes stay joined."""
        place = self._rows.place(service)
        locked = place.stripe.take()
        try:
            number = self._rows.find(place)
            if number >= 0:
                self._rows.digests[number] = NO_KEY
        finally:
            if locked:
                place.stripe.free()

    def announce(self, row: int) -> None:
        """Tell the other processes that the quota of a row is used up."""
        at = self._column * (1 + RING)
        number = self._news[at]
        self._news[at + 1 + number % RING] = row
        self._news[at] = number + 1

    def heard(self) -> list[int] | None:
        """Give the rows that others have announced since the last call, or None if some of them are forgotten. 1 µs."""
        numbers, before = self._numbers(), self._heard
        if numbers == before:
            return []
        self._heard = numbers
        found = []
        for column, (number, was) in enumerate(zip(numbers, before, strict=True)):
            if number - was > RING - 1:  # the writer may be about to write over the oldest
                return None
            at = column * (1 + RING) + 1
            if column != self._column:
                found += [self._news[at + each % RING] for each in range(was, number)]
        return found

    def _numbers(self) -> list[int]:
        return self._news[:: 1 + RING].tolist()

    def _idle(self, first: int, _: float) -> int:
        """Give a row of the bucket that no process is joined to, best one that no service has; -1 for none."""
        free = [number for number in range(first, first + WAYS) if not self._row(number).joined]
        return min(free, key=lambda number: self._rows.digests[number] > NO_KEY, default=-1)

    def _row(self, number: int) -> "QuotaRow":
        return QuotaRow(self._cells, number, self._columns, self._column)


class QuotaRow:
    """One row, as one process sees it.

    Attributes:
        number: of the row.
    """

    __slots__ = ("_at", "_cells", "_columns", "_own", "number")

    def __init__(self, cells: memoryview, number: int, columns: int, column: int) -> None:
        """Look at a row; :meth:`QuotaRows.open` finds the one of a service."""
        self._cells, self._columns, self.number = cells, columns, number
        self._at = number * (HEADER + FIELDS * columns)
        self._own = self._at + HEADER + FIELDS * column

    @property
    def joined(self) -> int:
        """How many processes are joined."""
        return sum(self._field(_JOINED))

    @property
    def moved(self) -> int:
        """Bytes of the service that all processes have moved since the row was made."""
        return sum(self._field(_MOVED)) + self._cells[self._at + _DEAD_MOVED]

    @property
    def told(self) -> int:
        """The bytes among these that the processes have told."""
        return sum(self._field(_TOLD)) + self._cells[self._at + _DEAD_TOLD]

    @property
    def cell(self) -> tuple[memoryview, int]:
        """The number in which this process counts its bytes: ``cells[at] = bytes``."""
        return self._cells, self._own + _MOVED

    def get(self, field: int) -> int:
        """Read a number of the row, such as :data:`AHEAD`."""
        value: int = self._cells[self._at + field]
        return value

    def put(self, field: int, value: int) -> None:
        """Write a number of the row; only the control process does."""
        self._cells[self._at + field] = max(-MOST, min(value, MOST))

    def begin(self, used: int) -> None:
        """Begin the count of a service of which so many bytes are used."""
        for field in range(HEADER):
            self.put(field, 0)
        self.put(AHEAD, used)
        self.put(SAID, used)

    def join(self) -> None:
        """Let this process count from 0 bytes on; those of an earlier run of the edge in it stay."""
        if self._cells[self._own + _JOINED]:
            self.leave()
        self._cells[self._own + _JOINED] = 1

    def tell(self) -> None:
        """Note that this process has told all of its bytes."""
        self._cells[self._own + _TOLD] = self._cells[self._own + _MOVED]

    def leave(self) -> None:
        """Let this process count no more; its bytes stay."""
        own, cells, at = self._own, self._cells, self._at
        moved = cells[own + _MOVED]
        cells[own + _MOVED] = cells[own + _TOLD] = 0  # first, so that no byte is counted twice in between
        cells[at + _DEAD_MOVED] += moved
        cells[at + _DEAD_TOLD] += moved
        cells[own + _JOINED] = 0

    def _field(self, field: int) -> list[int]:
        end = self._at + HEADER + FIELDS * self._columns
        values: list[int] = self._cells[self._at + HEADER + field : end : FIELDS].tolist()
        return values


def retire_column(memory: memoryview, columns: int, column: int) -> None:
    """Let a dead process leave every row that it is joined to; takes 0.2 ms, more with many quotas, and no lock."""
    rows = len(memory) // quota_row_bytes(columns)
    cells = memory[8 * rows : quota_row_bytes(columns) * rows].cast("q")
    size = HEADER + FIELDS * columns
    for number in rows_with_digest(memory[: 8 * rows].cast("Q")):
        if cells[number * size + HEADER + FIELDS * column + _JOINED]:
            QuotaRow(cells, number, columns, column).leave()
