"""First replies while operators look: metrics each second, the dashboard, and `trioedge top`, to those with no reader.

The two workers, the client and the upstream share one core, and the control process and the readers have the other one,
so that what the workers do for the readers is felt, and what waking another core costs is not. With and without readers
take turns. A hold is the longest of a turn, and of these the median, because the kernel charges interrupts to the task
that they meet. `python -m tests.bench.workers.readers SOCKET` is the readers, but `top`.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx
import trio

from tests.bench.processes import ROOT, pinned, python
from tests.bench.workers.edges import admin
from tests.bench.workers.families import CORES, Family, Values, at_once, echoing, family, run

SECONDS, WARMUP = 3.0, 0.2
PAUSE = 300e-6
TURNS = 3
SETTLE_SECONDS = 1.5
"""Until the readers have started, and after they have gone."""

LOOKS = {
    "/metrics": 1, "/v1/history": 10, "/v1/services?order=live&limit=100": 5, "/v1/stage-times": 5,
    "/v1/statistics": 5, "/v1/recent?limit=100": 5, "/v1/top?by=source&limit=20": 5, "/v1/machine": 5,
    "/v1/upstreams": 5,
}  # fmt: skip
"""What a scraper and an open dashboard ask for, and each how many seconds."""


async def read(path: str) -> None:
    """Scrape, and be a dashboard, until killed."""
    transport = httpx.AsyncHTTPTransport(uds=path)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge", timeout=20) as client:

        async def look(path: str, seconds: float) -> None:
            while True:
                (await client.get(path)).raise_for_status()
                await trio.sleep(seconds)

        async with trio.open_nursery() as nursery:
            for each, seconds in LOOKS.items():
                nursery.start_soon(look, each, seconds)
            async with client.stream("GET", "/v1/events", timeout=None) as events:
                async for _ in events.aiter_bytes():
                    pass


@contextmanager
def reading(edge: Family, core: int) -> Iterator[None]:
    """Have all readers look at an edge until the block ends."""
    path, log = str(edge.folder / "admin.sock"), edge.folder / "readers"
    screen, terminal = pty.openpty()
    top = python("trioedge", "top", "--edge", admin(edge.folder))
    with pinned(python("tests.bench.workers.readers", path), (core,), log=log) as readers:
        shown = subprocess.Popen(
            ["taskset", "-c", str(core), *top], cwd=ROOT, stdin=terminal, stdout=terminal, stderr=terminal,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}, start_new_session=True,
        )  # fmt: skip
        os.close(terminal)
        drain = subprocess.Popen(["cat"], stdin=screen, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(screen)
        try:
            yield
            if readers.poll() is not None or shown.poll() is not None:
                raise RuntimeError(f"a reader has ended: {log.read_text()[-500:]}")
        finally:
            shown.kill()
            shown.wait()
            drain.wait()


def turn(load: Path, edge: Family) -> tuple[float, ...]:
    """Microseconds of the 50th and the 99.9th percentile, and the longest holds of workers and control process."""
    assert edge.holds is not None
    edge.holds.forget(edge.children())
    found = at_once(load, CORES[:1], "connect", edge.ports[0], SECONDS, WARMUP, PAUSE)[0]
    holds = edge.holds.longest_ms(edge.workers), edge.holds.longest_ms([edge.control])
    return found["p50_ns"] / 1e3, found["p999_ns"] / 1e3, *holds


def main(echo: Path, load: Path, turns: int) -> Values:
    del turns
    quiet, looked = [], []
    with echoing(echo, 1) as upstream, family("limited", 2, upstream, watched=True) as edge:
        for pid in (edge.pid, edge.control):
            os.sched_setaffinity(pid, CORES[1:])
        edge.pin(CORES[:1])
        turn(load, edge)
        for _ in range(TURNS):
            quiet.append(turn(load, edge))
            with reading(edge, CORES[1]):
                time.sleep(SETTLE_SECONDS)
                looked.append(turn(load, edge))
            time.sleep(SETTLE_SECONDS / 3)

    def ratio(place: int) -> float:
        return median(each[place] / other[place] for each, other in zip(looked, quiet, strict=True))

    def middle(turns: list[tuple[float, ...]], place: int) -> float:
        return median(each[place] for each in turns)

    return {
        "readers_quiet_p50_us": middle(quiet, 0),
        "readers_p50_us": middle(looked, 0),
        "readers_quiet_p999_us": middle(quiet, 1),
        "readers_p999_us": middle(looked, 1),
        "readers_p50_ratio": ratio(0),
        "readers_p999_ratio": ratio(1),
        "readers_quiet_worker_ms": middle(quiet, 2),
        "readers_worker_ms": middle(looked, 2),
        "readers_quiet_control_ms": middle(quiet, 3),
        "readers_control_ms": middle(looked, 3),
    }


if __name__ == "__main__":
    if len(sys.argv) == 2:
        trio.run(read, sys.argv[1])
    else:
        run(main)
