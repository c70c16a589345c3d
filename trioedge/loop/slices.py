"""Cooperative long work: a generator does it in steps, and a task runs the steps in short slices with rests between.

The convention: work whose length grows with a table, a snapshot or the number of sessions is written as a generator of
type :data:`Stepwise` that yields at least every 50 µs. Calling it does nothing yet: the caller must step it to its end,
or close it. A task does so with :func:`in_slices`, another generator with ``yield from``. Other tasks run between two
steps, so state that was read before a yield may have changed after it, and state that others read must be consistent at
every yield.

Work rests only as much as the loop is busy:

| turns of other tasks within the last 20 to 40 ms | after a slice, once every other task that is ready has run |
| --- | --- |
| more than :data:`FEW_TURNS` | rest: :data:`REST` times as long as the slice, or less where `rest` says so |
| fewer: a timer now and then, or only other tasks with long work | go on at once |

So on an idle loop the work takes as long as it takes. Beside sessions, which run in the task of the reactor or in their
own, it takes a small part of the time: a client that makes one round trip after the other meets a slice in less than
one of a hundred. Below some 75 round trips a second, a client may be half a millisecond late while there is long work.
Turns are counted by an instrument of Trio, which is there only while work is long.

A thread would not help: a thread that runs Python blocks the loop for 5 ms at a time (the interpreter's switch
interval), and a call into C, such as sorting 200,000 items, blocks it for as long as it takes.
"""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from math import inf
from time import perf_counter
from typing import Final, TypeAlias, TypeVar

import trio
from trio.lowlevel import RunVar, Task

T = TypeVar("T")

Stepwise: TypeAlias = Generator[None, None, T]
"""Long work that yields between its steps; its return value is the result."""

SLICE_SECONDS: Final = 0.0005
"""The length of a slice: after so much work other tasks run."""

REST: Final = 32
"""How many times longer a rest is than the slice before it, while other tasks have work. Of the round trips that a
client makes one after the other, one in each 17 ms is half a millisecond late: less than one in a hundred."""

FEW_TURNS: Final = 4
"""Turns of other tasks in one to two windows that are no load."""

WINDOW_SECONDS: Final = 0.02
"""The length of a window, longer than the rest after a slice."""


class _Load(trio.abc.Instrument):
    """Counts how often tasks run that do no long work; installed while long work runs.

    Attributes:
        turns: how often such a task has run.
    """

    def __init__(self) -> None:
        self.turns = 0
        self._window = self._last_window = (-inf, 0)
        """When the present window and the one before it began, and the turns by then."""
        self._working: dict[Task, int] = {}
        """Tasks with long work, and how many pieces each has at once, one within the other."""

    def before_task_step(self, task: Task) -> None:
        if task not in self._working:
            self.turns += 1

    def is_high(self) -> bool:
        """Return whether other tasks have more than a few turns."""
        now = trio.current_time()
        if now - self._window[0] > WINDOW_SECONDS:
            self._last_window, self._window = self._window, (now, self.turns)
        return self.turns - self._last_window[1] > FEW_TURNS

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count while the block lasts, but not the present task."""
        task = trio.lowlevel.current_task()
        if not self._working:
            trio.lowlevel.add_instrument(self)
        self._working[task] = self._working.get(task, 0) + 1
        try:
            yield
        finally:
            self._working[task] -= 1
            if not self._working[task]:
                del self._working[task]
            if not self._working:
                trio.lowlevel.remove_instrument(self)


_load: RunVar[_Load] = RunVar("load")


def _present_load() -> _Load:
    try:
        return _load.get()
    except LookupError:
        load = _Load()
        _load.set(load)
        return load


class Slices:
    """A time budget shared by several generators of one job: they rest as one generator would."""

    __slots__ = ("_rest", "_used")

    def __init__(self, rest: float = REST) -> None:
        """Start with nothing used.

        Args:
            rest: how many times longer a rest is than the slice before it, at least 0.
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
            if self._used < SLICE_SECONDS:
                ended, result = self._slice(steps)
                if ended:
                    return result  # type: ignore[return-value]
            load = _present_load()
            with load.counting():
                while True:
                    # Trio runs what is ready in any order, and looks for events once a round: in the second round every
                    # task has run that had an event in this slice.
                    await trio.lowlevel.checkpoint()
                    await trio.lowlevel.checkpoint()
                    if load.is_high():
                        await trio.sleep(self._rest * self._used)
                    self._used = 0.0
                    ended, result = self._slice(steps)
                    if ended:
                        return result  # type: ignore[return-value]

    def _slice(self, steps: Stepwise[T]) -> tuple[bool, T | None]:
        """Work until a slice is used; return whether the work has ended, and its result."""
        began = now = perf_counter()
        try:
            while self._used + now - began < SLICE_SECONDS:
                next(steps)
                now = perf_counter()
        except StopIteration as end:
            return True, end.value
        finally:
            self._used += perf_counter() - began
        return False, None


async def in_slices(steps: Stepwise[T], *, rest: float = REST) -> T:
    """Run one generator to its end in slices, as :meth:`Slices.run` does.

    Each call has a budget of its own, so two calls at the same time take twice as much of the loop.
    """
    return await Slices(rest).run(steps)
