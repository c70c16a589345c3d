"""The sources, services or devices with most sessions or bytes."""

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, TypeAlias

from ...loop.slices import Stepwise, in_slices
from ...services.registry import devices_of, sources_of
from ...session.session import Session
from ..asking import Answers, EdgeAsker, Parameters
from ..local import Local
from ..shapes import COUNT, TEXT, or_null, several, table
from ..smallest import smallest

ITEM: Final = table(key=TEXT, service=or_null(TEXT), live=COUNT, bytes_up=COUNT, bytes_down=COUNT)

TOP: Final = table(items=several(ITEM), next={"type": "null"})

BY: Final = ("source", "service", "device")
ORDERS: Final = ("live", "bytes")

CANDIDATES: Final = 1_000
"""The busiest keys that each of several processes names, so that the busiest of all are among them."""

SESSIONS_A_STEP: Final = 16

ROWS_A_STEP: Final = 64

_Row: TypeAlias = tuple[str, str, int, int, int]
"""The service of a device, else an empty text; a key; its sessions, and their bytes up and down."""


def top_here(local: Local, parameters: Parameters) -> Stepwise[list[_Row]]:
    """Give the busiest keys of this process, as rows."""
    rows = yield from _rows(local, parameters["by"], None)
    return (yield from smallest(rows, CANDIDATES, _rank(parameters["order"])))


def top_named_here(local: Local, parameters: Parameters) -> Stepwise[list[_Row]]:
    """Give the rows of some keys."""
    return (yield from _rows(local, parameters["by"], {tuple(each) for each in parameters["keys"]}))


async def collect_top(asker: EdgeAsker, parameters: Parameters) -> dict[str, Any]:
    """Ask for the busiest keys: those whose sums over all processes are the largest."""
    answers = await asker.ask("top", parameters)
    if len(answers.given) > 1:
        keys = sorted({(row[0], row[1]) for each in answers.values for row in each})
        answers = await asker.ask("top-named", {"by": parameters["by"], "keys": keys})
    rows = sorted(await in_slices(_added(answers)), key=_rank(parameters["order"]))[: parameters["limit"]]
    items = [
        {"key": key, "service": service or None, "live": live, "bytes_up": up, "bytes_down": down}
        for service, key, live, up, down in rows
    ]
    return {"items": items, "next": None}


def _added(answers: Answers) -> Stepwise[list[_Row]]:
    total: dict[tuple[str, str], list[int]] = {}
    for each in answers.values:
        for number, (service, key, *counts) in enumerate(each):
            before = total.get((service, key), (0, 0, 0))
            total[service, key] = [a + b for a, b in zip(before, counts, strict=True)]
            if not number % ROWS_A_STEP:
                yield
    return [(*key, live, up, down) for key, (live, up, down) in total.items()]


def _rank(order: str) -> Callable[[_Row], Any]:
    if order == "live":
        return lambda row: (-row[2], row[1], row[0])
    return lambda row: (-row[3] - row[4], row[1], row[0])


def _rows(local: Local, by: str, only: Collection[tuple[str, str]] | None) -> Stepwise[list[_Row]]:
    """Add the sessions of each key up; a service has all the bytes of its sessions, the ended ones too."""
    rows: list[_Row] = []
    if by == "service":
        for number, service in enumerate([*local.services]):
            if service.live and (only is None or ("", service.name) in only):
                rows.append(("", service.name, service.live, service.up.bytes, service.down.bytes))
            if not number % ROWS_A_STEP:
                yield
        return rows
    steps = 0
    for key, sessions in _groups(local, by):
        steps += 1
        if not steps % SESSIONS_A_STEP:
            yield
        if only is not None and key not in only:
            continue
        live = up = down = 0
        for session in tuple(sessions):
            live, up, down = live + 1, up + session.bytes_up, down + session.bytes_down
            steps += 1
            if not steps % SESSIONS_A_STEP:
                yield
        if live:
            rows.append((*key, live, up, down))
    return rows


def _groups(local: Local, by: str) -> Iterator[tuple[tuple[str, str], Collection[Session]]]:
    if by == "source":
        text = local.description.source_keys.text
        for key, sessions in sources_of(local.run.supervisor.live):
            yield ("", text(key)), sessions
    else:
        for sessions in devices_of(local.run.supervisor.live):
            first = next(iter(sessions), None)
            if first is not None:
                yield (first.service.name, first.device or ""), sessions
