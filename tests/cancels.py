"""A cancel at every moment there is: what a test then says is true, is true whenever the cancel comes."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

MOST_STEPS = 2_000
"""Of one life; a test whose act takes more goes round in circles."""


class _CancelBefore(trio.abc.Instrument):
    """Cancels a scope before the step with this number, counted over all tasks; one moment is as good as another."""

    def __init__(self, scope: trio.CancelScope, number: int) -> None:
        self._scope = scope
        self._left = number

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left < 0:
            self._scope.cancel()


async def cancel_at_every_step(act: Callable[[], Awaitable[object]], check: Callable[[], object]) -> int:
    """Do something again and again, each time cancelled a step later, until it is done before the cancel comes.

    Args:
        act: what is done; it begins anew each time.
        check: called after each cancel, and after the life that went to its end; asserts what is true.

    Returns:
        How many cancels there were.
    """
    for number in range(MOST_STEPS):
        with trio.CancelScope() as scope:
            instrument = _CancelBefore(scope, number)
            trio.lowlevel.add_instrument(instrument)
            try:
                await act()
            finally:
                trio.lowlevel.remove_instrument(instrument)
        check()
        if not scope.cancel_called:
            return number
    raise AssertionError("it never ends by itself")


def left_open() -> tuple[int, frozenset[str]]:
    """What a life may leave behind: tasks, by their number, and file descriptors, by theirs."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    return tasks, frozenset(each.name for each in Path("/proc/self/fd").iterdir())
