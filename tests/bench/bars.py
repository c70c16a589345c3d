"""The bars: what trioedge must reach, and what it aims for. Change them here and nowhere else."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from tests.bench.results import Results, Spread


@dataclass(frozen=True)
class Bar:
    """One promise. The value is the metric itself, or its ratio to the same metric of `against`."""

    title: str
    metric: str
    bar: float
    aim: float
    unit: str = "times"
    peer: str = "trioedge"
    against: str | None = None
    better: Literal["lower", "higher"] = "lower"
    scale: float = 1.0
    """Multiplies the metric into `unit`."""


BARS = (
    Bar("round trip p50, to HAProxy", "rtt_p50_us", 1.15, 1.0, against="haproxy"),
    Bar("bulk echo, to HAProxy", "bulk_gbit_per_s", 1.1, 1.3, against="haproxy", better="higher"),
    Bar("connect + first reply p50, to HAProxy with the same limits", "connect_p50_us", 2.2, 1.3,
        against="haproxy-limits"),
    Bar("the same, preconnected", "connect_p50_us", 1.7, 1.0, peer="trioedge-preconnect",
        against="haproxy-limits"),
    Bar("refusals a second, to HAProxy", "refusals_per_s", 0.5, 1.0, peer="trioedge-refuse",
        against="haproxy-refuse", better="higher"),
    Bar("memory of an idle session", "idle_kib_per_session", 12, 6, unit="KiB"),
    Bar("round trip p50 among idle sessions, to alone", "idle_rtt_ratio", 1.3, 1.05),
    Bar("evict 3 of many, to 3 of few", "evict_ratio", 1.5, 1.1),
    Bar("the same, sessions still connecting", "evict_connecting_ratio", 1.5, 1.1),
    Bar("session gate", "decision_gate_ns", 1.0, 0.4, unit="µs", scale=1e-3),
    Bar("source match, 100,000 prefixes", "decision_match_100000_ns", 2.0, 0.8, unit="µs", scale=1e-3),
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """A bar and what was found."""

    title: str
    unit: str
    value: Spread
    bar: float
    aim: float
    better: Literal["lower", "higher"]

    @property
    def reached(self) -> bool:
        """Whether the median meets the bar."""
        return self._meets(self.bar)

    @property
    def aim_reached(self) -> bool:
        """Whether it meets the aim, too."""
        return self._meets(self.aim)

    def as_json(self) -> dict[str, Any]:
        """The verdict as the results file holds it."""
        return {**asdict(self), "reached": self.reached, "aim_reached": self.aim_reached}

    def _meets(self, limit: float) -> bool:
        median = round(self.value.median, 2)  # as printed: what reads as equal is equal
        return median <= limit if self.better == "lower" else median >= limit


def verdicts(results: Results) -> list[Verdict]:
    """Judge every bar whose figures were measured."""
    judged = []
    for bar in BARS:
        value = (
            results.ratio(bar.metric, bar.peer, bar.against) if bar.against else results.spread(bar.metric, bar.peer)
        )
        if value:
            scaled = Spread(value.median * bar.scale, value.low * bar.scale, value.high * bar.scale)
            judged.append(Verdict(bar.title, bar.unit, scaled, bar.bar, bar.aim, bar.better))
    return judged
