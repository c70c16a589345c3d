"""A bounded queue of records for several readers, each with a position of its own.

| event | action |
| --- | --- |
| a record is added | it is kept, the oldest beyond the capacity is dropped, and each reader that waits is woken |
| a reader takes records | it gets those behind its own position, and counts those that were dropped before it came |
| a reader has taken all | it waits, and the next record wakes it, once |
| the last reader closes | all records are dropped |

A record is made when it is taken, so that sessions do not wait for it, and a lost one costs least.
"""

import sys
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

CAPACITY: Final = 1_000
"""Records that are kept."""

_CLOSED: Final = sys.maxsize
"""The position of a reader that reads no more: no record comes that far."""


class RecordReader(Generic[T]):
    """One reader of a queue."""

    def __init__(self, records: "Records[T]", wake: Callable[[], object]) -> None:
        """Start behind the latest record; :meth:`Records.open` makes readers."""
        self._records = records
        self._wake = wake
        self._position = records.total
        self._lost = 0

    @property
    def lost(self) -> int:
        """How many records were dropped before this reader took them, until it was closed."""
        return self._lost + self._dropped()

    def _dropped(self) -> int:
        """Count the records from its position on that are dropped by now."""
        return max(0, self._records.total - CAPACITY - self._position)

    @property
    def left(self) -> int:
        """How many records there are to take; none once it is closed."""
        return max(0, self._records.total - self._position - self._dropped())

    def take(self, limit: int) -> list[T]:
        """Take the oldest records that this reader has not had, at most `limit`.

        When there are none left, the next record wakes the reader, once.
        """
        dropped = self._dropped()
        first = self._position + dropped
        self._lost += dropped
        taken = self._records.between(first, first + limit)
        self._position = first + len(taken)
        if self._position == self._records.total:
            self._records.waiting[self] = self._wake
        return taken

    def close(self) -> None:
        """Read no more."""
        self._lost, self._position = self.lost, _CLOSED
        self._records.close(self)


class Records(Generic[T]):
    """The queue.

    Attributes:
        read: whether there is a reader. Ask it before a record is made.
        total: records so far.
        waiting: readers that have taken everything, each with the function that wakes it.
    """

    __slots__ = ("_make", "_readers", "_ring", "read", "total", "waiting")

    def __init__(self, make: Callable[..., T]) -> None:
        """Keep no record yet.

        Args:
            make: makes a record of the arguments of :meth:`put`.
        """
        self._make = make
        self._ring: list[tuple[Any, ...]] = []
        self._readers: set[RecordReader[T]] = set()
        self.read = False
        self.total = 0
        self.waiting: dict[RecordReader[T], Callable[[], object]] = {}

    def open(self, wake: Callable[[], object]) -> RecordReader[T]:
        """Add a reader of the records from now on.

        Args:
            wake: called with the first record after :meth:`RecordReader.take` has left none. It must not wait or raise.
        """
        reader = RecordReader(self, wake)
        self._readers.add(reader)
        self.read = True
        return reader

    def close(self, reader: RecordReader[T]) -> None:
        """Remove a reader; without readers no record is kept."""
        self._readers.discard(reader)
        self.waiting.pop(reader, None)
        self.read = bool(self._readers)
        if not self.read:
            self._ring.clear()
            self.total = 0

    def put(self, *fields: Any) -> None:
        """Add a record; call it only if there is a reader.

        Args:
            fields: the arguments of its `make`, which do not change any more.
        """
        if len(self._ring) < CAPACITY:
            self._ring.append(fields)
        else:
            self._ring[self.total % CAPACITY] = fields
        self.total += 1
        if self.waiting:
            waiting, self.waiting = self.waiting, {}
            for wake in waiting.values():
                wake()

    def fields(self, number: int) -> tuple[Any, ...]:
        """Give the arguments of the record of this number, which must not be dropped yet; no record is made."""
        return self._ring[number % CAPACITY]

    def between(self, first: int, last: int) -> list[T]:
        """Make the records of these numbers, the last one left out, as far as there are any."""
        ring, make = self._ring, self._make
        return [make(*ring[number % CAPACITY]) for number in range(first, min(last, self.total))]
