"""What a run found: raw values by metric and peer, and medians and ratios of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.bench.measures import Values


@dataclass(frozen=True)
class Spread:
    """The median, and the range of the middle half of the values (the quartiles)."""

    median: float
    low: float
    high: float


@dataclass
class Results:
    """Everything a run found. `raw[metric][peer][turn]` is one value; a failed measurement left none."""

    raw: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)

    def add(self, turn: int, peer: str, values: Values) -> None:
        """Keep what one turn of a peer gave; turns are numbered through all rounds."""
        for metric, value in values.items():
            self.raw.setdefault(metric, {}).setdefault(peer, {})[turn] = value

    def spread(self, metric: str, peer: str) -> Spread | None:
        """Median and quartiles over the turns; None where nothing was measured."""
        return _spread(self._turns(metric, peer).values())

    def ratio(self, metric: str, peer: str, against: str) -> Spread | None:
        """How many times the other's value, turn by turn: both were measured within the same seconds."""
        own, other = self._turns(metric, peer), self._turns(metric, against)
        return _spread([own[turn] / other[turn] for turn in own.keys() & other.keys()])

    def _turns(self, metric: str, peer: str) -> dict[int, float]:
        return self.raw.get(metric, {}).get(peer, {})


def _spread(found: Iterable[float]) -> Spread | None:
    values = list(found)
    if len(values) < 2:
        return Spread(values[0], values[0], values[0]) if values else None
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)
