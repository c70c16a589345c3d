"""Whether a service gets its rate, over however many sessions; how soon a new one; what pacing costs the edge."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from statistics import median

import trio

import trioedge as te
from tests.bench.probe import Values, ask, echoing, port_of, run, serving
from tests.bench.processes import free_port

RATE = 16e6
FLOWS = (1, 2, 8)
CHANGED = ("down_1", "up_2", "down_8")
"""Services whose rate is changed while they are at it."""
SETTLE_SECONDS = 1.0
WINDOW_SECONDS = 0.5
WITHIN = 0.15
CHUNK = 65536

PACED_RATE = 100e6
"""Bytes a second each way, where processor time is measured."""
PACED_FLOWS = 4


class Flowmeter:
    """When how many bytes had arrived."""

    def __init__(self) -> None:
        self.log: list[tuple[float, int]] = [(time.perf_counter(), 0)]

    async def drink(self, stream: trio.SocketStream) -> None:
        """Receive for ever."""
        while data := await stream.receive_some(CHUNK):
            self.log.append((time.perf_counter(), self.log[-1][1] + len(data)))

    def rate(self, begin: float, seconds: float) -> float:
        """Bytes a second in the `seconds` from `begin` on."""
        return (self._until(begin + seconds) - self._until(begin)) / seconds

    def _until(self, moment: float) -> int:
        return next((count for at, count in reversed(self.log) if at <= moment), 0)


async def pour(stream: trio.SocketStream) -> None:
    """Send for ever."""
    chunk = bytes(CHUNK)
    while True:
        await stream.send_all(chunk)


class Busy:
    """Services that carry as much as they may in one direction, each over so many sessions."""

    def __init__(self, flows: Mapping[str, int], nursery: trio.Nursery) -> None:
        self.meters = {name: Flowmeter() for name in flows}
        self._flows = flows
        self._nursery = nursery
        self._upstreams: dict[str, int] = {}
        self._control = te.MemoryControl()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Run an edge for these services, and fill it."""
        for name in self._flows:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            self._upstreams[name] = listeners[0].socket.getsockname()[1]
            self._nursery.start_soon(trio.serve_listeners, self._side(name, sends="down"), listeners)
        await self.set_rate(RATE)
        names = {f"tcp://127.0.0.1:{free_port()}": name for name in self._flows}
        stages = [te.Identify(names), te.Pacing()]
        edge = te.Edge(list(names), stages, te.Forward(allow=["loopback"]), control=self._control)
        async with serving(edge):
            for number, name in enumerate(self._flows):
                for _ in range(self._flows[name]):
                    client = await trio.open_tcp_stream("127.0.0.1", port_of(edge, number))
                    self._nursery.start_soon(self._side(name, sends="up"), client)
            yield

    def _side(self, name: str, sends: str) -> Callable[[trio.SocketStream], Awaitable[None]]:
        return pour if name.startswith(sends) else self.meters[name].drink

    async def set_rate(self, rate: float) -> None:
        """Let another rate hold for all of them."""
        policies = {
            name: te.Settings(te.Policy(outbound=f"tcp://127.0.0.1:{port}", down_rate=rate, up_rate=rate))
            for name, port in self._upstreams.items()
        }
        await self._control.apply(te.Snapshot(policies))

    async def change(self, rate: float) -> float:
        """Seconds from a new rate on until a window begins in which every service keeps to it."""
        began = time.perf_counter()
        await self.set_rate(rate)
        await trio.sleep(3 * WINDOW_SECONDS)
        for late in range(0, int(2000 * WINDOW_SECONDS), 10):
            rates = [meter.rate(began + late / 1e3, WINDOW_SECONDS) for meter in self.meters.values()]
            if all(abs(each / rate - 1) <= WITHIN for each in rates):
                return late / 1e3
        raise RuntimeError(f"{rate:,} bytes a second were asked for, and {rates} came")


async def accuracy(seconds: float, changes: int) -> Values:
    """How far services are off their rate, and how long a new rate takes to be seen."""
    flows = {f"{way}_{flows}": flows for way in ("down", "up") for flows in FLOWS}
    async with trio.open_nursery() as nursery:
        busy = Busy(flows, nursery)
        async with busy.serving():
            await trio.sleep(SETTLE_SECONDS + seconds)
            begin = time.perf_counter() - seconds
            errors = {name: 100 * abs(meter.rate(begin, seconds) / RATE - 1) for name, meter in busy.meters.items()}
            nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        busy = Busy({name: flows[name] for name in CHANGED}, nursery)
        async with busy.serving():
            await trio.sleep(2 * SETTLE_SECONDS)
            delays = [await busy.change(RATE * times) for times in (3, 1) * changes]
            nursery.cancel_scope.cancel()
    return {
        **{f"rate_{name}_percent": error for name, error in errors.items()},
        "rate_error_percent": max(errors.values()),
        "rate_faster_s": max(delays[::2]),
        "rate_slower_s": max(delays[1::2]),
        "rate_change_s": max(delays),
    }


async def cost(echo: str, load: str, turns: int) -> Values:
    """Processor seconds of the edge for a gigabyte, paced and not."""
    with echoing(echo) as upstream:
        endpoint = f"tcp://127.0.0.1:{upstream}"
        unpaced = te.Edge("tcp://127.0.0.1:0", [], te.Forward(endpoint))
        paced = te.Edge("tcp://127.0.0.1:0", [te.Pacing(PACED_RATE, PACED_RATE)], te.Forward(endpoint))
        paced_cpu, slow_cpu, full_cpu = [], [], []
        async with serving(unpaced), serving(paced):
            for _ in range(turns):
                paced_cpu.append(await one_cost(paced, load))
                slow_cpu.append(await one_cost(unpaced, load, PACED_RATE / PACED_FLOWS))
                full_cpu.append(await one_cost(unpaced, load))
        return {
            "paced_cpu_s_per_gb": median(paced_cpu),
            "slow_cpu_s_per_gb": median(slow_cpu),
            "full_cpu_s_per_gb": median(full_cpu),
            "paced_cpu_ratio": median(a / b for a, b in zip(paced_cpu, slow_cpu, strict=True)),
            "paced_cpu_to_full_ratio": median(a / b for a, b in zip(paced_cpu, full_cpu, strict=True)),
        }


async def one_cost(edge: te.Edge, load: str, client_rate: float = 0) -> float:
    """Processor seconds for a gigabyte, while nothing begins or ends."""
    async with trio.open_nursery() as nursery:
        for _ in range(PACED_FLOWS):
            nursery.start_soon(ask, load, "bulk", port_of(edge), 2.5, 0.1, client_rate)
        await trio.sleep(0.4)
        before, began = edge.statistics(), time.process_time()
        await trio.sleep(2.0)
        after, seconds = edge.statistics(), time.process_time() - began
    return seconds / ((after.bytes_up + after.bytes_down - before.bytes_up - before.bytes_down) / 1e9)


async def main(echo: str, load: str, turns: int) -> Values:
    return {**await accuracy(float(turns), max(1, turns // 4)), **await cost(echo, load, max(6, turns // 2))}


if __name__ == "__main__":
    run(main)
