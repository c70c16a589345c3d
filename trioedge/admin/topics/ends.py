"""Sessions that have ended since a reader looked last, for the event stream."""

import os
from collections.abc import Sequence
from typing import Any, Final

from ...loop.slices import Stepwise
from ...telemetry.records import CAPACITY
from ..asking import Parameters
from ..local import Local
from .explain import ended_item

MAX_ITEMS: Final = 256
"""Ends that one process gives at a time, the latest; of further ones it gives the number."""

ITEMS_A_STEP: Final = 4


def place_of(number: int, pid: int) -> str:
    """Name a process in a table of positions."""
    return f"{number}:{pid}"


def ends_here(local: Local, parameters: Parameters) -> Stepwise[dict[str, Any]]:
    """Give the ends behind a position, and the next position.

    ``seen`` has the position of each process; null where the reader begins, and then there are no ends to give.
    """
    ends, seen = local.run.log.ends, parameters["seen"]
    last = ends.total
    place = place_of(local.number, os.getpid())
    first = last if seen is None else min(last, seen.get(place, 0))
    begin = max(first, last - MAX_ITEMS)
    items: list[dict[str, Any]] = []
    for number in range(begin, last):
        if ends.total - CAPACITY > number or ends.total < last:  # dropped meanwhile
            continue
        items.append(ended_item(local, *ends.fields(number)))
        if not len(items) % ITEMS_A_STEP:
            yield
    return {"place": place, "position": last, "items": items, "lost": last - first - len(items)}


def merged_ends(values: Sequence[dict[str, Any]]) -> tuple[dict[str, int], list[dict[str, Any]], int]:
    """Give the positions of all processes, their ends by time, and how many were left out."""
    items = [item for each in values for item in each["items"]]
    if len(values) > 1:
        items.sort(key=lambda item: float(item["ended_at"]))
    return {each["place"]: each["position"] for each in values}, items, sum(each["lost"] for each in values)
