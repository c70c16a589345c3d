"""The counts of an edge."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import attrs
import trio

from ...loop.slices import Stepwise
from ..asking import Answers, Parameters
from ..local import Local
from ..shapes import COUNT, COUNTS, NUMBER, TEXT, or_null, several, table
from .past import NUMBERS, TABLES, added

MEMBER: Final = table(group=TEXT, address=TEXT, state=TEXT, weight=NUMBER, live=COUNT, opened=COUNT, failed=COUNT)

WORKER: Final = table(
    number=COUNT, pid=COUNT, live=COUNT, accepted=COUNT, generation=COUNT, state=TEXT, stall_ms=or_null(NUMBER)
)

STATISTICS: Final = table(
    edge=TEXT, version=TEXT, phase=TEXT, uptime_seconds=NUMBER, accepted=COUNT, live=COUNT, in_handshake=COUNT,
    refused=COUNTS, ended=COUNTS, bytes_up=COUNT, bytes_down=COUNT, observers_lost=COUNT, api_errors=COUNTS,
    members=several(MEMBER), workers=several(WORKER), missing=several(COUNT),
)  # fmt: skip

SUMMED: Final = (*NUMBERS, "live", "in_handshake")

PHASES: Final = ("serving", "starting", "idle", "draining", "stopped")
"""The phase of several processes is the first of these that one of them has."""


@lru_cache
def own_version() -> str:
    """Give the version of trioedge; empty where it is not installed as a package."""
    from importlib.metadata import PackageNotFoundError, version  # few processes are asked

    try:
        return version("trioedge")
    except PackageNotFoundError:
        return ""


def statistics_here(local: Local, parameters: Parameters) -> Stepwise[dict[str, Any]]:
    """Give the counts of this process."""
    yield
    run = local.run
    counts = run.statistics()
    return {
        "edge": local.description.known_name,
        "version": own_version(),
        "phase": local.phase.value,
        "uptime_seconds": round(trio.current_time() - local.began_at, 3),
        "accepted": counts.accepted,
        "live": counts.live,
        "in_handshake": 0 if run.sessions is None else len(run.sessions.waiting),
        "refused": {str(reason): count for reason, count in counts.refused.items()},
        "ended": {str(reason): count for reason, count in counts.ended.items()},
        "bytes_up": counts.bytes_up,
        "bytes_down": counts.bytes_down,
        "observers_lost": counts.observers_lost,
        "api_errors": {},
        "members": [attrs.asdict(each) for each in counts.members],
    }


def merge_statistics(answers: Answers, parameters: Parameters) -> dict[str, Any]:
    """Add the counts of all processes up, with those of processes that are over."""
    values, past = answers.values, [answers.past] if answers.past else []
    first: Mapping[str, Any] = values[0] if values else _NOTHING
    merged = {**first, **{name: sum(each[name] for each in values) for name in SUMMED}}
    merged |= {name: merged[name] + sum(each[name] for each in past) for name in NUMBERS}
    merged |= {name: added(each[name] for each in (*values, *past)) for name in TABLES}
    merged["phase"] = phase_of([each["phase"] for each in values])
    merged["uptime_seconds"] = max([answers.seconds, *(each["uptime_seconds"] for each in values)])
    merged["members"] = _members(values)
    merged["workers"] = [
        {
            "number": each.worker.number,
            "pid": each.worker.pid,
            "live": each.value["live"],
            "accepted": each.value["accepted"],
            "generation": each.worker.generation,
            "state": each.worker.state,
            "stall_ms": each.worker.stall_ms,
        }
        for each in answers.given
    ]
    merged["missing"] = [each.number for each in answers.missing]
    return merged


_NOTHING: Final[Mapping[str, Any]] = {"edge": "", "version": "", "phase": "stopped"}


def phase_of(phases: Sequence[str]) -> str:
    """Give the phase of an edge out of those of its processes."""
    return next((phase for phase in PHASES if phase in phases), "stopped")


_NO_SESSIONS: Final = {"live": 0, "opened": 0, "failed": 0}


def _members(values: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Add the counts of members up; the state is that of the first process that has another one than ``well``."""
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for each in values:
        for member in each["members"]:
            known = merged.setdefault((member["group"], member["address"]), {**member, **_NO_SESSIONS})
            for name in _NO_SESSIONS:
                known[name] += member[name]
            if known["state"] == "well":
                known["state"], known["weight"] = member["state"], member["weight"]
    return list(merged.values())
