"""Whether an edge is ready, and its drain."""

from math import isinf
from typing import Any, Final

from ...loop.slices import Stepwise
from ..asking import Answers, Parameters
from ..local import Local
from ..shapes import COUNT, FLAG, NUMBER, TEXT, or_null, table
from .statistics import phase_of

HEALTH: Final = table(status={"const": "ok"})
READY: Final = table(ready=FLAG, phase=TEXT, workers=COUNT, workers_ready=COUNT)
RESTART: Final = table(generation=COUNT, under_way=FLAG, refused=TEXT)
DRAIN: Final = table(phase=TEXT, live=COUNT, deadline_seconds=or_null(NUMBER))

SILENT_MS: Final = 1_000.0
"""A process whose loop is silent for so long may not accept clients."""


def phase_here(local: Local, parameters: Parameters) -> Stepwise[dict[str, Any]]:
    """Give the phase of this process, its live sessions, how long they may go on, and how long after a drain."""
    yield
    at, seconds = local.run.drain_at, local.run.drain_seconds
    left = None if at is None else max(0.0, at - local.now())
    return {
        "phase": local.phase.value,
        "live": len(local.run.supervisor.live),
        "deadline_seconds": None if left is None or isinf(left) else round(left, 3),
        "seconds": None if isinf(seconds) else seconds,
    }


def merge_ready(answers: Answers, parameters: Parameters) -> dict[str, Any]:
    """Tell whether a process serves; one of an old version may, although it does not answer here, amid a restart."""
    phases = [each["phase"] for each in answers.values]
    serving = phases.count("serving")
    accepting = sum(each.state == "ready" and (each.stall_ms or 0.0) < SILENT_MS for each in answers.missing)
    phases += ["serving"] * accepting
    return {
        "ready": serving + accepting > 0,
        "phase": phase_of(phases),
        "workers": len(answers.given) + len(answers.missing),
        "workers_ready": serving + accepting,
    }


def merge_drain(answers: Answers, parameters: Parameters) -> dict[str, Any]:
    """Give the phase, the sessions that are left, and the longest time that they have."""
    values = answers.values
    left = [each["deadline_seconds"] for each in values if each["deadline_seconds"] is not None]
    return {
        "phase": phase_of([each["phase"] for each in values]),
        "live": sum(each["live"] for each in values),
        "deadline_seconds": max(left, default=None),
    }
