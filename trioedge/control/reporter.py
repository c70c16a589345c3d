"""Send usage reports: only of services that changed, and until they are acknowledged."""

import random
from math import ceil
from typing import Final

import trio
from trio_util import AsyncBool

from ..errors import message_of, quote_fault
from ..services.control_plane import TakesReports
from ..services.report import Report
from ..services.service import Service
from ..structures.backoff import Backoff
from ..telemetry.log import EdgeLog, parted
from .reports import Reports

SERVICES_PER_REPORT: Final = 1_000
"""With more, the next report follows at once."""

REPORT_SECONDS: Final = 10.0
"""For one report; after that its services are due again, because it may have been lost."""

FIRST_RETRY_SECONDS: Final = 0.5
MAX_RETRY_SECONDS: Final = 30.0


class Reporter:
    """The worker that sends reports. It sleeps while no service changes.

    Attributes:
        error: why the last report was not acknowledged; empty if it was.
        behind_since: when the oldest change was that is not acknowledged, in seconds of Trio's clock, or a little
            earlier: services are not timed one by one. None if every change is acknowledged.
    """

    def __init__(self, control: TakesReports, reports: Reports, log: EdgeLog, seconds: float) -> None:
        """Start with no report to send.

        Args:
            control: the control plane that takes the reports.
            reports: the services that are due.
            log: logs events.
            seconds: between two rounds of reports; a busy service is in one report of each round.
        """
        self._control = control
        self._reports = reports
        self._log = log
        self._seconds = seconds
        self._wakeup = AsyncBool()
        self._one_at_a_time = trio.Lock()
        self.error = ""
        self.behind_since: float | None = None
        self._backoff = Backoff(FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, random.random)

    def mark(self, service: Service) -> None:
        """Note that the usage of a service has changed."""
        self._reports.mark(service)
        self._wakeup.value = True

    def gone(self, service: Service) -> None:
        """Note that a service was removed; its last totals are still reported."""
        if not self._reports.gone(service):
            self._log.notice("totals lost: too many services that are no more wait to be reported")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send a round of reports every so many seconds while services are due, until cancelled.

        After a cancel the services of a report under way are due again.
        """
        task_status.started()
        while True:
            await self._wakeup.wait_value(True)
            self._wakeup.value = False
            if self.behind_since is None:
                self.behind_since = trio.current_time()
            await trio.sleep(self._seconds)
            began_at = trio.current_time()
            due = ceil(len(self._reports) / SERVICES_PER_REPORT)  # later changes belong to the next round
            while due:
                if await self._send():
                    self._backoff.succeeded()
                    due -= 1
                else:
                    await trio.sleep(self._backoff.failed())
            self.behind_since = began_at if self._reports else None

    def lag(self, now: float) -> float:
        """Give the age of the oldest change that is not acknowledged, in seconds; 0 if there is none."""
        return 0.0 if self.behind_since is None else max(0.0, now - self.behind_since)

    async def flush(self, seconds: float) -> None:
        """Send all reports that are due, after one under way, within `seconds`; stop at the first that fails."""
        with trio.move_on_after(seconds):
            while await self._send() and self._reports:
                pass

    async def _send(self) -> bool:
        """Send one report, after a report under way; return whether it was acknowledged, or nothing was due."""
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
        except BaseException as raised:
            stop, fault = parted(raised)
            if stop is not None or fault is None:
                raise
            error = message_of(fault) or quote_fault(fault)
        finally:
            if arrived:
                self._reports.confirm(report.sequence, services)
            else:
                self._reports.lost(services)
        if not arrived:
            self._log.notice("report failed", error=error)
        elif self.error:
            self._log.say("reports are acknowledged again")
        self.error = "" if arrived else error
        return arrived
