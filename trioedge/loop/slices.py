"""Cooperative long work: a generator does it in steps, and a task runs the steps in short slices with rests between.

The convention: work whose length grows with a table, a snapshot or the number of sessions is written as a generator of
type :data:`Stepwise` that yields at least every 50 µs. Calling it does nothing yet: the caller must step it to its end,
or close it. A task does so with :func:`in_slices`, another generator with ``yield from``. Other tasks run between two
steps, so state that was read before a yield may have changed after it, and state that others read must be consistent at
every yield.

A thread would not help: a thread that runs Python blocks the loop for 5 ms at a time (the interpreter's switch
interval), and a call into C, such as sorting 200,000 items, blocks it for as long as it takes.
"""

from collections.abc import Generator
from contextlib import closing
from time import perf_counter
from typing import Final, TypeAlias, TypeVar

import trio

T = TypeVar("T")

Stepwise: TypeAlias = Generator[None, None, T]
"""Long work that yields between its steps; its return value is the result."""

SLICE_SECONDS: Final = 0.0005
"""The length of a slice: after so much work other tasks run."""

REST: Final = 32
"""How many times longer a rest is than the slice before it. Of the round trips that a client makes one after the other,
one in each 17 ms is half a millisecond late: less than one in a hundred."""


class Slices:
    """A time budget shared by several generators of one job: they rest as one generator would."""

    __slots__ = ("_rest", "_used")

    def __init__(self, rest: float = REST) -> None:
        """Start with nothing used.

        Args:
            rest: how many times longer to rest than to work, at least 0; 0 before there are sessions.
        """
        self._rest = rest
        self._used = 0.0

    async def run(self, steps: Stepwise[T], beside: float = 0.0) -> T:
        """Run a generator to its end, and rest whenever a slice has been used by it and by those before it.

        Work is measured with the machine's clock, because Trio's may be stopped in tests; rests are on Trio's clock.
        A cancel takes effect between two slices. The generator is closed afterwards in any case.

        Args:
            steps: the work. A slice lasts until the end of the step that exceeds it.
            beside: seconds of work that the caller did for this generator, counted as used too.

        Returns:
            The return value of the generator. Work that ends within the first slice costs one checkpoint.
        """
        self._used += beside
        with closing(steps):
            await trio.lowlevel.checkpoint()
            while True:
                if self._used >= SLICE_SECONDS:
                    await trio.sleep(self._rest * self._used)
                    self._used = 0.0
                began = now = perf_counter()
                try:
                    while self._used + now - began < SLICE_SECONDS:
                        next(steps)
                        now = perf_counter()
                except StopIteration as end:
                    result: T = end.value
                    return result
                finally:
                    self._used += perf_counter() - began


async def in_slices(steps: Stepwise[T], *, rest: float = REST) -> T:
    """Run one generator to its end in slices, as :meth:`Slices.run` does.

    Each call has a budget of its own, so two calls at the same time take twice as much of the loop.
    """
    return await Slices(rest).run(steps)
