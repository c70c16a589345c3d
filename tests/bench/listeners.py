"""1,000 services with a listener each: all opened by one snapshot, one removed, all moved, all closed.

How long the loop is held is measured in processor time, as in `snapshots`. A session of each of some services lives
meanwhile, and only those of the removed service may end.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from statistics import median

import trio

import trioedge as te
from tests.bench.probe import Values, echoing, run
from tests.bench.snapshots import LongestStep
from tests.support.ports import free_ports

SERVICES = 1_000
LIVING = 100
TURNS = 5


async def stall(act: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Milliseconds of the longest step, and of the whole."""
    longest, began = LongestStep(), time.perf_counter()
    await act()
    whole = time.perf_counter() - began
    return longest.stop() * 1e3, whole * 1e3


async def turn(upstream: int) -> dict[str, float]:
    """One edge, from its first listener to its last."""
    ports = free_ports(SERVICES)
    to = f"tcp://127.0.0.1:{upstream}"
    control = te.MemoryControl({})
    forward = te.Forward(allow=["loopback"])
    edge = te.Edge([], [], forward, control=control, open_ports="tcp://127.0.0.1:1-65535")

    def named(shift: int) -> dict[str, te.Settings]:
        moved = ports[shift:] + ports[:shift]
        return {
            f"s{number}": te.Settings(te.Policy(listen=(f"tcp://127.0.0.1:{port}",), destination=to))
            for number, port in enumerate(moved)
        }

    found = dict[str, float]()
    async with trio.open_nursery() as nursery:
        await nursery.start(edge.serve)
        opened, moved = te.Snapshot(named(0), full=False), te.Snapshot(named(1), full=False)
        found["stall"], found["ms"] = await stall(lambda: control.apply(opened))
        if edge.control_state().listeners != SERVICES:
            raise RuntimeError(f"{edge.control_state().listeners} listeners are open: {edge.control_state()}")
        clients = [await trio.open_tcp_stream("127.0.0.1", port) for port in ports[:LIVING]]
        for client in clients:
            await client.send_all(b"ping")
            await client.receive_some(4)
        found["move_stall"], _ = await stall(lambda: control.apply(moved))
        found["remove_stall"], found["remove_ms"] = await stall(lambda: control.remove("s0"))
        found["lost"] = LIVING - 1 - edge.statistics().live
        found["close_stall"], _ = await stall(lambda: drained(edge))
        for client in clients:
            await client.aclose()
        nursery.cancel_scope.cancel()
    return found


async def drained(edge: te.Edge) -> None:
    """Drain until every listener is closed."""
    edge.drain()
    while edge.control_state().listeners:
        await trio.sleep(0.001)
    await trio.sleep(0.05)


async def main(echo: str, load: str, turns: int) -> Values:
    del load
    with echoing(echo) as upstream:
        found = [await turn(upstream) for _ in range(min(turns, TURNS))]
    return {
        f"listeners_{name}{'' if '_ms' in name or name in ('ms', 'lost') else '_ms'}": median(
            each[name] for each in found
        )
        for name in found[0]
    }


if __name__ == "__main__":
    run(main)
