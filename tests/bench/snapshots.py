"""Policies of 100,000 services that change while sessions run: one service, all of them, and all of them over HTTP.

How long the loop is held is measured in processor time, task step by task step: a neighbour on the same core is not
the edge's doing. What the round trip of a session feels is measured by the clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from statistics import median

import trio

import trioedge as te
from tests.bench.probe import Values, ask, child, echoing, run, serving
from tests.bench.processes import python

SERVICES = 100_000
RTT_SECONDS = 0.5


def policy(number: int, session_rate: float = 100.0) -> te.Settings:
    """What service `number` may."""
    accept = ("127.0.0.0/8",)
    return te.Settings(te.Policy(session_rate=session_rate, max_sessions=200, down_rate=1e9 + number, accept=accept))


def everything(session_rate: float = 100.0) -> dict[str, te.Settings]:
    """All services; at the same rate equal to those of before, and other objects, as if they had just been read."""
    return {f"service-{number}": policy(number, session_rate) for number in range(SERVICES)}


def edge(upstream: int, control: te.ControlPlane) -> te.Edge:
    """An edge of which every stage goes by the policy of the service."""
    limits = [te.SessionGate(), te.SourceMatch(), te.ConcurrencyLimit(per="service"), te.Pacing()]
    stages = [te.Identify("service-0"), *limits]
    return te.Edge("tcp://127.0.0.1:0", stages, te.Forward(f"tcp://127.0.0.1:{upstream}"), control=control)


class Told:
    """A control plane that lets hold what it is given, and copies nothing on the way."""

    def __init__(self, services: dict[str, te.Settings]) -> None:
        self._first = te.Snapshot(services)
        self.link: te.Link

    async def run(self, link: te.Link, *, task_status: trio.TaskStatus[None]) -> None:
        self.link = link
        await link.apply(self._first)
        task_status.started()
        await trio.sleep_forever()


class LongestStep(trio.abc.Instrument):
    """The longest that any task held the loop, in seconds of processor time, since it was last asked."""

    def __init__(self) -> None:
        self._began = self._longest = 0.0
        trio.lowlevel.add_instrument(self)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._began:
            self._longest = max(self._longest, time.thread_time() - self._began)

    def stop(self) -> float:
        trio.lowlevel.remove_instrument(self)
        return self._longest


Apply = Callable[[], Awaitable[object]]
"""Lets one more snapshot hold, whole, in which one service differs."""


async def stall(apply: Apply, turns: int) -> Values:
    """Milliseconds of the longest step during a snapshot, and seconds until it holds."""
    steps, seconds = [], []
    for _ in range(turns):
        longest, began = LongestStep(), time.perf_counter()
        await apply()
        seconds.append(time.perf_counter() - began)
        steps.append(longest.stop() * 1e3)
    return {"stall_ms": median(steps), "seconds": median(seconds)}


async def round_trips(apply: Apply, load: str, port: int, turns: int) -> Values:
    """Round trips on a session without and with snapshots, one after the other."""
    quiet, busy = [], []

    async def keep_applying(enough: trio.Event) -> None:
        while not enough.is_set():
            await apply()

    for _ in range(turns):
        quiet.append(await ask(load, "rtt", port, RTT_SECONDS, 0.05))
        enough = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_applying, enough)
            busy.append(await ask(load, "rtt", port, RTT_SECONDS, 0.05))
            enough.set()

    def ratio(percentile: str) -> float:
        return float(median(each[percentile] / other[percentile] for each, other in zip(busy, quiet, strict=True)))

    return {
        "rtt_quiet_p99_us": median(each["p99_ns"] for each in quiet) / 1e3,
        "rtt_p99_us": median(each["p99_ns"] for each in busy) / 1e3,
        "rtt_p50_ratio": ratio("p50_ns"),
        "rtt_p99_ratio": ratio("p99_ns"),
    }


async def from_memory(upstream: int, load: str, turns: int) -> Values:
    """Deltas and whole snapshots from this process."""
    control = Told(everything())
    edge_ = edge(upstream, control)
    again = everything()
    count = 0

    async def whole() -> None:
        nonlocal count
        count += 1
        again["service-7"] = policy(7, 1000.0 + count)
        await control.link.apply(te.Snapshot(again))

    async with serving(edge_) as port:
        before = list(edge_.services.values())
        deltas = []
        for turn in range(10 * turns):
            delta = te.Snapshot({f"service-{turn * 31}": policy(turn, 50.0)}, full=False)
            began = time.perf_counter()
            await control.link.apply(delta)
            deltas.append(time.perf_counter() - began)
        remade = sum(then is not now for then, now in zip(before, edge_.services.values(), strict=True))
        rates = iter(range(200, 300))
        made = [everything(float(next(rates))) for _ in range(2)]

        async def different() -> None:
            await control.link.apply(te.Snapshot(made.pop()))

        return {
            "snapshot_delta_ms": median(deltas) * 1e3,
            "snapshot_remade": remade,
            **_named("snapshot", await stall(whole, max(2, turns // 4))),
            **_named("snapshot", await round_trips(whole, load, port, max(2, turns // 2))),
            **_named("snapshot_all", await stall(different, len(made))),
        }


async def over_http(upstream: int, load: str, turns: int) -> Values:
    """Whole snapshots as lines of JSON, from a server on another core."""
    with snapshot_server() as (url, do):
        edge_ = edge(upstream, te.HttpControl(url))

        async def whole() -> None:
            version = do("change")
            while edge_.control_state().version != version:
                await trio.sleep(0.1)  # what looks more often is felt itself

        async with serving(edge_) as port:
            return {
                **_named("snapshot_http", await stall(whole, max(2, turns // 4))),
                **_named("snapshot_http", await round_trips(whole, load, port, max(2, turns // 2))),
            }


@contextmanager
def snapshot_server() -> Iterator[tuple[str, Callable[[str], str]]]:
    """Run a control plane; give its URL, and what does a line of it and gives the version that this makes."""
    here = os.sched_getaffinity(0)
    with child(python("tests.bench.snapshot_server", str(SERVICES)), stdin=subprocess.PIPE) as process:
        os.sched_setaffinity(process.pid, set(range(os.cpu_count() or 1)) - here or here)
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def do(line: str) -> str:
            stdin.write(f"{line}\n")
            stdin.flush()
            return str(json.loads(stdout.readline())["version"])

        yield json.loads(stdout.readline())["url"], do


def _named(prefix: str, values: Values) -> Values:
    return {f"{prefix}_{name}": value for name, value in values.items()}


async def main(echo: str, load: str, turns: int) -> Values:
    with echoing(echo) as upstream:
        return {**await from_memory(upstream, load, turns), **await over_http(upstream, load, turns)}


if __name__ == "__main__":
    run(main)
