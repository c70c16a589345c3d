"""Connects to one upstream, or to all of an edge: how many, how long they took, how many failed, and why the last did.

| a connect | is counted in |
| --- | --- |
| under way | `under_way` |
| answered by the upstream | `seconds`, from the first packet to the address that answered, without the name |
| of a session, and taken at once by this machine's kernel | `at_once`; no upstream has answered, so it has no time |
| failed, once its retries and addresses are used up | `failures` |
| cancelled, because its session has ended | nothing |
"""

from typing import Final

from .histogram import SECOND, Histogram

MAX_LETTERS: Final = 200
"""Of an error that is kept."""


class ConnectMeter:
    """The counts of one upstream, which are also added to those of the edge.

    Attributes:
        seconds: the times of connects that were answered; None before the first.
        at_once: connects that the kernel of this machine took at once.
        failures: connects that failed.
        under_way: connects that wait for the upstream now.
        failing: whether the last one that was over had failed.
        last_error: of the last one that failed; empty if none has.
        total: the counts of the edge; None for those of the edge themselves.
    """

    __slots__ = ("at_once", "failing", "failures", "last_error", "seconds", "total", "under_way")

    def __init__(self, total: "ConnectMeter | None" = None) -> None:
        """Start without a connect; a histogram is made with the first, because most upstreams of a proxy have few."""
        self.total = total
        self.seconds: Histogram | None = None
        self.at_once = self.failures = self.under_way = 0
        self.last_error, self.failing = "", False

    def begun(self) -> None:
        """Count a connect that is under way until :meth:`over`."""
        self.under_way += 1
        if self.total is not None:
            self.total.under_way += 1

    def over(self) -> None:
        """Count it no more, whatever came of it."""
        self.under_way -= 1
        if self.total is not None:
            self.total.under_way -= 1

    def answered(self, seconds: float) -> None:
        """Count a connect that an upstream has answered. About 0.3 µs."""
        took = int(seconds * SECOND)
        self.failing = False
        self._count(took)
        if self.total is not None:
            self.total._count(took)

    def taken(self) -> None:
        """Count a connect that the kernel of this machine took at once."""
        self.at_once += 1
        self.failing = False
        if self.total is not None:
            self.total.at_once += 1

    def failed(self, error: str) -> None:
        """Count a connect that has failed.

        Args:
            error: in words; the last one is kept.
        """
        self.failures += 1
        self.last_error, self.failing = error[:MAX_LETTERS], True
        if self.total is not None:
            self.total.failed(error)

    @property
    def connects(self) -> int:
        """Connects that have led to a connection."""
        return self.at_once + (0 if self.seconds is None else self.seconds.count)

    def _count(self, took: int) -> None:
        if self.seconds is None:
            self.seconds = Histogram()
        self.seconds.add_nanoseconds(took)
