"""The fuzz of rhythms: scripted sessions in every mode, while one service is evicted, disabled and limited.

Every byte that arrives is compared with what was sent; sessions in which both sides end in order must be whole; the
edge's counts must lie between what both sides saw, and in a last phase of orderly sessions be equal to it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio
import trio.lowlevel

from tests.soak import edge_process, traffic
from tests.soak.edge_process import Connect, Edge
from tests.soak.findings import Row, Task
from tests.soak.traffic import Crowd, Traffic

MODES = ("plain", "local", "preconnect", "middleware", "wrapped", "pacing", "idle", "devices", "all")
CLIENTS = 24
"""Of the service that must be whole."""
DOOMED = 8
"""Of the service that is evicted and changed."""
EXACT_CLIENTS = 12
WILD_PART = 0.6
"""The part of the time in which everything happens; in the rest, all sessions are orderly and counts are equal."""
AT_LEAST = 0.5
"""Seconds of each, however long the edge took to start."""


async def fuzz(task: Task) -> list[Row]:
    """Run every mode, and the same orderly sessions through HAProxy and nginx."""
    rows = []
    share = task.seconds / (len(MODES) + len(task.peers))
    for number, mode in enumerate(MODES):
        rows.append(await _mode(mode, share, task.seed * 100 + number, task.folder))
        task.say(f"fuzz, {mode}: {rows[-1].tried}, {len(rows[-1].faults)} faults")
    for name in task.peers:
        rows.append(await _peer(name, share, task.seed * 100 + 50, task.folder))
        task.say(f"fuzz, {name}: {rows[-1].tried}, {len(rows[-1].faults)} faults")
    return rows


async def _mode(mode: str, seconds: float, seed: int, folder: Path) -> Row:
    folder = folder / mode
    folder.mkdir(parents=True, exist_ok=True)
    path = str(folder / "upstream.sock") if mode == "local" else None
    row = Row("fuzz", mode, "nothing")
    began = trio.current_time()
    with traffic.upstream_socket(path) as listener:
        upstream = f"unix://{path}" if path else f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        try:
            async with edge_process.edge(mode, upstream, folder) as edge, trio.open_nursery() as nursery:
                wild, exact = Traffic(), Traffic()
                serving = trio.CancelScope()
                nursery.start_soon(_serve, wild, listener, serving)
                await _wild(edge, wild, mode, began + seconds * WILD_PART, seed)
                before = await edge.settled()
                row.faults += _bounds(before, wild)
                serving.cancel()
                await trio.sleep(0.05)
                nursery.start_soon(_serve, exact, listener, serving := trio.CancelScope())
                await _exact(edge, exact, began + seconds, seed + 1)
                row.faults += _equal(before, await edge.settled(), exact)
                row.faults += [*wild.faults, *exact.faults, *(f"log: {line[:400]}" for line in edge.faults())]
                row.tried = f"{wild.sessions + exact.sessions:,} sessions, {(wild.bytes + exact.bytes) / 1e6:,.0f} MB"
                row.figures = {
                    "sessions": wild.sessions + exact.sessions,
                    "bytes": wild.bytes + exact.bytes,
                    "whole": wild.whole + exact.whole,
                }
                serving.cancel()
                nursery.cancel_scope.cancel()
        except* (RuntimeError, trio.TooSlowError) as group:
            row.faults += [f"the edge: {each!r}" for each in group.exceptions]
    return row


async def _serve(traffic_: Traffic, listener: traffic.Sock, scope: trio.CancelScope) -> None:
    with scope:
        await traffic.serve(traffic_, listener)


async def _wild(edge: Edge, wild: Traffic, mode: str, until: float, seed: int) -> None:
    """All rhythms, with evictions and changes in the middle."""
    pause = 0.2 if mode == "idle" else 0.05
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        steady = Crowd(wild, 2 * seed, longest_pause=pause)
        doomed = Crowd(wild, 2 * seed + 1, longest_pause=pause)
        for number in range(CLIENTS):
            source = None if mode == "local" else f"127.0.1.{1 + number}"
            nursery.start_soon(_crowd, steady, edge.connect("steady", source), stop, False)
        for number in range(DOOMED):
            source = None if mode == "local" else f"127.0.2.{1 + number}"
            nursery.start_soon(_crowd, doomed, edge.connect("doomed", source), stop, True)
        chance = random.Random(seed)
        with trio.move_on_at(max(until, trio.current_time() + AT_LEAST)):
            while True:
                await trio.sleep(chance.uniform(0.02, 0.3))
                await edge.ask(chance.choice(("evict", "evict", "change")))
        stop.set()


async def _crowd(crowd: Crowd, connect: Connect, stop: trio.Event, doomed: bool) -> None:
    await crowd.run(connect, stop, doomed=doomed)


async def _exact(edge: Edge, exact: Traffic, until: float, seed: int) -> None:
    """Orderly sessions alone."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        crowd = Crowd(exact, 2 * seed + 1_000, orderly=True)
        for _ in range(EXACT_CLIENTS):
            nursery.start_soon(_crowd, crowd, edge.connect("steady"), stop, False)
        await trio.sleep(max(AT_LEAST, until - trio.current_time()))
        stop.set()


def _bounds(state: Mapping[str, Any], seen: Traffic) -> list[str]:
    """Where the edge's counts do not lie between what both sides saw."""
    faults = []
    if state["live"]:
        faults.append(f"{state['live']} sessions live when all clients have gone")
    for way, sent, got in (("up", seen.sent_up, seen.got_up), ("down", seen.sent_down, seen.got_down)):
        if not got <= state[f"bytes_{way}"] <= sent:
            faults.append(f"bytes {way}: the edge counts {state[f'bytes_{way}']:,}; sent {sent:,}, arrived {got:,}")
    ended = sum(state["ended"].values()) + sum(state["refused"].values()) + state["live"]
    if ended != state["accepted"]:
        faults.append(f"{state['accepted']:,} sessions accepted, {ended:,} refused, ended or live")
    if not seen.connects <= state["accepted"] <= seen.attempts:
        faults.append(f"{state['accepted']:,} sessions accepted, {seen.connects:,} of {seen.attempts:,} connects made")
    if "fault" in state["ended"] or "fault" in state["refused"]:
        faults.append(f"sessions ended by a fault: {state['ended']} {state['refused']}")
    return faults


def _equal(before: Mapping[str, Any], after: Mapping[str, Any], seen: Traffic) -> list[str]:
    """Where counts of orderly sessions differ from what both sides saw."""
    faults = []
    for name, count in (
        ("bytes_up", seen.got_up), ("bytes_up", seen.sent_up), ("bytes_down", seen.got_down),
        ("bytes_down", seen.sent_down), ("accepted", seen.connects),
    ):  # fmt: skip
        if after[name] - before[name] != count:
            faults.append(f"orderly sessions: the edge counts {after[name] - before[name]:,} {name}, seen {count:,}")
    return faults


async def _peer(name: str, seconds: float, seed: int, folder: Path) -> Row:
    """The same sessions through another proxy, whose counts are not asked."""
    seen, stop = Traffic(), trio.Event()
    with traffic.upstream_socket(None) as listener:
        async with (
            edge_process.peer(edge_process.PEERS[name], listener.getsockname()[1], folder) as (address, _),
            trio.open_nursery() as nursery,
        ):
            serving = trio.CancelScope()
            nursery.start_soon(_serve, seen, listener, serving)
            async with trio.open_nursery() as clients:
                crowd = Crowd(seen, 2 * seed)
                for _ in range(CLIENTS):
                    clients.start_soon(_crowd, crowd, edge_process.connector(address), stop, False)
                await trio.sleep(seconds)
                stop.set()
            serving.cancel()
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    figures: dict[str, float] = {"sessions": seen.sessions, "bytes": seen.bytes, "whole": seen.whole}
    tried = f"{seen.sessions:,} sessions, {seen.bytes / 1e6:,.0f} MB"
    return Row("fuzz", name, tried, seen.faults, figures, peer=name)
