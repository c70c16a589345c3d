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

REST: Final = 4
"""How many times longer a rest is than the slice before it: others are left four fifths of the time."""


async def in_slices(steps: Generator[None, None, T], *, rest: float = REST) -> T:
    """Run a generator to its end, at most a fifth of the time.

    Time is the machine's, not Trio's, whose clock may stand still in tests; only the rests are Trio's. One task at
    a time should do this: two of them take two fifths.

    Args:
        steps: the work, with a yield at least every 50 µs of it: a slice is as long as its last step wants.
            Afterwards it is closed, whatever happened; so it is after a cancel, which comes between two slices.
        rest: how many times longer to rest than to work; 0 while there is nobody else to serve.

    Returns:
        What the generator returns. One that is done within the first slice costs one checkpoint.
    """
    with closing(steps):
        await trio.lowlevel.checkpoint()
        while True:
            began = now = perf_counter()
            while now - began < SLICE_SECONDS:
                try:
                    next(steps)
                except StopIteration as end:
                    result: T = end.value
                    return result
                now = perf_counter()
            await trio.sleep(rest * (now - began))
