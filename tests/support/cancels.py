"""A cancel at every moment there is: what a test then says is true, is true whenever the cancel comes."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

MAX_STEPS = 2_000
"""Of one life; a test whose act takes more goes round in circles."""


class _CancelBefore(trio.abc.Instrument):
    """Cancels a scope just before the step with this number, of whatever task."""

    def __init__(self, step: int, scope: trio.CancelScope) -> None:
        self.left = step
        self._scope = scope

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            self._scope.cancel()


async def cancelled_before(step: int, act: Callable[[], Awaitable[object]]) -> bool:
    """Do something and cancel it just before a step, the first being 1; False when it was done before that."""
    with trio.CancelScope() as scope:
        instrument = _CancelBefore(step, scope)
        trio.lowlevel.add_instrument(instrument)
        try:
            await act()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return instrument.left <= 0


async def cancel_at_every_step(act: Callable[[], Awaitable[object]], check: Callable[[], object]) -> int:
    """Do something again and again, each time cancelled a step later, until it is done before the cancel comes.

    Args:
        act: the action; it begins anew each time.
        check: called after each cancel, and after the life that went to its end; asserts what is true.

    Returns:
        How many cancels there were.
    """
    for step in range(1, MAX_STEPS):
        reached = await cancelled_before(step, act)
        check()
        if not reached:
            return step - 1
    raise AssertionError("it never ends by itself")


def left_open() -> tuple[int, frozenset[str]]:
    """What a life may leave behind: tasks, by their number, and file descriptors, by theirs."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    return tasks, frozenset(each.name for each in Path("/proc/self/fd").iterdir())
