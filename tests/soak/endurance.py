"""The soak: edges that serve, evict and change all the time must be as small at the end as after two minutes.

A round is short sessions, bulk, sessions from new sources, evictions and changes; behind each, once no session lives,
descriptors, tasks, objects and memory are read. HAProxy and nginx get the same sessions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import trio

from tests.bench.build import build
from tests.soak import edge_process, load
from tests.soak.edge_process import Edge
from tests.soak.findings import Row, Task

MODES = ("all", "preconnect", "wrapped")
SETTLED_SECONDS = 120.0
SETTLED_PART = 0.3
"""Growth is measured from two minutes on, or from this part of a shorter run on."""
BAR = 0.02
"""How much may be added from then to the end, as a part."""
ROUND_SECONDS = 0.5
SETTLING_SECONDS = 0.05
"""The same before growth is measured, so that every table has been full for long by then."""
SOURCES = 200
"""Addresses that a round comes from."""
ROUNDS = 10
"""Then they come again: the tables of sources and devices are full long before the time from which all is flat."""
FLAT = {"rss_kib": 256, "objects": 2_000, "blocks": 5_000, "descriptors": 0, "tasks": 0}
"""The figures that must be flat, and what garbage that is not collected yet makes of them."""


@dataclass
class Watched:
    """One process and what was read of it: (seconds, figures)."""

    name: str
    address: str
    edge: Edge | None = None
    pid: int = 0
    sessions: int = 0
    read: list[tuple[float, Mapping[str, float]]] = field(default_factory=list)

    async def look(self, at: float) -> None:
        """Read the figures that must be flat."""
        if self.edge is None:
            values = _of(self.pid)
        else:
            state = await self.edge.settled()
            values = {name: state[name] for name in (*FLAT, "live")}
        self.read.append((at, values))

    def row(self, settled: float, end: float) -> Row:
        """What grew."""
        early, late = (
            [values for at, values in self.read if begin <= at <= stop]
            for begin, stop in ((settled, settled + 0.25 * (end - settled)), (end - 0.25 * (end - settled), end))
        )
        row = Row("soak", self.name, f"{self.sessions:,} sessions in {end:.0f} s", peer=self.name)
        row.peer = "trioedge" if self.edge else self.name
        for name, noise in FLAT.items():
            if early and late and name in early[0]:
                before, after = _middle(early, name), _middle(late, name)
                row.figures[name] = after
                row.figures[f"{name} grew %"] = round(100 * (after / before - 1), 2)
                if after - before > max(noise, BAR * before):
                    row.faults.append(f"{name}: {before:,.0f} grew to {after:,.0f}")
        if not (early and late):
            row.faults.append("too short to say anything")
        if any(values.get("live") for _, values in self.read):
            row.faults.append("sessions lived on when their clients had gone")
        if self.edge:
            row.faults += [f"log: {line[:400]}" for line in self.edge.faults()]
        return row


def _of(pid: int) -> Mapping[str, float]:
    """Memory and descriptors of a process that answers no questions."""
    status = Path(f"/proc/{pid}/status").read_text()
    kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return {"rss_kib": kib, "descriptors": len(os.listdir(f"/proc/{pid}/fd"))}


def _middle(values: Sequence[Mapping[str, float]], name: str) -> float:
    return median(each[name] for each in values)


async def endurance(task: Task) -> list[Row]:
    """Run all of them for the whole time, round by round."""
    folder = task.folder / "soak"
    folder.mkdir()
    echo, client = build(folder)
    began = trio.current_time()
    settled = min(SETTLED_SECONDS, SETTLED_PART * task.seconds)
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(load.echoing(echo))
        watched = []
        for mode in MODES:
            edge = await stack.enter_async_context(
                edge_process.edge(mode, f"tcp://127.0.0.1:{upstream}", folder / mode)
            )
            watched.append(Watched(mode, edge.addresses["steady"], edge))
        for name in task.peers:
            address, pid = await stack.enter_async_context(
                edge_process.peer(edge_process.PEERS[name], upstream, folder)
            )
            watched.append(Watched(name, address, pid=pid))
        number, said = 0, 0.0
        while (at := trio.current_time() - began) < task.seconds:
            number += 1
            for each in watched:
                await _round(each, client, number, SETTLING_SECONDS if at < settled else ROUND_SECONDS)
                await each.look(trio.current_time() - began)
            if at - said > 15:
                said = at
                task.say(
                    f"soak, {at:.0f} s: "
                    + ", ".join(f"{each.name} {each.read[-1][1]['rss_kib']:,.0f} KiB" for each in watched)
                )
        return [each.row(settled, trio.current_time() - began) for each in watched]


async def _round(each: Watched, client: Path, number: int, seconds: float) -> None:
    """Sessions of all sorts."""
    async with trio.open_nursery() as nursery:
        if each.edge is not None:
            doomed = each.edge.addresses["doomed"]
            nursery.start_soon(load.ask, client, "sessions", doomed, seconds, 0, 4)
        answer = await load.ask(client, "sessions", each.address, seconds, 0, 16)
        each.sessions += int(answer["count"]) if answer else 0
        if each.edge is not None:
            await each.edge.ask("evict")
            await each.edge.ask("change")
    await load.ask(client, "cold", each.address, SOURCES, number % ROUNDS * SOURCES, 0)
    await load.ask(client, "bulk", each.address, 0.4 * seconds, 0)
    each.sessions += SOURCES + 1
