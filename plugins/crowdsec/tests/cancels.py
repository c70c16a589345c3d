"""Cancels before every step of a piece of code."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

MAX_STEPS = 2_000


class _Before(trio.abc.Instrument):
    def __init__(self, step: int, scope: trio.CancelScope) -> None:
        self._left, self._scope = step, scope

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()


async def cancel_at_every_step(act: Callable[[], Awaitable[object]], check: Callable[[], object]) -> int:
    """Call `act` again and again, cancelled a step later each time, until it ends by itself; return how often."""
    for step in range(1, MAX_STEPS):
        with trio.CancelScope() as scope:
            before = _Before(step, scope)
            trio.lowlevel.add_instrument(before)
            try:
                await act()
            finally:
                trio.lowlevel.remove_instrument(before)
        check()
        if not scope.cancel_called:
            return step - 1
    raise AssertionError("it does not end by itself")


def left_open() -> tuple[int, frozenset[str]]:
    """Give what may not be left behind: the number of tasks, and the open file descriptors."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    return tasks, frozenset(each.name for each in Path("/proc/self/fd").iterdir())
