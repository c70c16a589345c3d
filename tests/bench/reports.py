"""A report of 100 services that moved bytes, among a thousand and among 100,000 that did not."""

from __future__ import annotations

import random
import time
from statistics import median

import trio

import trioedge as te
from tests.bench.prefixes import SEED
from tests.bench.probe import Values, run
from trioedge.control.reporter import Reporter
from trioedge.control.reports import Reports
from trioedge.services.services import Services
from trioedge.services.snapshot import Change
from trioedge.session.meter import Total
from trioedge.telemetry.log import EdgeLog

FEW, MANY = 1_000, 100_000
DIRTY = 100
REPEATS = 50
"""Reports of each turn."""


class Acknowledging:
    """A control plane that takes every report."""

    async def report(self, report: te.Report) -> None:
        await trio.lowlevel.checkpoint()


class Reporting:
    """So many services and who reports them."""

    def __init__(self, count: int) -> None:
        self._services = Services(Total(), Total(), governed=True)
        self._all = [
            self._services.apply(Change(f"service-{number}", None, te.Settings(te.Policy(down_rate=rate))), None)
            for number, rate in enumerate(range(1_000_000, 1_000_000 + count))
        ]
        reports = Reports("edge", "epoch")
        self._reporter = Reporter(Acknowledging(), reports, EdgeLog(), 10.0)
        self._services.on_traffic.append(self._reporter.mark)
        for service in self._all:
            service.up.listen()
        self._rng = random.Random(SEED)

    async def report(self) -> float:
        """Let bytes of some services move; microseconds until they are reported and acknowledged."""
        for service in self._rng.sample(self._all, DIRTY):
            service.up.add(64)
        began = time.perf_counter_ns()
        await self._reporter.flush(2.0)
        return (time.perf_counter_ns() - began) / 1e3


async def main(echo: str, load: str, turns: int) -> Values:
    few, many = Reporting(FEW), Reporting(MANY)
    took: dict[Reporting, list[float]] = {few: [], many: []}
    for _ in range(turns):
        for reporting, values in took.items():
            values.append(median([await reporting.report() for _ in range(REPEATS)]))
    ratios = [of_many / of_few for of_few, of_many in zip(took[few], took[many], strict=True)]
    return {
        "report_few_us": median(took[few]),
        "report_many_us": median(took[many]),
        "report_ratio": median(ratios),
    }


if __name__ == "__main__":
    run(main)
