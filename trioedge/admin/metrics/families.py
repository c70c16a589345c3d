"""Families of samples, as one process collects them and as those of several are merged.

A family is a table that JSON can carry, and that describes itself, because a process of another version may have made
it: ``{"type": "counter", "help": "…", "merge": "sum", "samples": {'reason="rate"': 5}}``. The labels of a sample are
its key, as they stand in the text. The value of a histogram is ``{"counts": […], "nanoseconds": …}``, as
:class:`~trioedge.telemetry.histogram.Histogram` has them; its family has the first and the last bound of the text.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from itertools import zip_longest
from typing import Any, Final, TypeAlias

import attrs

from ...loop.slices import Stepwise
from ...telemetry.histogram import Histogram
from ...telemetry.trace import StageTimes

Families: TypeAlias = dict[str, dict[str, Any]]
"""Families by name."""

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"

SUM, MAX, MIN = "sum", "max", "min"

SAMPLES_A_STEP: Final = 32
"""Samples that are added, or lines that are written, in one step: less than 50 µs."""

_MERGES: Final[Mapping[str, Callable[[float, float], float]]] = {SUM: operator.add, MAX: max, MIN: min}


@attrs.frozen
class Metric:
    """The description of a family.

    Attributes:
        name: of it.
        type: ``counter``, ``gauge`` or ``histogram``.
        help: one line.
        labels: their names, in order.
        merge: of two processes' values: ``sum``, ``max`` or ``min``.
        buckets: the first and the last ``n`` of a histogram's bounds in the text, ``2 ** n`` nanoseconds.
    """

    name: str
    type: str
    help: str
    labels: tuple[str, ...] = ()
    merge: str = SUM
    buckets: tuple[int, int] = (0, 0)

    def empty(self) -> dict[str, Any]:
        """Make its family, without a sample."""
        family: dict[str, Any] = {"type": self.type, "help": self.help, "merge": self.merge, "samples": {}}
        if self.type == HISTOGRAM:
            family["buckets"] = [*self.buckets]
        return family


def escaped(text: str) -> str:
    """Write text as the value of a label."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


class Collection:
    """The families that one process collects.

    Attributes:
        families: by name.
    """

    def __init__(self) -> None:
        """Start without a family."""
        self.families: Families = {}

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        """Add one sample.

        Args:
            metric: of a counter or a gauge.
            value: of the sample.
            labels: the values of its labels, in order.
        """
        self._samples(metric)[_key(metric, labels)] = value

    def add_times(self, metric: Metric, times: Histogram | StageTimes | None, *labels: str) -> None:
        """Add one histogram; None for one without a time."""
        counts = [] if times is None else list(times.counts)
        while counts and not counts[-1]:
            counts.pop()
        nanoseconds = 0 if times is None else times.nanoseconds
        self._samples(metric)[_key(metric, labels)] = {"counts": counts, "nanoseconds": nanoseconds}

    def _samples(self, metric: Metric) -> dict[str, Any]:
        family = self.families.get(metric.name)
        if family is None:
            family = self.families[metric.name] = metric.empty()
        samples: dict[str, Any] = family["samples"]
        return samples


def _key(metric: Metric, labels: tuple[str, ...]) -> str:
    return ",".join(f'{name}="{escaped(value)}"' for name, value in zip(metric.labels, labels, strict=True))


def merged(each: Iterable[Families]) -> Stepwise[Families]:
    """Merge the families of several processes, in steps of some samples.

    Samples of the same labels are merged as their family says; a family or a sample that only one has is kept. One that
    has another type elsewhere is left out there.
    """
    whole: Families = {}
    done = 0
    for families in each:
        for name, family in families.items():
            known = whole.setdefault(name, {**family, "samples": {}})
            if known["type"] != family["type"]:
                continue
            samples = known["samples"]
            for key, value in family["samples"].items():
                before = samples.get(key)
                samples[key] = value if before is None else _both(family, before, value)
                done += 1
                if not done % SAMPLES_A_STEP:
                    yield
    return whole


def _both(family: Mapping[str, Any], one: Any, other: Any) -> Any:
    if family["type"] != HISTOGRAM:
        return _MERGES[family["merge"]](one, other)
    counts = [a + b for a, b in zip_longest(one["counts"], other["counts"], fillvalue=0)]
    return {"counts": counts, "nanoseconds": one["nanoseconds"] + other["nanoseconds"]}
