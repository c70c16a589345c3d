"""The workers of one run of an edge: those of its parts, and the admin socket."""

import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import trio

from ..errors import ConfigurationError
from ..session.kinds import name_of
from ..session.stage import Worker
from ..structures.backoff import Backoff
from ..telemetry.log import EdgeLog, parted

SLOW_START_SECONDS: Final = 5.0
"""A worker that takes longer to start is named in the log."""

FIRST_RETRY_SECONDS: Final = 0.5
MAX_RETRY_SECONDS: Final = 30.0
"""Before a worker that has failed is run again; a run that lasts longer resets the pauses."""

Background: TypeAlias = "Callable[..., Awaitable[object]]"


async def start_worker(nursery: trio.Nursery, part: Worker, log: EdgeLog) -> None:
    """Start the worker of a part; the log names one that does not call ``task_status.started()`` for 5 s.

    A worker that has started and raises is run again after a pause: its sessions, and those of other parts, go on. One
    that returns is not.
    """
    async with trio.open_nursery() as watching:

        async def warn() -> None:
            await trio.sleep(SLOW_START_SECONDS)
            log.notice("worker has not started: its run() must call task_status.started()", stage=name_of(part))

        returned = False

        async def work(*, task_status: trio.TaskStatus[None]) -> None:
            nonlocal returned
            await _kept(part, log, _Status(task_status))
            returned = True

        watching.start_soon(warn)
        try:
            await nursery.start(work, name=part.run)
        except RuntimeError as error:
            if not returned:
                raise
            raise ConfigurationError(
                f"{name_of(part)}: its run() returned and had not called task_status.started(): call it once the "
                "worker is ready, and work until cancelled"
            ) from error
        watching.cancel_scope.cancel()


async def _kept(part: Worker, log: EdgeLog, status: "_Status") -> None:
    """Run a worker, and again whenever it raises; an exception before its first start is raised."""
    backoff = Backoff(FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, random.random)
    while True:
        began = trio.current_time()
        try:
            await part.run(task_status=status)
        except BaseException as raised:
            stop, fault = parted(raised)
            if fault is None or not status.is_started:
                raise
            log.fault("worker failed, and is run again", fault, stage=name_of(part))
            if stop is not None:
                raise stop from None
        else:
            return
        if trio.current_time() - began > MAX_RETRY_SECONDS:
            backoff.succeeded()
        await trio.sleep(backoff.failed())


async def guarded(background: Background, log: EdgeLog, *, task_status: trio.TaskStatus[None]) -> None:
    """Run the admin socket; one that fails once it is there is logged, and the edge goes on without it."""
    status = _Status(task_status)
    try:
        await background(task_status=status)
    except BaseException as fault:
        stop, failure = parted(fault)
        if not status.is_started:
            raise
        if failure is not None:
            log.fault("admin socket failed", failure)
        if stop is not None:
            raise stop from None


class _Status:
    """The status of a task that may be run several times; it passes the first start on, and remembers it."""

    def __init__(self, status: trio.TaskStatus[None]) -> None:
        self._status = status
        self.is_started = False

    def started(self, value: object = None) -> None:  # noqa: ARG002 - the shape of a task status
        if not self.is_started:
            self.is_started = True
            self._status.started()
