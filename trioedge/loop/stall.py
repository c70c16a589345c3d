"""How late the loop runs what is due: a task that sleeps and looks how late it wakes.

A loop that is late has a stage that computes for long, a call that blocks, or too little of a processor; every client
waits meanwhile.
"""

from collections import deque
from typing import Final

import trio

from ..telemetry.histogram import Histogram

LOOK_SECONDS: Final = 0.1
"""Between two looks, each of which takes some 20 µs. A stall is seen if it is longer than what is left until the next
look, so one of 0.1 s always is, and shorter ones in proportion."""

WINDOW_SECONDS: Final = 60.0
"""The time over which :meth:`LoopStall.recent` gives the longest one."""


class LoopStall:
    """How late the loop was.

    Attributes:
        seconds: of every look.
    """

    def __init__(self) -> None:
        """Look at nothing yet; :meth:`run` does."""
        self.seconds = Histogram()
        # Stalls with their times, each longer than those behind it: the first one is the longest of the window.
        self._longest: deque[tuple[float, float]] = deque()

    def add(self, late: float, now: float) -> None:
        """Count a look at `now` seconds that was `late` by so many."""
        self.seconds.add(late)
        longest = self._longest
        while longest and longest[-1][1] <= late:
            longest.pop()
        longest.append((now, late))
        self._drop_old(now)

    def recent(self, now: float) -> float:
        """Give the longest one of the last 60 s, in seconds; 0 before the first look."""
        self._drop_old(now)
        return self._longest[0][1] if self._longest else 0.0

    def _drop_old(self, now: float) -> None:
        while self._longest and self._longest[0][0] < now - WINDOW_SECONDS:
            self._longest.popleft()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look every 0.1 s until cancelled."""
        task_status.started()
        while True:
            due = trio.current_time() + LOOK_SECONDS
            await trio.sleep_until(due)
            now = trio.current_time()
            self.add(max(0.0, now - due), now)
