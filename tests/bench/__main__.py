"""The command line of the bench: `python -m tests.bench --help`."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Annotated, Literal

from cyclopts import App, Parameter

from tests.bench import bars, document, pages, report
from tests.bench.plan import MEASURES, WORKERS, Measure, Plan, smoke
from tests.bench.processes import raise_open_files
from tests.bench.run import Bench

app = App(
    name="python -m tests.bench",
    help="Measure trioedge beside other proxies, all on one core, and several workers on two.",
)


@app.default
def main(
    *,
    core: int = 0,
    rounds: int | None = None,
    quick: bool = False,
    only: Annotated[list[Measure | Literal["workers"]] | None, Parameter(consume_multiple=True)] = None,
    output: Path = Path("tests/bench/results.json"),
    plots: Path | None = None,
) -> int:
    """Run every measure, print tables, write results and plots; 1 if something could not be measured.

    Args:
        core: the core that everything runs on.
        rounds: how often each measure is repeated; 7 unless told, and 3 at most for the slow ones. Those of several
            workers are repeated twice unless told.
        quick: a smoke run of about a minute, whose figures are only rough.
        only: the measures to run. All of them unless told; `workers` is all of several workers.
        output: the JSON file with every value.
        plots: the folder for the figures. A full run draws them into docs/assets unless told, and writes the tables
            of the README and of the performance page; a quick or partial run does neither unless told. A run of all
            measures of several workers writes their table of the performance page.
    """
    signal.signal(signal.SIGTERM, _stop)
    plan = smoke(Plan(core=core)) if quick else Plan(core=core)
    if rounds is not None:
        plan = replace(plan, rounds=rounds, slow_rounds=min(rounds, plan.slow_rounds), workers_rounds=rounds)
    console = report.console()
    raise_open_files()
    with TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(plan, Path(folder), console)
        chosen = [each for each in MEASURES if not only or each in only or (each in WORKERS and "workers" in only)]
        bench.run(chosen)

    verdicts = bars.verdicts(bench.results)
    if bench.results.raw:
        console.print(report.metrics_table(bench.results, plan))
    if verdicts:
        console.print(report.bars_table(verdicts))
    for line in report.remarks(bench, quick=quick):
        console.print(line, soft_wrap=True)
    content = document.document(bench, verdicts)
    document.write(output, content)
    console.print(f"wrote {output}", soft_wrap=True)
    if plots is None and not quick and not only:  # figures that a reader of the documentation may believe
        plots = Path("docs/assets")
        for path in pages.write(content, Path()):
            console.print(f"wrote {path}", soft_wrap=True)
    if not quick and {*WORKERS} <= {*chosen}:
        console.print(f"wrote {pages.write_workers(content, Path())}", soft_wrap=True)
    if plots:
        from tests.bench.plots import draw  # matplotlib takes a second to load: not before the measuring

        for path in draw(bench.results, [each for each in verdicts if not each.of_workers], plots):
            console.print(f"wrote {path}", soft_wrap=True)
    return 1 if bench.failures else 0


def _stop(number: int, _: FrameType | None) -> None:
    """End as after Ctrl-C, so that the children end too."""
    sys.exit(128 + number)


if __name__ == "__main__":
    app()
