"""Locks that are tried and never waited for, so that a process that stops or dies cannot hold up another one.

| a process | what it does | then |
| --- | --- | --- |
| wants a lock | marks its number in its own byte of the shared memory, tries 20 times | has the lock |
| has had none in 20 tries | clears its mark, goes on without | slightly inexact |
| is done | releases the lock, clears its mark | |
| is killed in between | | its mark stays; the others go on without this lock until the parent frees it |

So a process that has a lock has a mark that names it. When a process is dead, the parent reads its mark. Once the lock
cannot be had and no other mark names it, only the dead process can have it, and the parent frees it.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

STRIPES: Final = 64
"""Locks of one shared memory. Rows whose buckets have the same number modulo 64 share one."""

SPINS: Final = 20
"""Tries before a process goes on without the lock. They take as long as the work of a holder that runs, 1 µs."""


class TryLock(Protocol):
    """A lock between processes, such as ``multiprocessing.get_context("fork").Lock()._semlock``."""

    def acquire(self, block: bool, /) -> bool:
        """With False: take the lock if it is free, and return whether it was."""

    def release(self) -> object:
        """Free the lock.

        Raises:
            ValueError: it is free already.
        """


class Stripe:
    """One lock, as one process uses it."""

    __slots__ = ("_acquire", "_column", "_mark", "_marks", "_release")

    def __init__(self, lock: TryLock, number: int, marks: memoryview, column: int) -> None:
        """Take nothing.

        Args:
            lock: between all processes.
            number: of the lock, from 0.
            marks: a byte for each column.
            column: of this process.
        """
        self._acquire, self._release = lock.acquire, lock.release
        self._marks, self._column, self._mark = marks, column, number + 1

    def take(self) -> bool:
        """Try to take the lock, 20 times at most. The caller goes on either way, and calls :meth:`free` if True."""
        self._marks[self._column] = self._mark
        if self._acquire(False):
            return True
        for _ in range(SPINS - 1):
            if self._acquire(False):
                return True
        self._marks[self._column] = 0
        return False

    def free(self) -> None:
        """Release the lock."""
        try:  # noqa: SIM105 - on the hot path
            self._release()
        except ValueError:  # the parent took this process for dead, and has released it
            pass
        self._marks[self._column] = 0


class Mending:
    """The parent's view of the locks: it releases those that dead processes have left."""

    __slots__ = ("_doubtful", "_locks", "_marks")

    def __init__(self, locks: Sequence[TryLock], marks: memoryview) -> None:
        self._locks, self._marks = locks, marks
        self._doubtful: set[int] = set()

    def died(self, column: int) -> None:
        """Note that the process of a column is dead, and free the column."""
        mark = self._marks[column]
        self._marks[column] = 0
        if mark:
            self._doubtful.add(mark - 1)

    def repair(self) -> bool:
        """Release each lock that only a dead process can have.

        Returns:
            False while a live process uses such a lock just now, so that it is not clear yet: call it again soon.
        """
        for number in tuple(self._doubtful):
            lock = self._locks[number]
            if lock.acquire(False):  # it is free
                lock.release()
            elif number + 1 in self._marks.tolist():
                continue
            else:
                with suppress(ValueError):  # a live process has released it in this moment
                    lock.release()
            self._doubtful.remove(number)
        return not self._doubtful
