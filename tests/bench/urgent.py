"""A service that is disabled while a large change is applied: how long its session goes on, over HTTP.

Behind 25,000 rules of another service, and behind an answer in which all of 100,000 services differ. The control plane
disables as soon as the edge asks for what comes behind the large answer; nothing else keeps the machine busy. The
client's wait contains the way over HTTP.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from statistics import median

import trio

import trioedge as te
from tests.bench.probe import Values, echoing, port_of, run, serving
from tests.bench.processes import free_port
from tests.bench.snapshots import snapshot_server

RULES = 24_900
"""And some more each turn; a line may have 25,000 values."""
FEW = 3
"""Turns behind 100,000 services: each waits until all of them are applied."""


async def cut_behind(do: Callable[[str], str], large: str, edge: te.Edge) -> float:
    """Milliseconds from disabling `b` on, while `large` is applied, until the client of its session sees the end."""

    async def done(line: str) -> str:
        return await trio.to_thread.run_sync(do, line)

    async def applied(version: str) -> None:
        while edge.control_state().version != version:
            await trio.sleep(0.05)

    await applied(await done("enable"))
    await done("asked")
    client = await trio.open_tcp_stream("127.0.0.1", port_of(edge, 1))
    await client.send_all(b"ping")
    assert await client.receive_some(4)
    before = await done(large)
    await done("asked")
    assert edge.control_state().version != before, "the large change was applied before the edge asked"
    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(done, "disable")
        with contextlib.suppress(trio.BrokenResourceError):
            await client.receive_some(1)
        took = (time.perf_counter() - began) * 1e3
    await client.aclose()
    return took


async def main(echo: str, load: str, turns: int) -> Values:
    del load
    with echoing(echo) as upstream, snapshot_server() as (url, do):
        listeners = {f"tcp://127.0.0.1:{free_port()}": name for name in ("a", "b")}
        stages = [te.Identify(listeners), te.SessionGate(), te.SourceMatch(), te.ConcurrencyLimit(per="service")]
        upstreams = te.Forward(f"tcp://127.0.0.1:{upstream}")
        edge = te.Edge(list(listeners), stages, upstreams, control=te.HttpControl(url))
        async with serving(edge):
            rules = [await cut_behind(do, f"rules {RULES}", edge) for _ in range(turns)]
            services = [await cut_behind(do, "all", edge) for _ in range(FEW)]
    return {"urgent_rules_ms": median(rules), "urgent_services_ms": median(services)}


if __name__ == "__main__":
    run(main)
