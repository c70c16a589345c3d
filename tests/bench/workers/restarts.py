"""Restarts, and workers that are killed, under load: tries that fail, and the longest wait for a first reply.

Six clients on each core connect without a pause, each time from the next of 1,000 addresses. A restart loses nothing. A
killed worker loses its own sessions: those that fail within 0.1 s of its death, and whose address is steered to it.
Which addresses these are is learned before, from a session of each.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench.measures import Client
from tests.bench.processes import pinned
from tests.bench.workers.families import CORES, Family, Values, answers, echoing, family, loading, run, until

RESTARTS, KILLS = 10, 5
CONCURRENCY = 6
SOURCES = 1000
WORKERS = 2
OWN_SECONDS = 0.1
PAUSE_SECONDS = 1.3
"""After a kill: a worker that has lived for a second is replaced at once."""


def restart(edge: Family) -> float:
    """Restart the program, and give the seconds until the old workers are gone."""
    old = set(edge.children())
    os.kill(edge.pid, signal.SIGUSR2)
    return until(
        lambda: old.isdisjoint(edge.children()) and len(edge.children()) == 1 + WORKERS, f"restart: {edge.log()[-500:]}"
    )


def kill(edge: Family) -> tuple[int, float]:
    """Kill a worker, and give its number and the time."""
    time.sleep(PAUSE_SECONDS)
    numbers = {each["pid"]: each["number"] for each in edge.get("/v1/statistics")["workers"]}
    victim = random.choice([pid for pid in edge.workers if pid in numbers])
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    until(lambda: victim not in edge.children() and len(edge.children()) == 1 + WORKERS, "successor")
    return numbers[victim], killed


def steered(load: Path, edge: Family) -> dict[str, int]:
    """Learn which worker each address comes to."""
    command = [str(load), "idle", str(edge.ports[0])]
    with pinned(command, CORES, env={"SOURCES": str(SOURCES)}, talks=True) as child:
        Client(child).ask(f"open {SOURCES}")
        items = edge.get(f"/v1/sessions?limit={SOURCES}")["items"]
    found = {each["source"]: each["worker"] for each in items}
    if len(found) != SOURCES or len(set(found.values())) != WORKERS:
        raise RuntimeError(f"{len(found)} addresses come to {set(found.values())}")
    return found


def under_load(load: Path, edge: Family, act: Callable[[], None]) -> list[Mapping[str, Any]]:
    """Do something while clients connect, and give what they found."""
    with ExitStack() as stack:
        clients = [
            stack.enter_context(
                loading(load, core, "flood", edge.ports[0], 300, 0, CONCURRENCY, sources=SOURCES, first=500 * core)
            )
            for core in CORES
        ]
        time.sleep(0.5)
        act()
        for client in clients:
            client.terminate()  # which ends it in order
        return answers(clients)


def failed(found: Sequence[Mapping[str, Any]]) -> list[tuple[float, str]]:
    """Give the time and the address of each try that failed."""
    counted = sum(each["ended"] + each["unconnected"] + each["unanswered"] for each in found)
    misses = [
        (at / 1e9, socket.inet_ntoa(struct.pack("!I", source))) for each in found for at, source, _ in each["misses"]
    ]
    if counted > len(misses):
        raise RuntimeError(f"{counted} tries failed, more than are listed: {found}")
    return misses


def worst_ms(found: Sequence[Mapping[str, Any]]) -> float:
    return max(float(each["sessions"]["max_ns"]) for each in found) / 1e6


def main(echo: Path, load: Path, turns: int) -> Values:
    del turns
    with echoing(echo) as upstream, family("limited", WORKERS, upstream) as edge:
        took: list[float] = []
        restarted = under_load(load, edge, lambda: took.extend(restart(edge) for _ in range(RESTARTS)))
        time.sleep(1)
        workers = steered(load, edge)
        kills: list[tuple[int, float]] = []
        killed = under_load(load, edge, lambda: kills.extend(kill(edge) for _ in range(KILLS)))
    own = others = 0
    for at, source in failed(killed):
        if any(0 <= at - when <= OWN_SECONDS and workers[source] == victim for victim, when in kills):
            own += 1
        else:
            others += 1
    return {
        "restart_failed": len(failed(restarted)),
        "restart_sessions": sum(each["admitted"] for each in restarted),
        "restart_worst_ms": worst_ms(restarted),
        "restart_seconds": max(took),
        "kill_failed": others,
        "kill_own": own,
        "kill_sessions": sum(each["admitted"] for each in killed),
        "kill_worst_ms": worst_ms(killed),
    }


if __name__ == "__main__":
    run(main)
