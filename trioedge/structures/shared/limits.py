"""The limits of all edges of a process over its workers, in one shared memory.

| section | bytes |
| --- | --- |
| marks: the lock that each process wants or has | 1 a column |
| directories: whose each gate and each counter is | 16 a table |
| gates | 16 a row |
| counters | 8 a row, and 4 for each column |
| rates | 8 a row, and 96 for each column |
| quotas | 64 a row, and 24 for each column |
| news of quotas | 520 a column |

A memory of zeros is empty. Its contents mean the same in every process that looks at it, and after an exec, as long as
`columns` and the salt are the same. Pages that are not used take no memory, so most of its size is address space only.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from .keys import digest_of
from .quota_rows import QuotaRows, news_bytes, quota_row_bytes, retire_column
from .rate_rows import RateRow, RateRows, rate_row_bytes, zero_rates
from .shared_counts import SharedCounts, row_bytes, zero_column
from .shared_gate import ROW_BYTES, SharedGate
from .stripes import STRIPES, Mending, Stripe, TryLock
from .tables import DIRECTORY_BYTES, TABLES, Tables

GATE_ROWS: Final = 131_072
"""Rows of one shared gate. With 65,536 active keys one new key in 120 is refused."""

COUNT_ROWS: Final = 65_536
"""Rows of one shared counter. With 32,768 keys that have a live session one new key in 120 is refused."""

RATE_ROWS: Final = 65_536
"""Rows of byte rates for all edges. Beyond about 40,000 services with a rate and a live session, a worker has a fixed
part of the rate of some."""

QUOTA_ROWS: Final = 262_144
"""Rows of quotas for all edges. Beyond about 160,000 services with a quota, each worker counts some alone."""

_ALIGNMENT: Final = 64
"""Bytes of a cache line, so that no number of a section is in two."""

_SERVICES: Final = 0
"""The number of the counter of sessions by service."""

_EDGE: Final = None
"""The key of the whole edge in the same counter; services have texts."""


def _sizes(columns: int) -> tuple[int, ...]:
    """Give the bytes of each section, in order."""
    return (
        columns,
        DIRECTORY_BYTES,
        DIRECTORY_BYTES,
        TABLES * GATE_ROWS * ROW_BYTES,
        TABLES * COUNT_ROWS * row_bytes(columns),
        RATE_ROWS * rate_row_bytes(columns),
        QUOTA_ROWS * quota_row_bytes(columns),
        news_bytes(columns),
    )


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _sections(memory: memoryview, columns: int) -> Iterator[memoryview]:
    start = 0
    for size in _sizes(columns):
        yield memory[start : start + size]
        start += _aligned(size)


class SharedLimits:
    """The limits of all edges of one process over its workers; the parent makes it before it forks."""

    __slots__ = ("_columns", "_counters", "_gates", "_locks", "_marks", "_mending", "_quotas", "_rates", "_salt")

    @staticmethod
    def size(columns: int) -> int:
        """Give the bytes that the limits need; most are never touched, and take no memory."""
        return sum(map(_aligned, _sizes(columns)))

    def __init__(self, memory: memoryview, *, columns: int, salt: bytes, locks: Sequence[TryLock]) -> None:
        """Look at a memory.

        Args:
            memory: at least :meth:`size` bytes, in format ``B``, writable; zeros, or as an earlier version has left it.
            columns: processes that may live at a time.
            salt: at most 64 secret bytes, which go with the memory.
            locks: 64, between all processes; new ones after an exec.
        """
        if len(locks) != STRIPES or len(memory) < self.size(columns):
            raise ValueError(f"{columns} columns need {STRIPES} locks and {self.size(columns)} bytes")
        self._columns, self._salt, self._locks = columns, salt, locks
        self._marks, gates_of, counters_of, gates, counters, self._rates, *quotas = _sections(memory, columns)
        self._quotas = quotas[0], quotas[1]
        self._gates, self._counters = (gates_of, gates), (counters_of, counters)
        self._mending = Mending(locks, self._marks)

    def of(self, edge: str, column: int, offset: float) -> "EdgeLimits":
        """Give the limits of one edge in this process.

        Args:
            edge: its name, which no other edge of the process has.
            column: of this process; no other live process has it.
            offset: seconds by which the edge's clock is ahead of ``time.monotonic()``.
        """
        stripes = [Stripe(lock, number, self._marks, column) for number, lock in enumerate(self._locks)]
        return EdgeLimits(
            edge,
            gates=Tables("gates", *self._gates, stripes[0]),
            counters=Tables("counters", *self._counters, stripes[0]),
            rates=RateRows(
                self._rates,
                columns=self._columns,
                column=column,
                digest=digest_of((edge, "rates"), self._salt),
                stripes=stripes,
                offset=offset,
            ),
            quotas=QuotaRows(
                *self._quotas,
                columns=self._columns,
                column=column,
                digest=digest_of((edge, "quotas"), self._salt),
                stripes=stripes,
            ),
            stripes=stripes,
            salt=self._salt,
            columns=self._columns,
            column=column,
            offset=offset,
        )

    def release(self, column: int) -> None:
        """Zero the counts of a process that is dead, and free the lock that it may have left; 1 ms or more.

        The column is free for another process then. After it, call :meth:`repair` until it returns True.
        """
        stripe = Stripe(self._locks[0], 0, self._marks, column)
        for memory in Tables("counters", *self._counters, stripe).taken():
            zero_column(memory, self._columns, column)
        zero_rates(self._rates, self._columns, column)
        retire_column(self._quotas[0], self._columns, column)
        self._mending.died(column)

    def repair(self) -> bool:
        """Free the locks that only processes that were released can have; microseconds.

        A process that is killed within the microsecond for which it has one of the 64 locks leaves it locked. No other
        one waits for it: until it is freed, each goes on without it, a microsecond later, and slightly inexact.

        Returns:
            False while a live process tries for such a lock just now: call it again soon.
        """
        return self._mending.repair()


class EdgeLimits:
    """The limits of one edge over its workers, as one process sees them.

    Attributes:
        quotas: the counts of the bytes of services that have a quota.
        entered: counts one more live session of a service in this process, by its name, if a row is free.
        left: counts one less, if it was counted.
        total: gives the live sessions of a service over all workers.
    """

    __slots__ = ("_column", "_columns", "_counters", "_edge", "_gates", "_live", "_offset", "_opened", "_owner",
                 "_rates", "_salt", "_stripes", "entered", "left", "quotas", "total")  # fmt: skip

    def __init__(
        self, edge: str, *, gates: Tables, counters: Tables, rates: RateRows, quotas: QuotaRows,
        stripes: Sequence[Stripe], salt: bytes, columns: int, column: int, offset: float,
    ) -> None:  # fmt: skip
        """Look at them; see :meth:`SharedLimits.of`, which makes one."""
        self._edge, self._owner = edge, digest_of("edge", salt)(edge)
        self._gates, self._counters, self._rates, self.quotas = gates, counters, rates, quotas
        self._stripes, self._salt = stripes, salt
        self._columns, self._column, self._offset = columns, column, offset
        self._opened: dict[tuple[int, int], SharedGate] = {}
        self._live = live = self.counter(_SERVICES, COUNT_ROWS)
        self.entered, self.left, self.total = live.add, live.remove, live.total  # a call less for each session

    def gate(self, number: int, capacity: int) -> SharedGate:
        """Give a gate, which is the same in every process for the same arguments.

        Args:
            number: of the gate among those of the edge, at least 1.
            capacity: keys that it has room for.

        Raises:
            ConfigurationError: the edges of the process have too many.
        """
        found = self._opened.get((number, capacity))
        if found is None:
            memory = self._gates.open(self._owner, number, capacity)
            digest = digest_of((self._edge, "gate", number), self._salt)
            found = self._opened[number, capacity] = SharedGate(
                memory, capacity=capacity, digest=digest, stripes=self._stripes, offset=self._offset
            )
        return found

    def counter(self, number: int, capacity: int) -> SharedCounts:
        """Give a counter, which is the same in every process for the same arguments; call it once for each number.

        Args:
            number: of the counter among those of the edge, at least 1.
            capacity: keys that it has room for.

        Raises:
            ConfigurationError: the edges of the process have too many.
        """
        return SharedCounts(
            self._counters.open(self._owner, number, capacity),
            capacity=capacity,
            columns=self._columns,
            column=self._column,
            digest=digest_of((self._edge, "counter", number), self._salt),
            stripes=self._stripes,
        )

    def rate(self, service: str) -> RateRow:
        """Give the row in which the workers divide the byte rates of a service."""
        return self._rates.row(service)

    def clear(self, service: str) -> None:
        """Give a service that was removed its whole burst in every gate of the edge that has its name as a key.

        Sessions of it that are still ending stay counted.
        """
        for number, capacity in self._gates.of(self._owner):
            self.gate(number, capacity).forget(service)

    def tell_live(self, sessions: int) -> int:
        """Tell how many live sessions of the edge this process has, and give those of all workers."""
        return self._live.put(_EDGE, sessions)
