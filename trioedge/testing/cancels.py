"""Cancel a piece of code before one of its steps, a step being one run of one task."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio

MAX_STEPS: Final = 200
"""Cancels of one check; code that takes more steps is not cancelled at the later ones."""


class StepCounter(trio.abc.Instrument):
    """Cancels a scope before a step, of whatever task.

    Attributes:
        reached: whether it came to that step.
        reached_at: when it did, in seconds of Trio's clock.
    """

    def __init__(self, step: int, scope: trio.CancelScope) -> None:
        self._left = step
        self._scope = scope
        self.reached, self.reached_at = False, 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - an instrument's shape
        """Count a step; Trio calls this."""
        self._left -= 1
        if self._left == 0:
            self.reached, self.reached_at = True, trio.current_time()
            self._scope.cancel()


@contextmanager
def cancel_before(step: int, scope: trio.CancelScope) -> Iterator[StepCounter]:
    """Cancel `scope` before a step of the block.

    Args:
        step: counted from 1 over the steps of all tasks; 0 for no cancel.
        scope: around the code under test.
    """
    counter = StepCounter(step, scope)
    trio.lowlevel.add_instrument(counter)
    try:
        yield counter
    finally:
        trio.lowlevel.remove_instrument(counter)


def without_cancels(fault: BaseException) -> BaseException | None:
    """Give the part of an exception that is no cancel; None where all of it is."""
    if isinstance(fault, trio.Cancelled):
        return None
    return fault.split(trio.Cancelled)[1] if isinstance(fault, BaseExceptionGroup) else fault
