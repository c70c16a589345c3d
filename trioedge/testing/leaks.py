"""Find what a piece of code leaves behind: tasks, file descriptors, and streams that it has not closed."""

import gc
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

SETTLE_STEPS: Final = 100
"""Passes through the event loop in which tasks end and peers see that a connection is closed."""

_DESCRIPTORS: Final = Path("/proc/self/fd")


class Baseline:
    """The tasks and file descriptors that there are now, to compare with those of later."""

    def __init__(self) -> None:
        """Count them."""
        self._tasks = trio.lowlevel.current_statistics().tasks_living
        self._files = _descriptors()

    async def assert_nothing_left(self, name: str) -> None:
        """Wait a moment for what is ending, then compare.

        Args:
            name: of the code under test, for the message.

        Raises:
            AssertionError: says how many tasks or file descriptors there are beyond those of before.
        """
        for _ in range(SETTLE_STEPS):
            if not self._left():
                return
            await trio.lowlevel.checkpoint()
        raise AssertionError(f"{name} left {self._left()} behind")

    def _left(self) -> str:
        tasks = trio.lowlevel.current_statistics().tasks_living - self._tasks
        files = len(_descriptors() - self._files)
        found = [f"{count} {what}" for count, what in ((tasks, "tasks"), (files, "file descriptors")) if count > 0]
        return " and ".join(found)


@asynccontextmanager
async def leaving_nothing(name: str) -> AsyncIterator[None]:
    """Check that a block leaves no task, no file descriptor and no unclosed stream behind.

    Args:
        name: of the code under test, for the message.

    Raises:
        AssertionError: says what it left.
    """
    before = Baseline()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    unclosed = [warning for warning in caught if issubclass(warning.category, ResourceWarning)]
    for warning in caught:
        if warning not in unclosed:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    assert not unclosed, f"{name} left it to the garbage collector to close: {unclosed[0].message}"
    await before.assert_nothing_left(name)


def _descriptors() -> frozenset[str]:
    return frozenset(each.name for each in _DESCRIPTORS.iterdir())
