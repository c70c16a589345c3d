"""The command line of the campaign: `python -m tests.soak --help`."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Literal

import trio
from cyclopts import App

from tests.bench.peers import PEERS
from tests.bench.processes import raise_open_files
from tests.soak import report
from tests.soak.calls import calls
from tests.soak.endurance import endurance
from tests.soak.findings import Row, Task
from tests.soak.floods import floods
from tests.soak.fuzz import fuzz
from tests.soak.mutants import MODULES, campaign

Part = Literal["fuzz", "calls", "floods", "soak", "mutants"]

PARTS: dict[Part, tuple[float, Callable[[Task], Awaitable[list[Row]]]]] = {
    "fuzz": (0.25, fuzz),
    "calls": (0.2, calls),
    "floods": (0.15, floods),
    "soak": (0.4, endurance),
}
"""The parts that run for a share of the minutes."""

app = App(name="python -m tests.soak", help="Try running edges, and the tests of the modules, with everything odd.")


@app.default
def main(
    *,
    minutes: float = 12.0,
    only: list[Part] | None = None,
    mutants: int = 200,
    module: list[str] | None = None,
    seed: int = 1,
    output: Path = Path("tests/soak/results.json"),
    page: bool = False,
) -> int:
    """Run the campaign and print one table; 1 if anything was wrong.

    Args:
        minutes: for the fuzz, failing calls, floods and the soak together; mutants take as long as their tests.
        only: a part to run; repeat it for more. All of them unless told.
        mutants: how many are tried; 0 for none.
        module: a module to mutate; repeat it for more. All of them unless told.
        seed: of all that is drawn.
        output: the JSON file with every figure and fault. A part that does not run keeps what stands there.
        page: write the table of docs/explanation/reliability.md.
    """
    signal.signal(signal.SIGTERM, _stop)
    raise_open_files()
    unknown = [name for name in module or () if name not in MODULES]
    if unknown:
        print(f"unknown module {unknown[0]!r}; there are {', '.join(MODULES)}", file=sys.stderr)
        return 2
    parts: list[Part] = only or (["fuzz", "calls", "floods", "soak", "mutants"])
    peers = tuple(name for name in ("haproxy", "nginx") if not PEERS[name].missing())
    for name in ("haproxy", "nginx"):
        if why := PEERS[name].missing():
            print(f"{name}: {why}; left out")
    began = time.monotonic()
    rows: list[Row] = []

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {line}", flush=True)

    running = [part for part in PARTS if part in parts]
    whole = sum(PARTS[part][0] for part in running)
    with TemporaryDirectory(prefix="soak-") as folder:
        for part in running:
            share, run = PARTS[part]
            task = Task(60 * minutes * share / whole, seed, Path(folder), say, peers)
            rows += trio.run(run, task)
    if "mutants" in parts and mutants:
        rows += campaign(module or list(MODULES), mutants, seed, say)
    report.table(rows)
    document = report.merged(output, rows, seconds=time.monotonic() - began)
    output.write_text(json.dumps(document, indent=1) + "\n")
    print(f"wrote {output}")
    if page:
        print(f"wrote {report.write_page(document)}")
    return 1 if any(row.faults for row in rows) else 0


def _stop(number: int, _: FrameType | None) -> None:
    """End as after Ctrl-C, so that the children end too."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(app())
