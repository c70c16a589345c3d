"""Several edges in one event loop: one that cannot start, or that fails, costs itself alone."""

import gc
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, TypeAlias

import trio

from ..errors import ConfigurationError, EdgeError, ListenError
from ..telemetry.tracebacks import detached
from .exit_code import ExitCode

COLLECT: Final = (20_000, 10, 1_000)
"""The garbage collector's thresholds: a full pass comes a hundred times less often than by default, because with 50,000
new devices or sessions one takes 0.1 s."""

Serve: TypeAlias = Callable[..., Awaitable[int]]
"""Serves an edge, with a `task_status`, and gives how many sessions were cut."""


class Together:
    """Edges that are served together.

    Attributes:
        cut: how many sessions were cut.
    """

    def __init__(
        self,
        serves: Mapping[str, Serve],
        settled: Callable[[str], object] = lambda _: None,
        ready: Callable[[], object] = lambda: None,
    ) -> None:
        """Serve nothing yet.

        Args:
            serves: by the name of the edge.
            settled: called with the name of each edge that is ready, or has failed.
            ready: called once every edge is settled, unless all of them have failed.
        """
        self._serves = serves
        self._settled, self._ready = settled, ready
        self._waiting = _Settled(serves)
        self._failures: list[Exception] = []
        self.cut = 0

    async def serve(self) -> None:
        """Serve all, until each has drained."""
        async with trio.open_nursery() as nursery:
            for name in self._serves:
                nursery.start_soon(self._serve, name)

    async def _serve(self, name: str) -> None:
        from structlog.contextvars import bound_contextvars  # to check an edge takes no log

        status = _Starting(name, self._settle)
        if len(self._serves) == 1:
            self.cut += await self._serves[name](task_status=status)
            return
        with bound_contextvars(edge=name):
            try:
                self.cut += await self._serves[name](task_status=status)
            except Exception as fault:
                self._failures.append(_told(fault, name))
                self._settle(name)

    def _settle(self, edge: str) -> None:
        ready = self._waiting.settle(edge)
        self._settled(edge)
        if ready and len(self._failures) < len(self._serves):
            self._ready()

    def code(self) -> ExitCode:
        """Give the exit code.

        Raises:
            ConfigurationError: none of several edges has started.
            EdgeError: the same, for another exception.
        """
        if self._serves and len(self._failures) == len(self._serves):
            raise self._failures[0]
        return ExitCode.FAULT if self._failures else ExitCode.CUT if self.cut else ExitCode.DRAINED


class _Settled:
    """Waits for every edge; once all are ready, or have failed, hides all present objects from the garbage collector.

    They stay for the life of the process, the services of the first snapshots among them. A full pass over them would
    delay every session.
    """

    def __init__(self, edges: Iterable[str]) -> None:
        self._starting = set(edges)

    def settle(self, edge: str) -> bool:
        """Note that an edge is ready or has failed, and return whether it was the last; a second time does nothing."""
        if edge not in self._starting:
            return False
        self._starting.remove(edge)
        if self._starting:
            return False
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT)
        return True


class _Starting:
    """The task status of one edge."""

    def __init__(self, edge: str, settle: Callable[[str], object]) -> None:
        self._edge, self._settle = edge, settle

    def started(self, value: object = None) -> None:  # noqa: ARG002 - the shape of a task status
        self._settle(self._edge)


def _told(fault: Exception, edge: str) -> Exception:
    """Log why one of several edges has failed, and give the exception for the case that all have."""
    from structlog import get_logger

    only = fault
    while isinstance(only, ExceptionGroup) and len(only.exceptions) == 1:
        (only,) = only.exceptions
    if isinstance(only, ConfigurationError):
        get_logger("trioedge").error("edge cannot start", error=str(only))
        return (ListenError if isinstance(only, ListenError) else ConfigurationError)(f"edge.{edge}: {only}")
    get_logger("trioedge").critical("edge failed", traceback=detached(fault))
    return EdgeError(f"edge.{edge} failed; its exception is in the log")
