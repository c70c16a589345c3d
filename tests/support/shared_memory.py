"""Shared memory for tests in one process: locks that a test holds, and memories of zeros."""

import mmap
import multiprocessing

import pytest

from trioedge.structures.shared.limits import SharedLimits
from trioedge.structures.shared.stripes import STRIPES, Stripe

SALT = b"salt of the tests"

FEW_ROWS = 1024


class ScriptedLock:
    """A try-lock that counts its tries, and that a test can keep."""

    def __init__(self) -> None:
        self.held = False
        self.tries = 0

    def acquire(self, block: bool, /) -> bool:
        assert not block, "nothing waits for a lock"
        self.tries += 1
        if self.held:
            return False
        self.held = True
        return True

    def release(self) -> None:
        if not self.held:
            raise ValueError("it is free already")
        self.held = False


def scripted_locks() -> list[ScriptedLock]:
    return [ScriptedLock() for _ in range(STRIPES)]


def real_locks() -> list[object]:
    """Locks between processes, as in production."""
    return [multiprocessing.get_context("fork").Lock()._semlock for _ in range(STRIPES)]  # type: ignore[attr-defined]


def stripes(locks: list[ScriptedLock], column: int = 0, marks: memoryview | None = None) -> list[Stripe]:
    """The locks as one process uses them."""
    marks = memoryview(bytearray(16)) if marks is None else marks
    return [Stripe(lock, number, marks, column) for number, lock in enumerate(locks)]


def zeros(size: int) -> memoryview:
    """Memory between processes that are forked; its pages come as they are touched."""
    return memoryview(mmap.mmap(-1, size))


def make_limits(columns: int = 8, locks: list[ScriptedLock] | None = None) -> SharedLimits:
    """The limits over an empty memory."""
    return SharedLimits(zeros(SharedLimits.size(columns)), columns=columns, salt=SALT, locks=locks or scripted_locks())


def small_limits() -> SharedLimits:
    """The limits over a memory of few rows, which is soon looked through."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("GATE", "COUNT", "RATE", "QUOTA"):
            patch.setattr(f"trioedge.structures.shared.limits.{kind}_ROWS", FEW_ROWS)
        return make_limits()
