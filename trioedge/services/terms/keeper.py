"""The worker that keeps quotas and expiries: it watches the wall clock, and cuts the sessions of what is over."""

from collections.abc import Generator
from itertools import islice
from typing import TYPE_CHECKING, Final

import trio
from trio_util import AsyncBool

from ...loop.slices import in_slices
from ...telemetry.log import STOPS
from ..registry import Registry
from ..service import Service
from .terms import Terms

if TYPE_CHECKING:
    from ...telemetry.log import EdgeLog

REST: Final = 4
"""How many times longer the worker rests than it works, beside sessions: thousands of services may expire at once."""

SESSIONS_PER_STEP: Final = 64
"""Sessions that are marked in one step, which takes some 20 µs."""


class TermsKeeper:
    """One worker for all services. It sleeps while nothing is due."""

    def __init__(self, terms: Terms, live: Registry, log: "EdgeLog") -> None:
        """Start with nothing to do.

        Args:
            terms: the services that are over.
            live: the live sessions.
            log: names the services whose sessions are cut.
        """
        self._terms, self._live, self._log = terms, live, log
        self._wakeup = AsyncBool()
        terms.wake = self._wake

    def _wake(self) -> None:
        self._wakeup.value = True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled. A cut that a cancel stops is ended by the edge, which cuts all sessions then."""
        task_status.started()
        while True:
            with trio.move_on_after(self._terms.next_look()):
                await self._wakeup.wait_value(True)
            self._wakeup.value = False
            try:
                await in_slices(self._work(), rest=REST)
            except STOPS:
                raise
            except BaseException as fault:
                self._log.fault("quotas and expiries failed", fault)
                await trio.sleep(1)  # else one that comes again at once would hold the loop

    def _work(self) -> Generator[None, None, None]:
        """Judge what is due, and cut what is over, in short steps."""
        yield from self._terms.look()
        while (service := self._terms.take()) is not None:
            yield from self._cut(service)

    def _cut(self, service: Service) -> Generator[None, None, None]:
        """Mark the sessions of a service, which are closed in slices; a snapshot that admits it again stops this."""
        if service.over is not None:
            self._log.notice("service is over", service=service.name, reason=str(service.over.reason))
        sessions = self._live.each(service)
        while (over := service.over) is not None and (some := list(islice(sessions, SESSIONS_PER_STEP))):
            self._live.evictions.cut(some, over.reason, over.detail, at_once=0)
            yield
