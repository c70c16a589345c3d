"""The byte rate of a service whose eight clients come from eight addresses, so that two workers have parts of it.

Once down and once up, from the first byte on: the mean of five seconds from the third on, and of the two before them.
"""

from __future__ import annotations

from pathlib import Path

import trio

from tests.bench.rates import Flowmeter, pour
from tests.bench.workers.edges import PACED_RATE
from tests.bench.workers.families import CORES, Values, family, run

FLOWS = 8
FIRST_SECONDS, SECONDS = 2.0, 5.0


class Direction:
    """A service that is filled in one direction."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.meter = Flowmeter()
        self.listeners: list[trio.SocketListener] = []

    async def listen(self) -> int:
        self.listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        return int(self.listeners[0].socket.getsockname()[1])

    async def run(self, port: int) -> None:
        """Have the upstream and the clients send and receive until cancelled."""
        sends, receives = pour, self.meter.drink
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, sends if self.name == "down" else receives, self.listeners)
            for number in range(FLOWS):
                sock = trio.socket.socket()
                await sock.bind((f"127.2.{number}.1", 0))
                await sock.connect(("127.0.0.1", port))
                nursery.start_soon(receives if self.name == "down" else sends, trio.SocketStream(sock))

    def errors(self) -> Values:
        """Percent that the rate is off, in both periods."""
        first = next(at for at, count in self.meter.log if count)
        begun = self.meter.rate(first, FIRST_SECONDS)
        steady = self.meter.rate(first + FIRST_SECONDS, SECONDS)
        return {
            f"flows_{self.name}_first_percent": 100 * abs(begun / PACED_RATE - 1),
            f"flows_{self.name}_percent": 100 * abs(steady / PACED_RATE - 1),
        }


async def measure() -> Values:
    directions = [Direction("down"), Direction("up")]
    upstreams = [await direction.listen() for direction in directions]
    start = family("paced", 2, ",".join(map(str, upstreams)), ports=2)
    edge = await trio.to_thread.run_sync(start.__enter__)
    try:
        edge.pin(CORES)
        async with trio.open_nursery() as nursery:
            for direction, port in zip(directions, edge.ports, strict=True):
                nursery.start_soon(direction.run, port)
            await trio.sleep(FIRST_SECONDS + SECONDS + 0.5)
            nursery.cancel_scope.cancel()
    finally:
        start.__exit__(None, None, None)
    values = {name: value for direction in directions for name, value in direction.errors().items()}
    return {
        **values,
        "flows_percent": max(values["flows_down_percent"], values["flows_up_percent"]),
        "flows_first_percent": max(values["flows_down_first_percent"], values["flows_up_first_percent"]),
    }


def main(echo: Path, load: Path, turns: int) -> Values:
    del echo, load, turns
    return trio.run(measure)


if __name__ == "__main__":
    run(main)
