"""Questions to the device checker, asked in the background: bounded in number and time, repeated while needed.

| a question | event | then |
| --- | --- | --- |
| waits | a place is free, and the asker wants the answer | in flight |
| waits | a place is free, and no session waits for the answer | dropped |
| in flight | a verdict | done; the asker is notified |
| in flight | an error, no answer in time, or no verdict | the asker is notified: pausing if it asks again, else done |
| pausing | its delay is over, which grows with each failure | waits |
| any | its service is removed | dropped at its next step; the asker is not notified |
| any | cancel | dropped |
"""

import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

import trio
from trio_util import AsyncBool

from ...errors import quote, quote_fault
from ...services.control_plane import DeviceGoneError, DeviceVerdict, read_verdict
from ...services.service import Service
from ...structures.backoff import Backoff
from ...telemetry.log import STOPS, EdgeLog, parted

CHECKS_AT_A_TIME: Final = 64

FIRST_RETRY_SECONDS: Final = 0.2
MAX_RETRY_SECONDS: Final = 5.0

Check: TypeAlias = Callable[[str, str], Awaitable[DeviceVerdict]]
"""The checker: an async function of the name of a service and of a device."""


class Asker(Protocol):
    """The object that asks, notified once of every question, unless its service is removed or the checks end."""

    def wanted(self, service: Service, device: str, /) -> bool:
        """Return whether a question that has waited is still to be asked; if not, it is over."""

    def answered(self, service: Service, device: str, verdict: DeviceVerdict, /) -> None:
        """Apply the checker's verdict, whose fields have the types that they should have."""

    def unanswered(self, service: Service, device: str, /) -> bool:
        """Note that the checker did not answer; return True to ask again after a pause."""


class DeviceChecks:
    """The questions that wait and those in flight. The asker sees to it that there is one question for each device."""

    def __init__(self, check: Check, asker: Asker, log: EdgeLog, seconds: float) -> None:
        """Start without a question.

        Args:
            check: the checker.
            asker: notified of the answers.
            log: logs failures, at most one a second.
            seconds: the time limit of one question, above 0.
        """
        self._check = check
        self._asker = asker
        self._log = log
        self._meter = log.meters.devices
        self._seconds = seconds
        self._waiting: deque[tuple[Service, str]] = deque()  # first in, first out
        self._wakeup = AsyncBool()  # True while the worker has not looked at the latest question
        self._places = trio.Semaphore(CHECKS_AT_A_TIME)
        self._backoff = Backoff(FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, random.random)

    def ask(self, service: Service, device: str) -> None:
        """Ask about a device; the asker is notified later, from within :meth:`run`. O(1)."""
        self._waiting.append((service, device))
        self._wakeup.value = True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ask until cancelled. A cancel also cancels the questions in flight; the asker is not notified of them."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                await self._wakeup.wait_value(True)
                self._wakeup.value = False
                while self._waiting:
                    await self._places.acquire()
                    nursery.start_soon(self._ask, *self._waiting.popleft())

    async def _ask(self, service: Service, device: str) -> None:
        try:
            if service.removed or not self._wanted(service, device):
                return
            verdict = await self._verdict(service.name, device)
        finally:
            self._places.release()
        if not service.removed and self._notify(service, device, verdict):
            await trio.sleep(self._backoff.failed())
            self.ask(service, device)

    def _wanted(self, service: Service, device: str) -> bool:
        try:
            return self._asker.wanted(service, device)
        except STOPS:
            raise
        except BaseException as fault:
            self._log.fault("device limit failed", fault, service=service.name)
            return False

    def _notify(self, service: Service, device: str, verdict: DeviceVerdict | None) -> bool:
        """Notify the asker and return whether to ask again. An exception costs this question and no other."""
        try:
            if verdict is None:
                return self._asker.unanswered(service, device)
            self._backoff.succeeded()
            self._asker.answered(service, device, verdict)
        except STOPS:
            raise
        except BaseException as fault:
            self._log.fault("device limit failed", fault, service=service.name)
        return False

    async def _verdict(self, service: str, device: str) -> DeviceVerdict | None:
        error = f"no answer within {self._seconds:g} s"
        self._meter.asked += 1
        began_at = trio.current_time()
        try:
            with trio.move_on_after(self._seconds):
                verdict = await self._check(service, device)
                if (good := read_verdict(verdict)) is not None:
                    self._meter.seconds.add(trio.current_time() - began_at)
                    return good
                error = f"the checker answered {quote(verdict, 200)}, which is no DeviceVerdict"
        except DeviceGoneError:
            return None
        except BaseException as raised:
            stop, fault = parted(raised)
            if stop is not None or fault is None:
                raise
            error = quote_fault(fault)
        self._meter.failed += 1
        self._log.notice("device check failed", service=service, error=error)
        return None
