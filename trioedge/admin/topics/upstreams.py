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

ITEMS_A_STEP: Final = 8


def _rank(counts: UpstreamCounts) -> tuple[bool, int, int, str]:
    """Put those that fail first, then those with failures, then those with connects."""
    connects = counts.connects
    return counts.healthy, -connects.failures, -connects.connects, counts.address


def upstreams_here(local: Local, parameters: Parameters) -> Stepwise[list[dict[str, Any]]]:
    """Give the upstreams of this process, with the buckets of their connect times."""
    listed = (each for lists in [*local.run.log.meters.upstreams] for each in lists())
    found = yield from smallest(listed, parameters["limit"], _rank)
    items = []
    for number, each in enumerate(found):
        connects, times = each.connects, each.connects.seconds or Histogram()
        items.append(
            {
                "address": each.address,
                "group": each.group,
                "healthy": each.healthy,
                "in_flight": connects.under_way,
                "connects": connects.connects,
                "failures": connects.failures,
                "last_error": connects.last_error,
                "idle": each.idle,
                "times": [*times.counts],
                "nanoseconds": times.nanoseconds,
                "longest": times.longest,
            }
        )
        if not number % ITEMS_A_STEP:
            yield
    return items


def merge_upstreams(answers: Answers, parameters: Parameters) -> dict[str, Any]:
    """Add the upstreams of all processes up; one is healthy if it is so to all of them."""
    by_name: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in answers.values:
        for item in each:
            by_name.setdefault((item["group"], item["address"]), []).append(item)
    merged = [_sum(items) for items in by_name.values()]
    merged.sort(key=lambda item: (item["healthy"], -item["failures"], -item["connects"], item["address"]))
    return {"items": merged[: parameters["limit"]], "next": None}


def _sum(items: list[dict[str, Any]]) -> dict[str, Any]:
    times = Histogram()
    for item in items:
        times.merge(Histogram(item["times"], item["nanoseconds"], item["longest"]))
    known = bool(times.count)
    return {
        "address": items[0]["address"],
        "group": items[0]["group"],
        "healthy": all(item["healthy"] for item in items),
        **{name: sum(item[name] for item in items) for name in SUMMED},
        "connect_ms": {
            "p50": round(times.quantile(0.5) * 1e3, 3) if known else None,
            "p99": round(times.quantile(0.99) * 1e3, 3) if known else None,
            "max": round(times.max * 1e3, 3) if known else None,
        },
        "last_error": next((item["last_error"] for item in items if item["last_error"]), ""),
    }
