"""Ask a checker about devices, in the background: one question a device, so many at a time, each with a deadline."""

import inspect
import random
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol, TypeAlias
from weakref import WeakValueDictionary

import trio
from trio_util import AsyncBool

from ...services.control_plane import DeviceVerdict
from ...structures.backoff import Backoff
from ...telemetry.observer import Observer

CHECKS_AT_A_TIME: Final = 64

FIRST_RETRY_SECONDS: Final = 0.2
MAX_RETRY_SECONDS: Final = 5.0

Check: TypeAlias = Callable[[str, str], Awaitable[DeviceVerdict]]
"""Asked about a service and a device."""


def is_check(value: object) -> bool:
    """Say whether a value is an async function, an object that is called like one, or a partial of these."""
    while isinstance(value, partial):
        value = value.func
    return inspect.iscoroutinefunction(value) or (callable(value) and inspect.iscoroutinefunction(type(value).__call__))


class Asker(Protocol):
    """Who wants to know. Told once of every question that it asked, unless the checks are cancelled, or it forgets."""

    def answered(self, service: str, device: str, verdict: DeviceVerdict, /) -> None:
        """The checker has spoken."""

    def unanswered(self, service: str, device: str, /) -> bool:
        """It has not, in time or at all; True to ask again after a pause."""


class _Subject:
    """A service, for as long as a question about it is open: what they all hold, and who forgets it does not find."""

    __slots__ = ("__weakref__",)


class DeviceChecks:
    """The questions that wait and those under way. That a device is asked about once is the asker's to see to."""

    def __init__(self, check: Check, asker: Asker, observer: Observer, seconds: float) -> None:
        """Ask nothing yet.

        Args:
            check: the checker.
            asker: told what it said.
            observer: told, at most once a second, that it fails.
            seconds: the deadline of one question, above 0.
        """
        self._check = check
        self._asker = asker
        self._observer = observer
        self._seconds = seconds
        self._waiting: deque[tuple[str, str, _Subject]] = deque()
        self._subjects: WeakValueDictionary[str, _Subject] = WeakValueDictionary()
        self._wakeup = AsyncBool()
        self._places = trio.Semaphore(CHECKS_AT_A_TIME)
        self._backoff = Backoff(FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, random.random)

    def ask(self, service: str, device: str) -> None:
        """Put a question; its answer comes from the worker. O(1)."""
        subject = self._subjects.get(service)
        if subject is None:
            subject = self._subjects[service] = _Subject()
        self._put(service, device, subject)

    def _put(self, service: str, device: str, subject: _Subject) -> None:
        self._waiting.append((service, device, subject))
        self._wakeup.value = True

    def forget(self, service: str) -> None:
        """Ask no more about a service, and tell nobody what comes of what was asked; later questions are others. O(1).

        Checks under way go on to their end, and take their places until then.
        """
        self._subjects.pop(service, None)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ask what there is to ask, until cancelled; questions under way are dropped then."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                await self._wakeup.wait_value(True)
                self._wakeup.value = False
                while self._waiting:
                    await self._places.acquire()
                    nursery.start_soon(self._ask, *self._waiting.popleft())

    async def _ask(self, service: str, device: str, subject: _Subject) -> None:
        try:
            verdict = await self._verdict(service, device) if self._stands(service, subject) else None
        finally:
            self._places.release()
        if not self._stands(service, subject):
            return
        if verdict is not None:
            self._backoff.succeeded()
            self._asker.answered(service, device, verdict)
        elif self._asker.unanswered(service, device):
            await trio.sleep(self._backoff.failed())
            self._put(service, device, subject)

    def _stands(self, service: str, subject: _Subject) -> bool:
        return self._subjects.get(service) is subject

    async def _verdict(self, service: str, device: str) -> DeviceVerdict | None:
        error = f"no answer within {self._seconds:g} s"
        try:
            with trio.move_on_after(self._seconds):
                verdict = await self._check(service, device)
                # What is no number raises, what is too large for a float does, and NaN is not at least 0.
                if isinstance(verdict, DeviceVerdict) and verdict.seconds >= 0 and float(verdict.seconds) >= 0:
                    return verdict
                error = f"the checker answered {verdict!r}, which is no DeviceVerdict"
        except Exception as fault:
            error = repr(fault)
        self._observer.notice("device check failed", service=service, error=error)
        return None
