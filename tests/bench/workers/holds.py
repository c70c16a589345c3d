"""The longest that each process of a program held its event loop, in a file that all of them map.

How long is measured in processor time, task step by task step, so a neighbour on the same core does not count.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import trio

PLACES = 65_536
"""A double for each process; ids of processes that live at a time differ by less, or one in a million does not."""


class Holds:
    """The longest holds so far, by process id, in seconds."""

    def __init__(self, path: Path) -> None:
        with path.open("ab") as file:
            file.truncate(8 * PLACES)
        with path.open("r+b") as file:
            memory: memoryview[int] = memoryview(mmap.mmap(file.fileno(), 8 * PLACES))
        self._seconds: memoryview[float] = memory.cast("d")

    def forget(self, pids: Iterable[int]) -> None:
        for pid in pids:
            self._seconds[pid % PLACES] = 0.0

    def longest_ms(self, pids: Iterable[int]) -> float:
        return max(self._seconds[pid % PLACES] for pid in pids) * 1e3

    def watch(self) -> None:
        """Have every Trio run of this process and its children note its holds."""
        trio.run = partial(  # type: ignore[assignment] # as it is called, with one more argument
            trio.run, instruments=[_Watch(self._seconds)]
        )


class _Watch(trio.abc.Instrument):
    def __init__(self, seconds: memoryview[float]) -> None:
        self._seconds = seconds
        self._began = 0.0
        self._place = 0

    def before_run(self) -> None:
        self._place = os.getpid() % PLACES

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = time.thread_time() - self._began
        if took > self._seconds[self._place]:
            self._seconds[self._place] = took
