"""A service that is disabled while a large change is applied: how long its session goes on.

Behind 25,000 rules of another service, and behind a snapshot in which all of 100,000 services differ. The change that
disables comes once the large one has begun; nothing else keeps the machine busy.
"""

from __future__ import annotations

import contextlib
import time
from statistics import median

import trio

import trioedge as te
from tests.bench.prefixes import prefixes
from tests.bench.probe import Values, echoing, port_of, run, serving
from tests.bench.processes import free_port
from tests.bench.snapshots import Told, everything

RULES = 25_000
HEAD_START_SECONDS = 0.02
"""After which the large change is surely at work."""
FEW = 2
"""Turns behind 100,000 services: each waits until all of them are applied."""

ENABLED = te.Settings(te.Policy(accept=("127.0.0.0/8",)))
DISABLED = te.Settings(te.Policy(accept=("127.0.0.0/8",), enabled=False))


async def cut_behind(control: Told, large: te.Snapshot, port: int) -> float:
    """Milliseconds from disabling `b` on, while `large` is applied, until the client of its session sees the end."""
    await control.link.apply(te.Snapshot({"b": ENABLED}, full=False))
    client = await trio.open_tcp_stream("127.0.0.1", port)
    await client.send_all(b"ping")
    assert await client.receive_some(4)
    took = 0.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(control.link.apply, large)
        await trio.sleep(HEAD_START_SECONDS)
        began = time.perf_counter()

        async def seen() -> None:
            nonlocal took
            with contextlib.suppress(trio.BrokenResourceError):
                await client.receive_some(1)
            took = (time.perf_counter() - began) * 1e3

        nursery.start_soon(seen)
        nursery.start_soon(control.link.apply, te.Snapshot({"b": DISABLED}, full=False))
    await client.aclose()
    return took


async def main(echo: str, load: str, turns: int) -> Values:
    del load
    with echoing(echo) as upstream:
        listeners = {f"tcp://127.0.0.1:{free_port()}": name for name in ("a", "b")}
        services = everything() | {"a": ENABLED, "b": ENABLED}
        control = Told(services)
        stages = [te.Identify(listeners), te.SessionGate(), te.SourceMatch(), te.ConcurrencyLimit(per="service")]
        edge = te.Edge(list(listeners), stages, te.Forward(f"tcp://127.0.0.1:{upstream}"), control=control)
        async with serving(edge):
            port = port_of(edge, 1)
            rules, all_services = [], []
            for turn in range(turns):
                accept = ("127.0.0.0/8", *prefixes(RULES + turn))
                large = te.Snapshot({"a": te.Settings(te.Policy(accept=tuple(accept)))}, full=False)
                rules.append(await cut_behind(control, large, port))
            for turn in range(FEW):
                large = te.Snapshot(everything(1_000.0 + turn) | {"a": ENABLED, "b": ENABLED})
                all_services.append(await cut_behind(control, large, port))
    return {"urgent_rules_ms": median(rules), "urgent_services_ms": median(all_services)}


if __name__ == "__main__":
    run(main)
