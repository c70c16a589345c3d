"""The memory that all processes share: a file without a name, which a fork and an exec pass on.

It begins with a header: the layout, the number of columns, and the salts, which no client knows. Behind it come the
slots of the processes, and then the limits.
"""

import contextlib
import mmap
import multiprocessing
import os
import secrets
import struct
from collections.abc import Sequence
from typing import Final

from ...structures.shared.limits import SharedLimits
from ...structures.shared.stripes import STRIPES, TryLock
from .slots import ROW_BYTES, Slots

LAYOUT: Final = 1
"""Counted up with each change of the layout, because a restart may come with another version of trioedge."""

MIN_COLUMNS: Final = 8
COLUMNS_A_WORKER: Final = 4
"""Processes that may live at a time, for each worker: old ones drain after a restart."""

_HEADER: Final = struct.Struct("<8sIII16s")
_HEADER_BYTES: Final = 64
_MAGIC: Final = b"trioedge"


class SharedMemory:
    """The shared memory of one parent and its children.

    Attributes:
        fd: its file.
        columns: processes that may live at a time.
        steering_salt: hides from clients which worker they get.
        slots: the processes.
        limits: the limits over all workers.
    """

    def __init__(self, fd: int, locks: Sequence[TryLock]) -> None:
        """Map a file that :meth:`create` has made.

        Args:
            fd: the file; it is closed with the process.
            locks: of the limits.

        Raises:
            ValueError: the layout is another version's.
        """
        self.fd = fd
        head = os.pread(fd, _HEADER.size, 0)
        magic, layout, self.columns, self.steering_salt, salt = _HEADER.unpack(head.ljust(_HEADER.size, b"\0"))
        size = self.size(self.columns)
        if (magic, layout) != (_MAGIC, LAYOUT) or os.fstat(fd).st_size != size:
            raise ValueError("the layout of the shared memory is another version's")
        view = memoryview(mmap.mmap(fd, size))
        end = _HEADER_BYTES + self.columns * ROW_BYTES
        self.slots = Slots(view[_HEADER_BYTES:end])
        self.limits = SharedLimits(view[end:], columns=self.columns, salt=salt, locks=locks)

    @staticmethod
    def size(columns: int) -> int:
        """Give the bytes that it needs; pages that are never written take no memory."""
        return _HEADER_BYTES + columns * ROW_BYTES + SharedLimits.size(columns)

    @classmethod
    def create(cls, columns: int, locks: Sequence[TryLock]) -> "SharedMemory":
        """Make one that is empty."""
        fd = os.memfd_create("trioedge", os.MFD_CLOEXEC)
        os.ftruncate(fd, cls.size(columns))
        os.pwrite(fd, _HEADER.pack(_MAGIC, LAYOUT, columns, secrets.randbits(32), secrets.token_bytes(16)), 0)
        return cls(fd, locks)


def shared_memory(passed: int | None, workers: int) -> tuple[SharedMemory, bool]:
    """Adopt the memory that a former image has passed on, or make one; return whether it is a new one.

    Args:
        passed: the descriptor; None at a start.
        workers: each has a column, and so have those of earlier versions, which drain.
    """
    locks, columns = make_locks(), max(MIN_COLUMNS, COLUMNS_A_WORKER * workers)
    if passed is not None:
        with contextlib.suppress(ValueError):
            memory = SharedMemory(passed, locks)
            if memory.columns >= columns:
                return memory, False
        os.close(passed)  # children of the former image have it mapped
    return SharedMemory.create(columns, locks), True


def make_locks() -> list[TryLock]:
    """Make the locks of the limits: semaphores in memory that forks share, and that an exec drops."""
    context = multiprocessing.get_context("fork")
    return [context.Lock()._semlock for _ in range(STRIPES)]  # type: ignore[attr-defined]  # without its Python layer
