"""The end of the children: those of an old version, and all of them.

| signals that end | action |
| --- | --- |
| none | serve |
| one | close the sockets; the workers drain, and behind the last one the control processes end |
| two | the workers cut their sessions |
| three | kill every child |
"""

import signal
from collections.abc import Iterable
from typing import Any, Final

from ..exit_code import ExitCode
from .children import Child, Children

SPARE_SECONDS: Final = 5.0
"""How long a child may take to end beyond the drain of its sessions; then it is killed."""


class Ending:
    """Has children end, and knows the exit code of the parent.

    Attributes:
        stops: how many signals that end have come.
        code: the exit code so far.
    """

    def __init__(self, children: Children, drain_seconds: float, log: Any) -> None:
        """Have none end.

        Args:
            children: of the parent.
            drain_seconds: the longest of all edges.
            log: a logger.
        """
        self._children, self._drain_seconds, self._log = children, drain_seconds, log
        self.stops = 0
        self.code = ExitCode.DRAINED

    def allow(self, seconds: float) -> None:
        """Let a drain take at least so long."""
        self._drain_seconds = max(self._drain_seconds, seconds)

    def stop(self, now: float, seconds: float | None = None) -> None:
        """Follow one more signal that ends.

        Args:
            now: seconds of the monotonic clock.
            seconds: how long sessions may go on; None for as long as each edge says.
        """
        self.stops += 1
        workers = self._children.workers()
        if self.stops == 1:
            self._log.info("draining", workers=len(workers), seconds=self._drain_seconds)
            self.drain(workers, now, seconds)
        elif self.stops == 2:
            for child in workers:
                child.orders.send({"do": "cut"})
        else:
            self._log.critical("ended at once by a third signal")
            for child in self._children.all.values():
                self._children.signal(child, signal.SIGKILL)
            self.code = ExitCode.KILLED

    def drain(self, workers: Iterable[Child], now: float, seconds: float | None = None) -> None:
        """Have workers drain."""
        self._tell(workers, "drain", now + self._drain_seconds + SPARE_SECONDS, seconds=seconds)

    def retire(self, controls: Iterable[Child], now: float) -> None:
        """Have old control processes hand over to a new one."""
        self._tell(controls, "retire", now + self._drain_seconds + 2 * SPARE_SECONDS)

    def drop(self, children: Iterable[Child], now: float) -> None:
        """Have children end that have never served, because another version has come before they were ready."""
        for child in children:
            order = "retire" if child.is_control else "drain"
            self._tell([child], order, now + SPARE_SECONDS, seconds=0.0)

    def end_controls(self, now: float) -> None:
        """Have the control processes end, once no worker is left."""
        if not self._children.workers():
            self._tell(self._children.all.values(), "end", now + SPARE_SECONDS)

    def _tell(self, children: Iterable[Child], order: str, deadline: float, **facts: object) -> None:
        for child in children:
            if child.told in ("", "retire") and child.told != order:
                child.told, child.deadline = order, deadline
                child.orders.send({"do": order, **facts})

    def seconds_left(self, now: float) -> float:
        """Give the longest time that a child has yet to end."""
        return (
            max((each.deadline for each in self._children.all.values() if each.deadline is not None), default=now) - now
        )

    def kill_late(self, now: float) -> None:
        """Kill those that have not ended in time."""
        for child in self._children.all.values():
            if child.deadline is not None and now > child.deadline:
                self._log.error("child has not ended, and is killed", child=child.title, pid=child.pid)
                self._children.signal(child, signal.SIGKILL)
                child.deadline = now + SPARE_SECONDS

    def ended(self, code: int) -> None:
        """Note the exit code of a child that was told to end."""
        if code == ExitCode.CUT and self.code is ExitCode.DRAINED:
            self.code = ExitCode.CUT
        elif code not in (ExitCode.DRAINED, ExitCode.CUT) and self.code in (ExitCode.DRAINED, ExitCode.CUT):
            self.code = ExitCode.FAULT
