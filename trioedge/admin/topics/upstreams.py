"""The upstreams of an edge: which of them are slow, or dead."""

from typing import Any, Final

from ...loop.slices import Stepwise
from ...telemetry.histogram import Histogram
from ...telemetry.upstream_counts import UpstreamCounts
from ..asking import Answers, Parameters
from ..local import Local
from ..shapes import COUNT, FLAG, NUMBER, TEXT, or_null, several, table
from ..smallest import smallest

CONNECT_MS: Final = table(p50=or_null(NUMBER), p99=or_null(NUMBER), max=or_null(NUMBER))

UPSTREAM: Final = table(
    address=TEXT, group=TEXT, healthy=FLAG, in_flight=COUNT, connects=COUNT, failures=COUNT, connect_ms=CONNECT_MS,
    last_error=TEXT, idle=COUNT,
)  # fmt: skip

UPSTREAMS: Final = table(items=several(UPSTREAM), next={"type": "null"})

SUMMED: Final = ("in_flight", "connects", "failures", "idle")

ITEMS_A_STEP: Final = 2


def _rank(counts: UpstreamCounts) -> tuple[bool, int, int, str]:
    """Put those that fail first, then those with failures, then those with connects."""
    connects = counts.connects
    return counts.healthy, -connects.failures, -connects.connects, counts.address


def upstreams_here(local: Local, parameters: Parameters) -> Stepwise[list[dict[str, Any]]]:
    """Give the upstreams of this process, each with the buckets of its connect times beside."""
    listed = (each for lists in [*local.run.log.meters.upstreams] for each in lists())
    found = yield from smallest(listed, parameters["limit"], _rank)
    items = []
    for each in found:
        connects, times = each.connects, each.connects.seconds or _NO_TIMES
        item = {
            "address": each.address,
            "group": each.group,
            "healthy": each.healthy,
            "in_flight": connects.under_way,
            "connects": connects.connects,
            "failures": connects.failures,
            "connect_ms": _milliseconds(times),
            "last_error": connects.last_error,
            "idle": each.idle,
        }
        items.append({"item": item, "times": (times.counts, times.nanoseconds, times.longest)})
        if not len(items) % ITEMS_A_STEP:
            yield
    return items


def merge_upstreams(answers: Answers, parameters: Parameters) -> dict[str, Any]:
    """Add the upstreams of all processes up; one is healthy if it is so to all of them."""
    if len(answers.given) == 1:
        return {"items": [each["item"] for each in answers.values[0]], "next": None}
    by_name: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for said in answers.values:
        for each in said:
            by_name.setdefault((each["item"]["group"], each["item"]["address"]), []).append(each)
    merged = [_sum(each) for each in by_name.values()]
    merged.sort(key=lambda item: (item["healthy"], -item["failures"], -item["connects"], item["address"]))
    return {"items": merged[: parameters["limit"]], "next": None}


def _sum(said: list[dict[str, Any]]) -> dict[str, Any]:
    times, items = Histogram(), [each["item"] for each in said]
    for each in said:
        times.merge(Histogram(*each["times"]))
    return {
        **items[0],
        **{name: sum(item[name] for item in items) for name in SUMMED},
        "healthy": all(item["healthy"] for item in items),
        "connect_ms": _milliseconds(times),
        "last_error": next((item["last_error"] for item in items if item["last_error"]), ""),
    }


def _milliseconds(times: Histogram) -> dict[str, float | None]:
    if not times.longest and not times.count:
        return {"p50": None, "p99": None, "max": None}
    quantiles = {f"p{percent}": round(times.quantile(percent / 100) * 1e3, 3) for percent in (50, 99)}
    return {**quantiles, "max": round(times.max * 1e3, 3)}


_NO_TIMES: Final = Histogram()
