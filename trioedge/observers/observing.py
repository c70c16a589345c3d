"""The observers of one run of an edge: opened, at work, and closed.

They start before the edge listens and end when all its sessions have ended, so that they are told of every session.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from ..services.context import EdgeContext
from ..session.kinds import close_parts, name_of
from ..telemetry.log import EdgeLog
from .check import open_observer
from .worker import ObserverWorker


class Observing:
    """Opens observers into a nursery; :func:`observing` makes it."""

    def __init__(self, observers: Sequence[object], log: EdgeLog, nursery: trio.Nursery | None) -> None:
        self._observers = observers
        self._log = log
        self._nursery = nursery
        self._workers: list[ObserverWorker] = []
        self._live: list[object] = []

    def open(self, context: EdgeContext) -> None:
        """Open the observers and start their workers, in order.

        Raises:
            ConfigurationError: an ``open`` made no observer, or refused; those before it are at work.
        """
        for number, observer in enumerate(self._observers, 1):
            name = name_of(observer)
            live = open_observer(observer, context, f"observer {number} ({name})")
            if live is None:
                self._log.say("observer is off", observer=name)
                continue
            self._live.append(live)
            worker = ObserverWorker(live, name, self._log)
            self._workers.append(worker)
            context.watch(worker.pending)
            assert self._nursery is not None, "observing() opens one for observers"
            self._nursery.start_soon(worker.run)

    def end(self) -> None:
        """Let the workers deliver what is left, within a second, and end."""
        for worker in self._workers:
            worker.end()

    def close(self) -> None:
        """Close the live observers, last in first out."""
        close_parts(self._live, self._log)


@asynccontextmanager
async def observing(observers: Sequence[object], log: EdgeLog) -> AsyncIterator[Observing]:
    """Have observers at work for the length of a block, from :meth:`Observing.open` on.

    At its end they get their last batch, within a second, also in a cancelled scope; then they are closed.
    """
    if not observers:
        yield Observing((), log, None)
        return
    at_work = None
    try:
        async with trio.open_nursery() as nursery:
            at_work = Observing(observers, log, nursery)
            try:
                yield at_work
            finally:
                at_work.end()
    finally:
        if at_work is not None:
            at_work.close()
