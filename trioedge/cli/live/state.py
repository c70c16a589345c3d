"""``trioedge state``: whether an edge is well, in one look; with ``--check`` as an exit code."""

import time
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeAlias

from cyclopts import Parameter

from ..client.client import EdgeClient, path_of
from ..client.which import NOTHING_SAID, Asked
from ..table import Cell, Value, print_facts, shown
from ..words import count, span
from .machine import machine_facts
from .statistics import print_workers

NOT_READY: Final = 1

Facts: TypeAlias = list[tuple[str, Value]]


def state(*, check: Annotated[bool, Parameter(negative="")] = False, asked: Asked = NOTHING_SAID) -> int:
    """Show whether a serving edge is well: phase and workers, control plane, reports, listeners, and its machine.

    Args:
        check: Print one line only, and exit with code 1 while the edge is not ready: a health check of a container.
        asked: Which edge, and how to print.
    """
    return asked.run(partial(_check if check else _state, asked))


async def _ready(client: EdgeClient) -> Any:
    return await client.ask("GET", "/ready", allowed=HTTPStatus.SERVICE_UNAVAILABLE)


async def _check(asked: Asked, client: EdgeClient) -> int:
    ready = await _ready(client)
    if asked.json:
        asked.print_json(ready)
    else:
        print(_readiness(ready).text)
    return 0 if ready["ready"] else NOT_READY


def _readiness(ready: dict[str, Any]) -> Cell:
    workers = f", {ready['workers_ready']} of {count(ready['workers'], 'worker')}" if ready["workers"] > 1 else ""
    whole = ready["ready"] and ready["workers_ready"] == ready["workers"]
    style = "green" if whole else "yellow" if ready["ready"] else "red"
    return Cell(f"{'ready' if ready['ready'] else 'not ready'}: {shown(ready['phase'])}{workers}", style)


async def _state(asked: Asked, client: EdgeClient) -> None:
    ready = await _ready(client)
    counts = await client.get(path_of("statistics"))
    control = await client.get(path_of("state"))
    machine = await client.get(path_of("machine"))
    if asked.json:
        asked.print_json({"ready": ready, "statistics": counts, "state": control, "machine": machine})
        return
    version = f", trioedge {shown(counts['version'])}" if counts["version"] else ""
    facts: Facts = [
        ("edge", f"{shown(counts['edge'])}, up {span(counts['uptime_seconds'])}{version}"),
        ("accepts", _readiness(ready)),
        ("live", f"{counts['live']:,} of {counts['accepted']:,} accepted"),
        *_control_facts(control),
        *machine_facts(machine),
    ]
    print_facts(facts)
    print_workers(counts)


def _control_facts(control: dict[str, Any]) -> Facts:
    """Say which version holds, since when the control plane is gone, whether reports get through, what is not open."""
    version = f"version {shown(control['version'])}" if control["version"] else "no version"
    applied = f", applied {span(_since(control['applied_at']))} ago" if control["applied_at"] is not None else ""
    facts: Facts = [("services", f"{control['services']:,}, {version}{applied}")]
    if control["error"]:
        failing = span(_since(control["failing_since"]))
        facts.append(("control plane", Cell(f"fails for {failing}: {shown(control['error'])}", "red")))
    else:
        facts.append(("control plane", Cell("answers", "green")))
    waiting = f"{count(control['unreported'], 'service')} to report"
    if control["report_error"]:
        facts.append(("reports", Cell(f"not acknowledged, {waiting}: {shown(control['report_error'])}", "red")))
    else:
        facts.append(("reports", f"{control['reported']:,} acknowledged, {waiting}"))
    if control["listeners"] or control["listen_errors"]:
        facts.append(("listeners", f"{control['listeners']:,} of services open"))
    facts += [("not open", Cell(shown(error), "red")) for error in control["listen_errors"]]
    return facts


def _since(moment: float | None) -> float | None:
    return None if moment is None else max(0.0, time.time() - moment)
