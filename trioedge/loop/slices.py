"""Long work in short slices, so that sessions hardly notice it.

A thread would be no help: a thread of Python code holds everybody else for 5 ms at a time (the interpreter's
switch interval), and one call into C, such as sorting 200,000 items, for as long as it takes.
"""

from collections.abc import Generator
from contextlib import closing
from time import perf_counter
from typing import Final, TypeVar

import trio

T = TypeVar("T")

SLICE_SECONDS: Final = 0.0005
"""After this much work, others get their turn."""

REST: Final = 32
"""How many times longer a rest is than the slice before it. One round trip in each such time is half a millisecond
late, which is then less than one in a hundred, even of those that follow one another at once."""


class Slices:
    """The time that pieces of one long work take, together: who brings them one by one rests as if they were one."""

    __slots__ = ("_rest", "_used")

    def __init__(self, rest: float = REST) -> None:
        """Begin.

        Args:
            rest: how many times longer to rest than to work; 0 while there is nobody else to serve.
        """
        self._rest = rest
        self._used = 0.0

    async def run(self, steps: Generator[None, None, T], beside: float = 0.0) -> T:
        """Run a generator to its end, and rest when a slice has been used, now or by those before.

        Time is the machine's, not Trio's, whose clock may stand still in tests; only the rests are Trio's.

        Args:
            steps: the work, with a yield at least every 50 µs of it: a slice is as long as its last step wants.
                Afterwards it is closed, whatever happened; so it is after a cancel, which comes between two slices.
            beside: seconds of work that its caller had with this piece, and that count too.

        Returns:
            What the generator returns. One that is done within the first slice costs one checkpoint.
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


async def in_slices(steps: Generator[None, None, T], *, rest: float = REST) -> T:
    """Run one generator to its end in slices, as :meth:`Slices.run` does. Two at a time rest half as much each."""
    return await Slices(rest).run(steps)
