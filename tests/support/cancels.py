"""Cancels before every step of a piece of code, to assert that the same is true whenever the cancel comes."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from trioedge.testing.cancels import cancel_before

MAX_STEPS = 2_000
"""The most steps of a piece of code; one that takes more does not end by itself."""


async def cancelled_before(step: int, act: Callable[[], Awaitable[object]]) -> bool:
    """Call `act` and cancel it before a step, counted from 1; False if it ended before that step."""
    with trio.CancelScope() as scope, cancel_before(step, scope) as counter:
        await act()
    return counter.reached


async def cancel_at_every_step(act: Callable[[], Awaitable[object]], check: Callable[[], object]) -> int:
    """Call `act` again and again, each time cancelled a step later, until it ends before the cancel.

    Args:
        act: the code; it begins anew each time.
        check: called after each cancel and at the end; asserts what is true.

    Returns:
        The number of cancels.
    """
    for step in range(1, MAX_STEPS):
        reached = await cancelled_before(step, act)
        check()
        if not reached:
            return step - 1
    raise AssertionError("it does not end by itself")


def left_open() -> tuple[int, frozenset[str]]:
    """Give what a piece of code may leave: the number of tasks, and the open file descriptors."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    return tasks, frozenset(each.name for each in Path("/proc/self/fd").iterdir())
