"""What a second core adds: sessions a second and bulk, with one worker and with two, and HAProxy with as many threads.

One worker shares its core with a client and an upstream, and of two workers each does. So the ideal is 2.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from tests.bench.balancers import HAPROXY_LIMITS, haproxy
from tests.bench.processes import free_port, pinned, wait_for_port
from tests.bench.programs import program
from tests.bench.workers.families import CORES, Values, at_once, echoing, family, run

TURNS = 4
SECONDS, WARMUP = 0.7, 0.2
CONCURRENCY = 16
"""Of each client."""
SESSIONS = 4
"""Of each core, where bytes are counted."""

Peer = tuple[str, int, int]
"""Its name, its port, and how many cores it uses."""


@contextmanager
def trioedge(echo: Path, workers: int) -> Iterator[Peer]:
    cores = CORES[:workers]
    with echoing(echo, workers) as upstream, family("limited", workers, upstream) as edge:
        edge.pin(cores)
        yield "trioedge", edge.ports[0], workers


@contextmanager
def haproxies(echo: Path, threads: int) -> Iterator[Peer]:
    with echoing(echo, threads) as upstream, tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder, port = Path(name), free_port()
        command = haproxy(HAPROXY_LIMITS, threads=threads)(folder, port, upstream)
        with pinned(command, CORES[:threads], log=folder / "log") as child:
            wait_for_port(port, child, folder / "log")
            yield "haproxy", port, threads


def sessions(load: Path, port: int, cores: int) -> float:
    found = at_once(load, CORES[:cores], "sessions", port, SECONDS, WARMUP, CONCURRENCY)
    return float(sum(each["per_second"] for each in found))


def bulk(load: Path, port: int, cores: int) -> float:
    found = at_once(load, CORES[:cores], "bulk", port, SECONDS, WARMUP, each=SESSIONS)
    return float(sum(each["gbit_per_second"] for each in found))


def main(echo: Path, load: Path, turns: int) -> Values:
    del turns
    rates: dict[tuple[str, int, str], list[float]] = {}
    with ExitStack() as stack:
        peers = [stack.enter_context(trioedge(echo, count)) for count in (1, 2)]
        if program("haproxy"):
            peers += [stack.enter_context(haproxies(echo, count)) for count in (1, 2)]
        for turn in range(TURNS):
            first = turn % len(peers)
            for name, port, cores in peers[first:] + peers[:first]:
                rates.setdefault((name, cores, "sessions"), []).append(sessions(load, port, cores))
                rates.setdefault((name, cores, "bulk"), []).append(bulk(load, port, cores))
    found = {f"scaling_{name}_{cores}_{what}": median(values) for (name, cores, what), values in rates.items()}
    for name, _port, cores in peers:
        if cores == 2:
            for what in ("sessions", "bulk"):
                pairs = zip(rates[name, 2, what], rates[name, 1, what], strict=True)
                found[f"scaling_{name}_{what}_ratio"] = median(two / one for two, one in pairs)
    if program("haproxy"):
        pairs = zip(rates["trioedge", 2, "sessions"], rates["haproxy", 2, "sessions"], strict=True)
        found["scaling_to_haproxy_ratio"] = median(ours / theirs for ours, theirs in pairs)
    return found


if __name__ == "__main__":
    run(main)
