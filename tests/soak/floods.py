"""A flood against each limit, and what an honest client feels meanwhile.

The flood breaks one limit as fast as it can; an honest client of the same edge does a session every few milliseconds,
before the flood and during it. It must lose none, and wait little longer.
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.bench.balancers import haproxy, nginx
from tests.bench.build import build
from tests.bench.programs import Command
from tests.soak import edge_process, load
from tests.soak.edge_process import Edge
from tests.soak.findings import Row, Task

HONEST = "127.0.0.1"
FLOOD = "127.9.0.1"
PAUSE = 0.01
"""Between two sessions of the honest client: half of what the gate allows."""
SLOW_MS = 250.0
"""An honest session that waits longer, at p99, was not protected; the machine is shared."""
HELD = 1_500
"""Connections that a client opens and says nothing on."""
TRIPS = 20
"""Round trips of a session that lives since before the flood."""
PIPE = 4096
"""Bytes of a pipe that is not read."""
CROWD = 200
"""Connections against an edge of 64 sessions."""

Flood = Callable[[Path, str, float], Awaitable[str]]
"""Attacks an address for some seconds, and says how much it did."""


@dataclass(frozen=True)
class Limit:
    """A limit, its flood, and the same limit in the other proxies' words."""

    mode: str
    what: str
    flood: Flood
    service: str = "steady"
    peers: tuple[tuple[str, Command], ...] = ()
    refuses_honest: bool = False
    """Whether new honest clients are refused, too, while the flood lasts: then those that are in must go on."""
    unread: bool = False
    """Whether stderr is a pipe that is not read."""


async def knocking(client: Path, address: str, seconds: float) -> str:
    answer = await load.ask(client, "sessions", address, seconds, 0, 16, source=FLOOD)
    return _count(answer)


async def refused(client: Path, address: str, seconds: float) -> str:
    answer = await load.ask(client, "refusals", address, seconds, 0, 16, source=FLOOD)
    return _count(answer)


async def crowding(client: Path, address: str, seconds: float) -> str:
    answer = await load.ask(client, "sessions", address, seconds, 0, 100, source=FLOOD)
    return _count(answer)


async def strangers(client: Path, address: str, seconds: float) -> str:
    count, began, first = 0, trio.current_time(), 0
    while trio.current_time() - began < seconds:
        await load.ask(client, "cold", address, 500, first, 0)
        count, first = count + 500, (first + 500) % 60_000
    return f"{count:,} sources"


async def silence(client: Path, address: str, seconds: float) -> str:
    return await _hold(address, HELD, seconds)


async def crowd(client: Path, address: str, seconds: float) -> str:
    return await _hold(address, CROWD, seconds)


async def _hold(address: str, count: int, seconds: float) -> str:
    """Open connections and say nothing."""
    held = []
    connect = edge_process.connector(address, FLOOD)
    with trio.move_on_after(seconds):
        for _ in range(count):
            try:
                held.append(await connect())
            except OSError:
                await trio.sleep(0.001)
        await trio.sleep_forever()
    for sock in held:
        sock.close()
    return f"{len(held):,} connections held"


def _count(answer: object) -> str:
    return f"{answer['count'] + answer['errors']:,} sessions" if isinstance(answer, dict) else "the flood was cut off"


GATE = """\
    stick-table type ip size 100k expire 60s store conn_rate(1s)
    tcp-request connection track-sc0 src
    tcp-request connection reject if { sc0_conn_rate gt 200 }
"""
CONCURRENCY = """\
    stick-table type ip size 100k expire 60s store conn_cur
    tcp-request connection track-sc0 src
    tcp-request connection reject if { sc0_conn_cur gt 20 }
"""
NGINX_CONCURRENCY = nginx("limit_conn_zone $binary_remote_addr zone=clients:1m;", "limit_conn clients 20;")

LIMITS = (
    Limit("gate", "session gate per source", knocking, peers=(("haproxy", haproxy(GATE)),)),
    Limit("concurrency", "sessions of a source", crowding,
          peers=(("haproxy", haproxy(CONCURRENCY)), ("nginx", NGINX_CONCURRENCY))),
    Limit("devices", "devices of a service", strangers, service="doomed"),
    Limit("few", "sessions of the edge", crowd, refuses_honest=True),
    Limit("all", "silent connections", silence, peers=(("haproxy", haproxy()), ("nginx", nginx()))),
    Limit("log", "log lines, stderr not read", refused, service="doomed", unread=True),
)  # fmt: skip


async def floods(task: Task) -> list[Row]:
    """Flood every limit of an edge, and those that HAProxy and nginx have, too."""
    folder = task.folder / "floods"
    folder.mkdir()
    echo, client = build(folder)
    count = len(LIMITS) + sum(name in task.peers for limit in LIMITS for name, _ in limit.peers)
    seconds = max(1.0, task.seconds / count / 2 - 1)
    rows = []
    for limit in LIMITS:
        async with load.echoing(echo) as upstream:
            async with _edge(limit, upstream, folder) as edge:
                target = edge.addresses[limit.service]
                row = await _row(limit, client, edge.addresses["steady"], target, seconds)
                if not edge.alive:
                    row.faults.append(f"the edge ended with {edge.process.returncode}")
                else:
                    try:
                        state = await edge.settled()
                        row.faults += [f"{state['live']} sessions live on"] if state["live"] else []
                    except (RuntimeError, trio.TooSlowError) as fault:
                        row.faults.append(f"the edge does not answer: {fault!r}")
                rows.append(row)
                task.say(f"floods, {row.what}: {row.tried}, {len(row.faults)} faults")
            for name, command in limit.peers:
                if name in task.peers:
                    async with edge_process.peer(command, upstream, folder) as (address, _):
                        row = await _row(limit, client, address, address, seconds)
                        row.peer = name
                        rows.append(row)
                        task.say(f"floods, {row.what}, {name}: {row.tried}, {len(row.faults)} faults")
    return rows


@asynccontextmanager
async def _edge(limit: Limit, upstream: int, folder: Path) -> AsyncIterator[Edge]:
    address = f"tcp://127.0.0.1:{upstream}"
    if not limit.unread:
        async with edge_process.edge(limit.mode, address, folder / limit.mode) as edge:
            yield edge
        return
    reading, writing = os.pipe()
    try:
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE)
        async with edge_process.edge(limit.mode, address, folder / limit.mode, stderr=writing) as edge:
            used = int.from_bytes(fcntl.ioctl(writing, termios.FIONREAD, bytes(4)), sys.byteorder)
            os.write(writing, b"x" * (PIPE - used))  # full from the start
            yield edge
    finally:
        os.close(reading)
        os.close(writing)


async def _row(limit: Limit, client: Path, honest: str, target: str, seconds: float) -> Row:
    """Ask an honest client before and during the flood, and after it."""
    row = Row("floods", limit.what, "nothing")
    quiet = await load.ask(client, "connect", honest, seconds, 0.1, PAUSE, source=HONEST)
    inside = await edge_process.connector(honest, HONEST)()
    with inside:
        flooded: list[str] = []

        async def flood() -> None:
            flooded.append(await limit.flood(client, target, seconds + 0.5))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            await trio.sleep(0.3)
            busy = None
            if not limit.refuses_honest:
                busy = await load.ask(
                    client, "connect", honest, seconds, 0.0, PAUSE, source=HONEST, patience=seconds + 5
                )
            await _round_trips(inside, row)
    row.tried = flooded[0]
    after = await load.ask(client, "connect", honest, 0.5, 0.0, PAUSE, source=HONEST, patience=5)
    if quiet is None or after is None or after["errors"]:
        row.faults.append(f"honest sessions before {quiet}, and after the flood {after}")
    if busy is not None and quiet is not None and "p50_ns" in busy and "p50_ns" in quiet:
        for name in ("p50", "p99"):
            row.figures[f"honest {name} ms, quiet"] = round(quiet[f"{name}_ns"] / 1e6, 2)
            row.figures[f"honest {name} ms, flooded"] = round(busy[f"{name}_ns"] / 1e6, 2)
        if busy["p99_ns"] / 1e6 > SLOW_MS:
            row.faults.append(f"an honest session waits {busy['p99_ns'] / 1e6:,.0f} ms at p99")
        if busy["errors"]:
            row.faults.append(f"{busy['errors']} of {busy['count'] + busy['errors']} honest sessions lost")
    elif not limit.refuses_honest:
        row.faults.append(f"honest sessions got nothing: {busy}")
    return row


async def _round_trips(inside: trio.socket.SocketType, row: Row) -> None:
    """A session that lives since before the flood goes on."""
    slowest = 0.0
    with trio.move_on_after(5) as scope:
        try:
            for _ in range(TRIPS):
                began = trio.current_time()
                await inside.send(b"x" * 64)
                got = 0
                while got < 64:
                    data = await inside.recv(64)
                    if not data:
                        raise ConnectionResetError("the end came")
                    got += len(data)
                slowest = max(slowest, trio.current_time() - began)
        except OSError as fault:
            row.faults.append(f"a session from before the flood was cut: {fault!r}")
    row.figures["slowest round trip inside ms"] = round(1e3 * slowest, 2)
    if scope.cancelled_caught:
        row.faults.append("a session from before the flood stalls")
