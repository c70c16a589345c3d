"""Gates of services under floods: how many sessions are admitted of those that the rate and the burst allow.

Every gate is flooded from its first moment on, by a client on each core. Allowed is the rate times the time between the
first try and the last, by the monotonic clock, in whole sessions, and the burst.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench.workers.edges import BURST, GATES
from tests.bench.workers.families import CORES, Family, Values, answers, echoing, family, loading, run

SECONDS = {1000: 2.0, 2: 10.0}
"""Of a flood of a gate with this rate: so long that one session more or less is less than 2 %."""
CONCURRENCY = 32
WORKERS = (2, 4)


def admitted(found: Sequence[Mapping[str, Any]], rate: float) -> tuple[float, float]:
    """How many times what the gate allows was admitted, and tries a second."""
    seconds = (max(each["last_ns"] for each in found) - min(each["first_ns"] for each in found)) / 1e9
    tries = sum(each["admitted"] + each["ended"] for each in found)
    broken = sum(each["unconnected"] + each["unanswered"] for each in found)
    if broken or tries < 3 * rate * seconds:
        raise RuntimeError(f"{tries} tries in {seconds:.1f} s, {broken} of them failed: that is no flood")
    return sum(each["admitted"] for each in found) / (int(rate * seconds) + BURST), tries / seconds


def flood(load: Path, edge: Family, rates: Sequence[tuple[int, int]]) -> Values:
    """Flood some gates at the same time."""
    with ExitStack() as stack:
        clients = {
            (rate, sources): [
                stack.enter_context(
                    loading(load, core, "flood", edge.ports[GATES.index((rate, sources))], SECONDS[rate], 0,
                            CONCURRENCY, sources=sources, first=core * sources // len(CORES))
                )
                for core in CORES
            ]
            for rate, sources in rates
        }  # fmt: skip
        found = {gate: admitted(answers(each), gate[0]) for gate, each in clients.items()}
    return {
        f"flood_{rate}_{sources}_{edge.count}_{name}": value
        for (rate, sources), both in found.items()
        for name, value in zip(("ratio", "tries_per_s"), both, strict=True)
    }


def main(echo: Path, load: Path, turns: int) -> Values:
    del turns
    values: Values = {}
    with echoing(echo) as upstream:
        for workers in WORKERS:
            with family("gates", workers, upstream, ports=len(GATES) + 1) as edge:
                edge.pin(CORES)
                for gate in (gate for gate in GATES if gate[0] == 1000):
                    values |= flood(load, edge, [gate])
                values |= flood(load, edge, [gate for gate in GATES if gate[0] == 2])
    ratios = [value for name, value in values.items() if name.endswith("_ratio")]
    return {**values, "flood_least_ratio": min(ratios), "flood_most_ratio": max(ratios)}


if __name__ == "__main__":
    run(main)
