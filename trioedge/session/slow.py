"""Name the decisions that take long in the log, because every client of the edge waits for them."""

from collections.abc import Sequence
from typing import Final

from .kinds import name_of
from .surroundings import NoticeLog

SLOW_NANOSECONDS: Final = 50_000_000
"""Decisions that take longer than 50 ms together are looked at; each that takes longer by itself is named."""


def warn_of_slow(stages: Sequence[object], times: Sequence[int], log: NoticeLog | None) -> None:
    """Log each stage that took longer than 50 ms.

    Args:
        stages: adjacent decisions.
        times: their nanoseconds, as in :attr:`Session.trace`, as far as they were asked.
        log: of the edge; None where there is none.
    """
    if log is None:
        return
    for stage, took in zip(stages, times, strict=False):
        took = took if took >= 0 else ~took
        if took > SLOW_NANOSECONDS:
            log.notice("a stage is slow, and every client waits for it", stage=name_of(stage), ms=round(took / 1e6))
