"""The worker of one observer: gives it batch after batch, off the way of every session.

| state | event | action | then |
| --- | --- | --- | --- |
| starting | the observer's own ``run`` has started, or it has none | | waiting |
| waiting | a record, which wakes the worker | | gathering |
| gathering | 0.1 s later, or at once if the edge ends | take the batch, await ``observe(batch)`` | observing |
| observing | it returned | | waiting |
| observing | it raised | log it, count the batch as lost | waiting |
| any | the edge has ended | take what is left, await ``observe(batch)``, cancel ``run`` | ended |
| any | a second later | cancel all of it, count what is left as lost | ended |
"""

import time
from typing import Final

import trio
from trio_util import AsyncBool

from ..loop.slices import in_slices
from ..session.stage import Worker
from ..telemetry.log import EdgeLog, parted
from .observer import Batch, Observer
from .pending import Pending

GATHER_SECONDS: Final = 0.1
"""How long records are gathered after the first one, so that a busy edge does not wake a task for each."""

TAKE_REST: Final = 4
"""How many times longer the making of a large batch rests than it works, while other tasks have work."""

SAY_SECONDS: Final = 1.0
"""Between two log lines that say how many records an observer has lost."""

CLOSE_SECONDS: Final = 1.0
"""How long the end of an edge waits for an observer's last batch."""


class ObserverWorker:
    """One live observer of one run of an edge, at work.

    Attributes:
        pending: the records that it has not had yet, and the number of those that it has lost.
    """

    def __init__(self, live: Observer, name: str, log: EdgeLog) -> None:
        """Keep records from now on; :meth:`run` delivers them.

        Args:
            live: the observer.
            name: names it in the log.
            log: has the sessions that were accepted and ended, and says what was lost.
        """
        self._live = live
        self._name = name
        self._log = log
        self._woken = AsyncBool(True)  # the first look at the records asks to be woken
        self._busy = AsyncBool()  # while a batch is observed
        self._ending = trio.Event()
        self._scope = trio.CancelScope(shield=True)  # only `end` ends it, because the last sessions end after a cancel
        self._said = 0
        self.pending = Pending(log.starts, log.ends, log.stages, self._wake)
        log.losses.append(lambda: self.pending.lost)

    def _wake(self) -> None:
        self._woken.value = True

    async def run(self) -> None:
        """Deliver batches until :meth:`end`, and then the last one; a cancel from outside does not end it."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    if isinstance(self._live, Worker):
                        ready = _Ready()
                        nursery.start_soon(self._work, self._live, ready)
                        await ready.event.wait()
                    nursery.start_soon(self._say_losses)
                    await self._deliver_all()
                    nursery.cancel_scope.cancel()
        finally:
            self.pending.close()
            self._say_lost()

    def end(self) -> None:
        """Deliver what is left, within a second, and end."""
        self._ending.set()
        self._wake()
        self._scope.deadline = trio.current_time() + CLOSE_SECONDS

    async def _deliver_all(self) -> None:
        while not self._ending.is_set():
            await self._woken.wait_value(True)
            self._woken.value = False
            with trio.move_on_after(GATHER_SECONDS):
                await self._ending.wait()
            if (batch := await self._taken()) is not None:
                await self._deliver(batch)
        while (batch := await self._taken()) is not None:
            await self._deliver(batch)

    async def _taken(self) -> Batch | None:
        """Take a batch; a cancel loses nothing that :meth:`Pending.close` does not count."""
        return await in_slices(self.pending.take(time.time() - trio.current_time()), rest=TAKE_REST)

    async def _deliver(self, batch: Batch) -> None:
        observed = False
        self._busy.value = True
        try:
            await self._live.observe(batch)
            observed = True
        except BaseException as fault:
            self._failed(fault)
        finally:
            self._busy.value = False
            if not observed:
                self.pending.drop(batch)

    async def _work(self, worker: Worker, ready: "_Ready") -> None:
        """Run the observer's own worker; one that fails is logged, and batches go on."""
        try:
            await worker.run(task_status=ready)
        except BaseException as fault:
            self._failed(fault)
        finally:
            ready.started()

    def _failed(self, fault: BaseException) -> None:
        """Log an exception of the observer; raise a cancel again, and what ends the process."""
        stop, failure = parted(fault)
        if failure is not None:
            self._log.fault("observer failed", failure, observer=self._name)
        if stop is not None:
            raise stop from None

    async def _say_losses(self) -> None:
        """Say what was lost, also while the observer does not return; asleep while it has nothing to do."""
        while True:
            await self._busy.wait_value(True)
            await trio.sleep(SAY_SECONDS)
            self._say_lost()

    def _say_lost(self) -> None:
        lost = self.pending.lost
        if lost > self._said:
            self._log.notice("observer lost records", count=lost - self._said, observer=self._name)
            self._said = lost


class _Ready:
    """The status of an observer's own worker."""

    def __init__(self) -> None:
        self.event = trio.Event()

    def started(self, value: object = None) -> None:  # noqa: ARG002 - the shape of a task status
        self.event.set()
