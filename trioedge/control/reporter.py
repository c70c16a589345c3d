"""Report what services used: only those that changed, and until it is acknowledged."""

import random
from typing import Final

import trio
from trio_util import AsyncBool

from ..services.control_plane import TakesReports
from ..services.report import Report
from ..services.service import Service
from ..structures.backoff import Backoff
from ..telemetry.observer import Observer
from .reports import Reports

SERVICES_PER_REPORT: Final = 1_000
"""More make another report, at once."""

REPORT_SECONDS: Final = 10.0
"""How long one report may take; after that nobody knows, and it comes again."""

FIRST_RETRY_SECONDS: Final = 0.5
MAX_RETRY_SECONDS: Final = 30.0


class Reporter:
    """Sends reports; does nothing while nothing changes.

    Attributes:
        error: why the last report was not acknowledged; empty when it was.
    """

    def __init__(self, control: TakesReports, reports: Reports, observer: Observer, seconds: float) -> None:
        """Owe nothing.

        Args:
            control: takes the reports.
            reports: knows what is due.
            observer: told of what people should know.
            seconds: between two rounds of reports, so that a busy service is reported once in it.
        """
        self._control = control
        self._reports = reports
        self._observer = observer
        self._seconds = seconds
        self._wakeup = AsyncBool()
        self._one_at_a_time = trio.Lock()
        self.error = ""
        self._backoff = Backoff(FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, random.random)

    def mark(self, service: Service) -> None:
        """Something of this service has changed."""
        self._reports.mark(service)
        self._wakeup.value = True

    def gone(self, service: Service) -> None:
        """A service is no more; its totals are still reported."""
        if not self._reports.gone(service):
            self._observer.notice("totals lost: too many services that are no more wait to be reported")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Report every so many seconds while something is due, until cancelled; a report cut short comes again."""
        task_status.started()
        while True:
            await self._wakeup.wait_value(True)
            self._wakeup.value = False
            await trio.sleep(self._seconds)
            due = -(-len(self._reports) // SERVICES_PER_REPORT)  # what changes meanwhile is for the next round
            while due:
                if await self._send():
                    self._backoff.succeeded()
                    due -= 1
                else:
                    await trio.sleep(self._backoff.failed())

    async def flush(self, seconds: float) -> None:
        """Report all that is due, once, at the end; within `seconds`, the report that is under way included."""
        with trio.move_on_after(seconds):
            while await self._send() and self._reports:
                pass

    async def _send(self) -> bool:
        """Send one report, after the one that is under way, and say whether it was acknowledged."""
        async with self._one_at_a_time:
            composed = self._reports.compose(SERVICES_PER_REPORT)
            return composed is None or await self._deliver(*composed)

    async def _deliver(self, report: Report, services: list[Service]) -> bool:
        arrived = False
        error = f"no answer to a report within {REPORT_SECONDS:g} s"
        try:
            with trio.move_on_after(REPORT_SECONDS):
                await self._control.report(report)
                arrived = True
        except Exception as fault:
            error = str(fault) or repr(fault)
        finally:
            if arrived:
                self._reports.confirm(report.sequence, services)
            else:
                self._reports.lost(services)
        if not arrived:
            self._observer.notice("report failed", error=error)
        elif self.error:
            self._observer.say("reports are acknowledged again")
        self.error = "" if arrived else error
        return arrived
