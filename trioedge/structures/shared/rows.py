"""The rows of one table in shared memory, found by a key's digest.

A digest belongs to one bucket of 16 rows and is looked for in no other, so that a look-up is bounded and the lock of
one bucket is enough. The next new key of a bucket takes a row whose key is idle. A bucket of 16 active keys is full.

Invariant under the bucket's lock: a digest is in at most one row. Without the lock two processes may write one row, or
two rows for one key. Each user of a row compares its digest first, and :meth:`Rows.seek` removes the second row, so
both mend themselves with the next use.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Final, TypeAlias

from .keys import Digest, is_named
from .stripes import Stripe

WAYS: Final = 16
"""Rows of a bucket. Of a table that is half full, one bucket in 120 is full; of one that is a quarter, 1 in 200,000."""

KNOWN: Final = 16_384
"""Keys whose places a process remembers. Others cost 2 µs more."""

ROWS_A_STEP: Final = 1_024
"""Rows that are counted at once."""

NO_KEY: Final = 1
"""The digest of a row that has lost its key. Counts in it are still taken back by the processes that made them."""

Idle: TypeAlias = Callable[[int, float], int]
"""A function of a bucket's first row and the time: gives an idle row of the bucket, or -1."""


_EMPTY: Final = bytes(8 * ROWS_A_STEP)


def rows_with_digest(digests: memoryview) -> Iterator[int]:
    """Give the rows of a table, in format ``Q``, that have a digest; those without one take no time."""
    for first in range(0, len(digests), ROWS_A_STEP):
        part = digests[first : first + ROWS_A_STEP]
        if part.tobytes() != _EMPTY:
            yield from (first + number for number, digest in enumerate(part.tolist()) if digest)


class KeyPlace:
    """The place of one key, as one process knows it.

    Attributes:
        digest: of the key.
        first: the first row of its bucket.
        row: the row that it had last; it has it still if the row has its digest.
        stripe: the lock of its bucket.
        own: live sessions that this process counts in the row; for tables of counts.
    """

    __slots__ = ("digest", "first", "own", "row", "stripe")

    def __init__(self, digest: int, first: int, stripe: Stripe) -> None:
        self.digest, self.first, self.row, self.stripe = digest, first, first, stripe
        self.own = 0


class Rows:
    """The keys of one table, as one process sees them."""

    __slots__ = ("_digest", "_known", "_mask", "_stripes", "digests")

    def __init__(self, digests: memoryview, capacity: int, digest: Digest, stripes: Sequence[Stripe]) -> None:
        """Look at a table.

        Args:
            digests: one a row, in format ``Q``; 0 for none.
            capacity: keys that it must have room for: it uses at least twice as many rows, if there are so many.
            digest: of a key.
            stripes: the locks.
        """
        self.digests = digests
        buckets = 1
        while buckets * WAYS < 2 * capacity and buckets * WAYS < len(digests):
            buckets *= 2
        self._mask = buckets - 1
        self._digest, self._stripes = digest, stripes
        self._known: dict[Hashable, KeyPlace] = {}

    def place(self, key: Hashable) -> KeyPlace:
        """Give the place of a key; whether it has a row is not looked at. O(1), 50 ns for a key that is remembered."""
        known = self._known.get(key)
        return self._learn(key) if known is None else known

    def _learn(self, key: Hashable) -> KeyPlace:
        digest = self._digest(key)
        bucket = digest & self._mask
        place = KeyPlace(digest, bucket * WAYS, self._stripes[bucket % len(self._stripes)])
        if not is_named(key):  # it may be large, and would be kept alive
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known[key] = place
        return place

    def find(self, place: KeyPlace) -> int:
        """Give the row that has the key now; -1 for none."""
        digest = place.digest
        if self.digests[place.row] == digest:
            return place.row
        bucket = self.digests[place.first : place.first + WAYS].tolist()
        return place.first + bucket.index(digest) if digest in bucket else -1

    def seek(self, place: KeyPlace, now: float, idle: Idle) -> int:
        """Give the row of a key, an idle one if it has none; -1 if its bucket is full. Call it with the bucket's lock.

        Args:
            place: of the key.
            now: passed on to `idle`.
            idle: gives an idle row of the bucket with this first row, or -1.
        """
        digest, first = place.digest, place.first
        bucket = self.digests[first : first + WAYS].tolist()
        if digest not in bucket:
            row = idle(first, now)
            if row >= 0:
                self.digests[row] = digest
            return row
        row = bucket.index(digest)
        if bucket.count(digest) > 1:  # two processes without the lock have each taken a row
            for other in range(row + 1, WAYS):
                if bucket[other] == digest:
                    self.digests[first + other] = NO_KEY
        return first + row

    def used(self) -> Iterator[int]:
        """Count the rows that have a key, idle ones included: the sum of what this gives. Each number takes 40 µs."""
        for first in range(0, len(self.digests), ROWS_A_STEP):
            digests = self.digests[first : first + ROWS_A_STEP].tolist()
            yield len(digests) - digests.count(0) - digests.count(NO_KEY)
