"""The observer of one run of an edge: gathers the outlines of spans, and exports them now and then.

| state | event | action | then |
| --- | --- | --- | --- |
| idle | sessions of the sample have ended | keep their outlines, at most 512 | gathering |
| gathering | more | the same; those beyond 512 are lost, and counted | gathering |
| gathering | `seconds` after the first | make and export the spans in a thread | exporting |
| exporting | more | keep them for the next time | exporting |
| exporting | done, or not within 30 s | count what was lost | idle, or gathering |
| any | the edge has ended | export what there is, within half a second | over |

A thread exports, because every exporter blocks. It is one of Trio's, and not that of the SDK's batch processor, so it
is there only while it exports, a cancel leaves it alone at once, spans that are lost are known and logged, and a
process may fork after the edge was made. There is one at a time, also if the one before it hangs.
"""

from typing import Final

import trio
import trioedge as te

from .outline import Outline, outline_of
from .sink import Sink

MAX_SPANS: Final = 512
"""Spans that are kept for one export. To make and encode them takes a thread some 60 ms, in which it holds the
interpreter for up to 5 ms at a time."""

EXPORT_SECONDS: Final = 30.0
"""The longest export; OTLP's own limit is 10 s."""

LAST_SECONDS: Final = 0.5
"""The longest export at the end of the edge."""

SAY_SECONDS: Final = 60.0
"""Between two log lines that say how many spans were lost."""


class LiveOtel:
    """The live observer.

    Attributes:
        lost: how many spans were not exported.
    """

    def __init__(self, sink: Sink, sample: float, seconds: float, log: te.EdgeLog) -> None:
        """Start nothing.

        Args:
            sink: makes the spans and exports them.
            sample: the part of the sessions, from 0 to 1.
            seconds: between two exports.
            log: says what was lost.
        """
        self._sink = sink
        self._part = sample * 0x100000000
        self._seconds = seconds
        self._log = log
        self._waiting: list[Outline] = []
        self._any = trio.Event()  # set while outlines wait
        self._one_thread = trio.CapacityLimiter(1)
        self._said, self._said_at, self._why = 0, -SAY_SECONDS, ""
        self.lost = 0

    async def observe(self, batch: te.Batch) -> None:
        """Keep the outlines of the sessions of the sample."""
        for end in batch.ended:
            if not (end.id * 0x9E3779B1 & 0xFFFFFFFF) < self._part:
                continue
            if len(self._waiting) < MAX_SPANS:
                self._waiting.append(outline_of(end, batch))
                if len(self._waiting) % 64 == 0:
                    await trio.lowlevel.checkpoint()
            else:
                self._lose(1, f"more than {MAX_SPANS} in {self._seconds:g} s: a smaller sample has fewer")
        if self._waiting:
            self._any.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Export until cancelled, and then what is left."""
        task_status.started()
        try:
            while True:
                await self._any.wait()
                await trio.sleep(self._seconds)
                await self._export(EXPORT_SECONDS)
                self._say(trio.current_time())
        finally:
            with trio.CancelScope(shield=True):
                await self._export(LAST_SECONDS)
            self._say(trio.current_time(), last=True)

    def close(self) -> None:
        """Shut down the exporter that this has made."""
        self._sink.close()

    async def _export(self, seconds: float) -> None:
        """Export what there is; spans that are not exported within these seconds, or before a cancel, count as lost."""
        outlines, self._waiting = self._waiting, []
        self._any = trio.Event()
        if not outlines:
            return
        why: str | None = None
        try:
            with trio.move_on_after(seconds):
                why = await trio.to_thread.run_sync(
                    self._sink.send, outlines, abandon_on_cancel=True, limiter=self._one_thread
                )
        finally:
            if why is None:
                why = self._sink.said or f"no answer within {seconds:g} s"
            if why:
                self._lose(len(outlines), why)

    def _lose(self, count: int, why: str) -> None:
        self.lost += count
        self._why = why

    def _say(self, now: float, *, last: bool = False) -> None:
        """Log how many spans were lost since this was said last, once a minute."""
        if self.lost > self._said and (last or now >= self._said_at + SAY_SECONDS):
            self._log.notice("spans lost", count=self.lost - self._said, why=self._why)
            self._said, self._said_at = self.lost, now
