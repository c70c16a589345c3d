"""Measures the steps of work that must not block the event loop."""

import gc
import time
from collections.abc import Awaitable, Callable, Generator
from typing import TypeVar

T = TypeVar("T")

STEP_SECONDS = 0.005
"""The promise. A step takes a hundredth of it, and all steps of one of these tests together ten times as long."""


def run_steps(steps: Generator[object, None, T]) -> T:
    """Run a generator to its end at once, and return its result."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        result: T = end.value
        return result


def longest_step(steps: Generator[object, None, T]) -> tuple[int, float, T]:
    """Run a generator to its end, without the garbage collector, whose pauses grow with all other tests.

    Returns:
        How many steps it made, the processor time of the longest one in seconds, and its result.
    """
    number, longest = 0, 0.0
    gc.disable()
    try:
        while True:
            began = time.thread_time()
            next(steps)
            longest = max(longest, time.thread_time() - began)
            number += 1
    except StopIteration as end:
        return number, max(longest, time.thread_time() - began), end.value
    finally:
        gc.enable()


async def best_of_three(attempt: Callable[[], Awaitable[float]]) -> float:
    """Return the shortest of three times: another process may disturb one of them, and hardly all three."""
    return min([await attempt() for _ in range(3)])
