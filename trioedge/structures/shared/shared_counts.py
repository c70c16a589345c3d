"""Counts of live sessions by key over several processes: the answers of ``structures.live_counts.LiveCounts``."""

from collections.abc import Hashable, Sequence
from math import inf

from ..live_counts import ENTERED, FULL, TOO_MANY, CountAnswer, LiveCounts
from .keys import Digest
from .rows import WAYS, KeyPlace, Rows, rows_with_digest
from .stripes import Stripe

MAX_COUNT = 2**31 - 1
"""Sessions of one key in one process. A limit above it is none."""


def row_bytes(columns: int) -> int:
    """Give the bytes of a row: a digest, and a count for each column."""
    return 8 + 4 * columns


class SharedCounts(LiveCounts):
    """Counts of live sessions by key, over all processes; :meth:`EdgeContext.counter` makes one.

    Each process writes a column of its own, and the limit looks at the sum: exact while a bucket's lock is had within
    20 tries, and over by at most one for each further process without it. The counts of a process that is dead are 0
    once the parent has zeroed its column. A key has a row while it has a live session. A new one is refused when its
    bucket has 16 such keys, which begins at about the capacity. ``len(counts)`` is the number of keys
    that have a live session in this process.
    """

    # `_live` has the place of each key that has live sessions of this process, and `place.own` their number. They are
    # counted in `place.row`, whatever digest that row has by now. `_put` has the places of the keys of :meth:`put`.
    # `_rows` remembers a place for some time only, and a new one has lost `own`.
    __slots__ = ("_column", "_columns", "_digests", "_live", "_numbers", "_put", "_rows")

    def __init__(
        self, memory: memoryview, *, capacity: int, columns: int, column: int, digest: Digest,
        stripes: Sequence[Stripe],
    ) -> None:  # fmt: skip
        """Look at a table, which is empty where its bytes are 0.

        Args:
            memory: :func:`row_bytes` a row, in format ``B``; as many rows as a power of two.
            capacity: keys that it must have room for.
            columns: processes that may count at a time.
            column: of this process.
            digest: of a key.
            stripes: the locks.
        """
        self._digests, self._numbers = _divided(memory, columns)
        self._rows = Rows(self._digests, capacity, digest, stripes)
        self._columns, self._column = columns, column
        self._live: dict[Hashable, KeyPlace] = {}
        self._put: dict[Hashable, KeyPlace] = {}

    def __len__(self) -> int:
        """Keys with a live session in this process."""
        return len(self._live)

    def enter(self, key: Hashable, limit: float) -> CountAnswer:
        """Count one more session of a key, or refuse it. O(1), about 0.7 µs, 3 µs for a new key; it never waits.

        Args:
            key: text, bytes, a number, or a tuple of these; see :func:`~trioedge.structures.shared.keys.key_bytes`.
            limit: the maximum of live sessions of this key in all processes; may be another one each time.

        Returns:
            ``ENTERED``, ``TOO_MANY`` or ``FULL``. A session that entered is counted until :meth:`leave`.

        Raises:
            ConfigurationError: `key` means nothing to other processes.
        """
        place = self._live.get(key)
        if place is None:
            place = self._rows.place(key)
        columns, counts, stripe = self._columns, self._numbers, place.stripe
        locked = stripe.take()
        try:
            row = place.row
            if self._digests[row] != place.digest:
                row = self._rows.seek(place, 0.0, self._idle)
                if row < 0:
                    return FULL
                self._move(place, row)
            at = row * columns
            if limit < MAX_COUNT and sum(counts[at : at + columns].tolist()) >= limit:
                return TOO_MANY
            counts[at + self._column] += 1
        finally:
            if locked:
                stripe.free()
        if not place.own:
            self._live[key] = place
        place.own += 1
        return ENTERED

    def leave(self, key: Hashable, _: object = None) -> None:
        """Count one session of a key less, once for each :meth:`enter` that was answered ``ENTERED``. O(1).

        ``session.defer(partial(counts.leave, key))`` calls it when the session ends, under the key that it entered by.

        Args:
            key: the key of that :meth:`enter`.
            _: the session that a clean-up passes; ignored.

        Raises:
            KeyError: `key` has no live session in this process.
        """
        place = self._live[key]
        place.own -= 1
        self._numbers[place.row * self._columns + self._column] -= 1  # no other process writes it
        if not place.own:
            del self._live[key]

    def add(self, key: Hashable) -> None:
        """Count one more session of a key, whatever its limit, if there is room for the key. O(1), about 0.2 µs."""
        place = self._live.get(key)
        if place is None or self._digests[place.row] != place.digest:
            self.enter(key, inf)
            return
        self._numbers[place.row * self._columns + self._column] += 1  # no other key takes a row with counts
        place.own += 1

    def remove(self, key: Hashable) -> None:
        """Count one session of a key less, if :meth:`add` had room for it. O(1), about 0.2 µs."""
        if key in self._live:
            self.leave(key)

    def total(self, key: Hashable) -> int:
        """Give the live sessions of a key in all processes. About 0.5 µs."""
        place = self._live.get(key)
        if place is None:
            place = self._rows.place(key)
        row = self._rows.find(place)
        return 0 if row < 0 else sum(self._numbers[row * self._columns : (row + 1) * self._columns].tolist())

    def put(self, key: Hashable, own: int) -> int:
        """Let this process have `own` live sessions of a key that it never enters, and give those of all processes.

        Where the key has no row and gets none, only `own` is given. The keys are few: each is remembered.
        """
        place = self._put.get(key)
        if place is None:
            place = self._put[key] = self._rows.place(key)
        columns, counts = self._columns, self._numbers
        row = self._rows.find(place)
        if row < 0:
            locked = place.stripe.take()
            try:
                row = self._rows.seek(place, 0.0, self._idle)
            finally:
                if locked:
                    place.stripe.free()
            if row < 0:
                return own
        self._move(place, row)
        at = row * columns
        counts[at + self._column] += own - place.own
        place.own = own
        return sum(counts[at : at + columns].tolist())

    def _move(self, place: KeyPlace, row: int) -> None:
        """Count a key in another row, because another key has taken its former one."""
        if place.own:
            self._numbers[place.row * self._columns + self._column] -= place.own
            self._numbers[row * self._columns + self._column] += place.own
        place.row = row

    def _idle(self, first: int, _: float) -> int:
        """Give a row of the bucket in which no process counts a session; -1 for none."""
        columns, counts = self._columns, self._numbers
        for row in range(first, first + WAYS):
            if not any(counts[row * columns : (row + 1) * columns].tolist()):
                return row
        return -1


def zero_column(memory: memoryview, columns: int, column: int) -> None:
    """Zero what a dead process has counted in a table; takes 0.1 ms and more with many keys, and no lock."""
    digests, counts = _divided(memory, columns)
    for row in rows_with_digest(digests):
        if counts[row * columns + column]:
            counts[row * columns + column] = 0


def _divided(memory: memoryview, columns: int) -> tuple[memoryview, memoryview]:
    """Divide a table into its digests and its counts."""
    rows = len(memory) // row_bytes(columns)
    return memory[: 8 * rows].cast("Q"), memory[8 * rows : row_bytes(columns) * rows].cast("i")
