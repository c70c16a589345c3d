"""An edge full of sessions, to evict some of them: `python -m tests.bench.evict UPSTREAM COUNT relaying|connecting`.

An eviction finds the sessions of one source and cuts them; how many others live must not matter. The harness
runs two of these processes, one with few sessions and one with many, and asks them in turn. The clients are
sockets of this process. Prints a line of JSON once COUNT sessions live, and one more for every line it reads.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
import time

import trio

import trioedge as te
from tests.bench.edges import limits

CROWD, EVICTED = "127.0.0.1", "127.0.0.2"
"""Sources: of the sessions that stay, and of those that are cut."""
CUT = 3
REPEATS = 10
"""Evictions for each line that is read; their median is answered."""
PING = b"p" * 64

Client = trio.socket.SocketType


async def open_client(port: int, source: str, *, exchange: bool) -> Client:
    """One client of the edge; with an exchange, so that its session surely relays."""
    client = trio.socket.socket()
    await client.bind((source, 0))
    await client.connect(("127.0.0.1", port))
    if exchange:
        await client.send(PING)
        got = 0
        while got < len(PING):
            data = await client.recv(len(PING) - got)
            if not data:
                raise RuntimeError("the edge closed a session that it should carry")
            got += len(data)
    return client


async def until_live(edge: te.Edge, count: int) -> None:
    """Wait until the edge has that many sessions."""
    with trio.fail_after(30):
        while sum(1 for _ in edge.sessions) != count:
            await trio.sleep(0.01)


async def evict(edge: te.Edge, port: int, count: int, *, exchange: bool) -> tuple[float, float]:
    """Microseconds of one `evict` of three sessions, and until their clients saw the end."""
    doomed = [await open_client(port, EVICTED, exchange=exchange) for _ in range(CUT)]
    await until_live(edge, count)
    start = time.perf_counter_ns()
    evicted = edge.evict(source=EVICTED)
    called = time.perf_counter_ns()
    for client in doomed:
        with contextlib.suppress(ConnectionResetError):
            assert not await client.recv(1)
    seen = time.perf_counter_ns()
    if evicted != CUT:
        raise RuntimeError(f"evicted {evicted} sessions, not {CUT}")
    for client in doomed:
        client.close()
    return (called - start) / 1e3, (seen - start) / 1e3


async def main(upstream: str, count: int, kind: str) -> None:
    """Fill an edge, then obey until stdin ends."""
    exchange = kind == "relaying"
    endpoint = te.Forward(f"tcp://127.0.0.1:{upstream}", connect_seconds=600.0)
    edge = te.Edge(listen="tcp://127.0.0.1:0", stages=limits(), endpoint=endpoint)
    async with trio.open_nursery() as nursery:
        await nursery.start(edge.serve)
        port = int(edge.addresses[0].rpartition(":")[2])
        crowd = [await open_client(port, CROWD, exchange=exchange) for _ in range(count - CUT)]
        say(held=len(crowd))
        async for _ in trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())):
            times = [await evict(edge, port, count, exchange=exchange) for _ in range(REPEATS)]
            called, seen = map(statistics.median, zip(*times, strict=True))
            say(call_us=called, seen_us=seen)
        nursery.cancel_scope.cancel()


def say(**fields: float) -> None:
    """Answer the harness."""
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]), sys.argv[3])
