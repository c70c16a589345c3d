"""All of 8,000 sessions evicted at once: the longest hold of the loop, and how long until the last one is closed."""

from __future__ import annotations

import json
import subprocess
import time
from statistics import median

import trio

import trioedge as te
from tests.bench.edges import limits
from tests.bench.probe import Values, child, echoing, run, serving
from tests.bench.snapshots import LongestStep

SESSIONS = 8_000
TURNS = 3


async def evict_all(edge: te.Edge, load: str, port: int) -> tuple[float, float, float]:
    """Milliseconds of the longest step, of the call, and seconds until no session lives."""
    with child([load, "idle", str(port)], stdin=subprocess.PIPE) as clients:
        assert clients.stdin is not None
        assert clients.stdout is not None
        clients.stdin.write(f"open {SESSIONS}\n")
        clients.stdin.flush()
        answer = json.loads(await trio.to_thread.run_sync(clients.stdout.readline, abandon_on_cancel=True))
        if answer["errors"]:
            raise RuntimeError(f"crowd of {SESSIONS}: {answer}")
        await trio.sleep(0.2)
        longest, began = LongestStep(), time.perf_counter()
        called_ms = _call(edge)
        while edge.statistics().live:
            await trio.sleep(0.002)
        seconds = time.perf_counter() - began
        return longest.stop() * 1e3, called_ms, seconds


def _call(edge: te.Edge) -> float:
    """Milliseconds of the call: part of the task's step that makes it, as in a program that evicts."""
    began = time.thread_time()
    evicted = edge.evict(source="127.0.0.1")
    if evicted != SESSIONS:
        raise RuntimeError(f"evicted {evicted} sessions, not {SESSIONS}")
    return (time.thread_time() - began) * 1e3


async def main(echo: str, load: str, turns: int) -> Values:
    with echoing(echo) as upstream:
        edge = te.Edge("tcp://127.0.0.1:0", limits(), te.Forward(f"tcp://127.0.0.1:{upstream}"))
        async with serving(edge) as port:
            found = [await evict_all(edge, load, port) for _ in range(min(turns, TURNS))]
    steps, calls, seconds = zip(*found, strict=True)
    # An instrument sees no beginning of the step in which it was made, so the call counts for itself.
    return {
        "crowd_stall_ms": median(max(each) for each in zip(steps, calls, strict=True)),
        "crowd_call_ms": median(calls),
        "crowd_seconds": median(seconds),
    }


if __name__ == "__main__":
    run(main)
