"""The devices of a service: who is online, in grace, or denied, and for how long."""

from collections.abc import Iterator
from operator import attrgetter
from typing import Any, Final

import attrs

from ...loop.slices import Stepwise
from ...services.linking.device_facts import DeviceFacts, ListsDevices
from ..asking import Answers, Parameters
from ..local import Local
from ..refusals import not_found
from ..shapes import COUNT, NUMBER, TEXT, or_null, page, table
from ..smallest import smallest

STATES: Final = ("denied", "fresh", "stale", "unknown")
"""The state of a device that several processes know is the first of these that one of them knows."""

DEVICE: Final = table(
    device=TEXT, state={"type": "string", "enum": [*STATES]}, sessions=COUNT, since=or_null(NUMBER),
    until=or_null(NUMBER), detail=TEXT,
)  # fmt: skip

DEVICES: Final = page(DEVICE, TEXT)

ITEMS_A_STEP: Final = 16


def devices_here(local: Local, parameters: Parameters) -> Stepwise[dict[str, Any] | None]:
    """Give a page of the devices that this process knows of a service, by name; None for an unknown service."""
    yield
    service, judge = local.services.get(parameters["name"]), local.services.device_judge
    if service is None:
        return None
    known: Iterator[DeviceFacts] = judge.known(service) if isinstance(judge, ListsDevices) else iter(())
    after, limit = parameters["after"], parameters["limit"]
    found = yield from smallest(
        known, limit + 1, attrgetter("device"), lambda each: after is None or each.device > after
    )
    items = []
    for number, each in enumerate(found[:limit]):
        items.append(attrs.asdict(each) | {"since": _rounded(each.since), "until": _rounded(each.until)})
        if not number % ITEMS_A_STEP:
            yield
    return {"items": items, "next": items[-1]["device"] if len(found) > limit else None}


def merge_devices(answers: Answers, parameters: Parameters) -> dict[str, Any]:
    """Merge the pages of all processes by name: sessions are added up, and the surest state counts."""
    pages = [each for each in answers.values if each is not None]
    if not pages:
        raise not_found(f"there is no service {parameters['name']!r}")
    if len(pages) == 1:
        whole: dict[str, Any] = pages[0]
        return whole
    by_name: dict[str, list[dict[str, Any]]] = {}
    for each in pages:
        for item in each["items"]:
            by_name.setdefault(item["device"], []).append(item)
    merged = [_sum(by_name[name]) for name in sorted(by_name)]
    limit = parameters["limit"]
    more = len(merged) > limit or any(each["next"] is not None for each in pages)
    items = merged[:limit]
    return {"items": items, "next": items[-1]["device"] if more and items else None}


def _sum(items: list[dict[str, Any]]) -> dict[str, Any]:
    surest = min(items, key=lambda item: STATES.index(item["state"]))
    since = [item["since"] for item in items if item["since"] is not None]
    return {**surest, "sessions": sum(item["sessions"] for item in items), "since": max(since, default=None)}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
