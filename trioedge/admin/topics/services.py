"""The services of an edge: by name, page by page, or the busiest first."""

from collections.abc import Iterable
from math import isinf
from typing import Any, Final

from ...loop.slices import Stepwise, in_slices
from ...services.service import Service
from ..asking import Answers, EdgeAsker, Parameters
from ..local import Local
from ..refusals import not_found
from ..shapes import COUNT, FLAG, NUMBER, TEXT, TEXTS, or_null, page, table
from ..smallest import smallest

SERVICE: Final = table(
    name=TEXT, enabled=FLAG, live=COUNT, opened=COUNT, bytes_up=COUNT, bytes_down=COUNT,
    max_sessions=or_null(COUNT), session_rate=or_null(NUMBER), session_burst=or_null(COUNT), down_rate=or_null(NUMBER),
    up_rate=or_null(NUMBER), quota_bytes=or_null(COUNT), quota_used=or_null(COUNT), expires_at=or_null(NUMBER),
    refusal=or_null(TEXT), sources=COUNT, listen_errors=TEXTS,
)  # fmt: skip

SERVICES: Final = page(SERVICE, TEXT)

ORDERS: Final = ("name", "live", "bytes")

SUMMED: Final = ("live", "opened", "bytes_up", "bytes_down", "sources")

CANDIDATES: Final = 1_000
"""The busiest services that each of several processes names, so that the busiest of all are among them."""

ITEMS_A_STEP: Final = 8
"""Items that are written in one step, 2 to 4 µs each."""


def service_item(service: Service) -> dict[str, Any]:
    """Give one service as the API has it."""
    policy, rate = service.policy, service.session_rate
    return {
        "name": service.name,
        "enabled": policy.enabled,
        "live": service.live,
        "opened": service.opened,
        "bytes_up": service.up.bytes,
        "bytes_down": service.down.bytes,
        "max_sessions": None if isinf(service.max_sessions) else int(service.max_sessions),
        "session_rate": policy.session_rate,
        "session_burst": None if rate is None else policy.session_burst,
        "down_rate": policy.down_rate,
        "up_rate": policy.up_rate,
        "quota_bytes": policy.quota_bytes,
        "quota_used": None if policy.quota_bytes is None else service.quota_used,
        "expires_at": policy.expires_at,
        "refusal": None if service.refusal is None else f"{service.refusal.reason}: {service.refusal.detail}",
        "sources": len(service.by_source),
        "listen_errors": [*service.listen_errors],
    }


def services_here(local: Local, parameters: Parameters) -> Stepwise[dict[str, Any]]:
    """Give a page of the services of this process, by name."""
    prefix, after, limit = parameters["prefix"] or "", parameters["after"] or "", parameters["limit"]
    names = [*local.services.names]
    yield
    found = yield from smallest(names, limit + 1, str, lambda name: name > after and name.startswith(prefix))
    items = yield from _items(local, found[:limit])
    return {"items": items, "next": items[-1]["name"] if len(found) > limit and items else None}


def services_busiest_here(local: Local, parameters: Parameters) -> Stepwise[list[str]]:
    """Name the services of this process that have most sessions, or bytes, at most :data:`CANDIDATES`."""
    prefix, weigh = parameters["prefix"] or "", _live if parameters["order"] == "live" else _bytes
    services = [*local.services]
    yield
    weighed = ((-weigh(each), each.name) for each in services)
    found = yield from smallest(weighed, CANDIDATES, tuple, lambda each: each[1].startswith(prefix))
    return [name for _, name in found]


def services_named_here(local: Local, parameters: Parameters) -> Stepwise[list[dict[str, Any]]]:
    """Give the services of some names, those that this process has."""
    return (yield from _items(local, parameters["names"]))


def service_here(local: Local, parameters: Parameters) -> Stepwise[dict[str, Any] | None]:
    """Give one service, or None."""
    yield
    service = local.services.get(parameters["name"])
    return None if service is None else service_item(service)


def merge_service(answers: Answers, parameters: Parameters) -> dict[str, Any]:
    """Add one service of all processes up."""
    found = [each for each in answers.values if each is not None]
    if not found:
        raise not_found(f"there is no service {parameters['name']!r}")
    return _sum(found, answers)


def merge_services(answers: Answers, parameters: Parameters) -> Stepwise[dict[str, Any]]:
    """Merge the pages of all processes: a service that is in one page is in all that reach as far."""
    limit = parameters["limit"]
    merged = yield from _added((item for each in answers.values for item in each["items"]), answers)
    merged.sort(key=lambda item: str(item["name"]))
    more = len(merged) > limit or any(each["next"] is not None for each in answers.values)
    items = merged[:limit]
    return {"items": items, "next": items[-1]["name"] if more and items else None}


async def collect_services(asker: EdgeAsker, parameters: Parameters) -> dict[str, Any]:
    """Ask for a page by name, or for the busiest: those whose sums over all processes are the largest."""
    order = parameters["order"]
    if order == "name":
        return await in_slices(merge_services(await asker.ask("services", parameters), parameters))
    if parameters["after"] is not None:
        return {"items": [], "next": None}  # these orders change all the time, so they have one page
    busiest = (await asker.ask("services-busiest", parameters)).values
    names = [*dict.fromkeys(name for each in busiest for name in each)]
    if len(busiest) == 1:
        names = names[: parameters["limit"]]
    named = await asker.ask("services-named", {"names": names})
    items = await in_slices(_added((item for each in named.values for item in each), named))
    counted = ("live",) if order == "live" else ("bytes_up", "bytes_down")
    items.sort(key=lambda item: (-sum(item[name] for name in counted), item["name"]))
    return {"items": items[: parameters["limit"]], "next": None}


def _added(items: Iterable[dict[str, Any]], answers: Answers) -> Stepwise[list[dict[str, Any]]]:
    """Add the services of all processes up, in no order."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        by_name.setdefault(item["name"], []).append(item)
    merged = []
    for each in by_name.values():
        merged.append(_sum(each, answers))
        if not len(merged) % ITEMS_A_STEP:
            yield
    return merged


def _sum(items: list[dict[str, Any]], answers: Answers) -> dict[str, Any]:
    """Add one service up; the limits are those of its policy, the same everywhere."""
    merged = {**items[0], **{name: sum(each[name] for each in items) for name in SUMMED}}
    for name, count in answers.past_of(merged["name"]).items():
        merged[name] += count
    if merged["quota_used"] is not None:
        merged["quota_used"] = max(each["quota_used"] or 0 for each in items)
    merged["refusal"] = next((each["refusal"] for each in items if each["refusal"] is not None), None)
    merged["listen_errors"] = [*dict.fromkeys(error for each in items for error in each["listen_errors"])]
    return merged


def _items(local: Local, names: Iterable[str]) -> Stepwise[list[dict[str, Any]]]:
    items = []
    for number, name in enumerate(names):
        if (service := local.services.get(name)) is not None:
            items.append(service_item(service))
        if not number % ITEMS_A_STEP:
            yield
    return items


def _live(service: Service) -> int:
    return service.live


def _bytes(service: Service) -> int:
    return service.up.bytes + service.down.bytes
