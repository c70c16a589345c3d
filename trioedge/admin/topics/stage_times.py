"""The times of the stages of an edge: which of them costs what share of an admission."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, Final

from ...loop.slices import Stepwise
from ...telemetry.trace import StageTimes, stage_times
from ..asking import Answers, Parameters
from ..local import Local
from ..shapes import COUNT, NUMBER, TEXT, or_null, several, table

ITEM: Final = table(
    stage=TEXT, kind=TEXT, calls=COUNT, total_micros=NUMBER, mean_micros=or_null(NUMBER), p50_micros=or_null(NUMBER),
    p99_micros=or_null(NUMBER), share=or_null(NUMBER),
)  # fmt: skip

STAGE_TIMES: Final = table(items=several(ITEM), next={"type": "null"})


def stage_times_here(local: Local, parameters: Parameters) -> Stepwise[list[dict[str, Any]]]:
    """Give the counts of each stage of this process, by powers of two of nanoseconds."""
    yield
    outline, chain = local.description.outline, local.run.chain
    kinds = (*outline.kinds, "endpoint")
    times = stage_times(outline, () if chain is None else chain.counts)
    return [
        {"stage": each.stage, "kind": kind, "counts": [*each.counts], "nanoseconds": each.nanoseconds}
        for each, kind in zip(times, kinds, strict=False)
    ]


def merge_stage_times(answers: Answers, parameters: Parameters) -> dict[str, Any]:
    """Add the counts of all processes up, and give their totals and quantiles."""
    stages = [*zip(*(each for each in answers.values if each), strict=False)]
    rows = [(each[0], _sum([one["counts"] for one in each])) for each in stages]
    totals = [sum(one["nanoseconds"] for one in each) / 1e3 for each in stages]
    whole = sum(totals)
    items = []
    for (stage, counts), total in zip(rows, totals, strict=True):
        times = StageTimes(stage["stage"], tuple(counts))
        calls = times.sessions
        items.append(
            {
                "stage": stage["stage"],
                "kind": stage["kind"],
                "calls": calls,
                "total_micros": round(total, 3),
                "mean_micros": round(total / calls, 3) if calls else None,
                "p50_micros": times.below(0.5) if calls else None,
                "p99_micros": times.below(0.99) if calls else None,
                "share": round(total / whole, 4) if whole else None,
            }
        )
    return {"items": items, "next": None}


def _sum(counts: Sequence[Sequence[int]]) -> list[int]:
    return [sum(each) for each in zip_longest(*counts, fillvalue=0)]
