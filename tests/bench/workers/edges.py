"""The edges under test: `python -m tests.bench.workers.edges KIND WORKERS FOLDER UPSTREAM PORT [PORT ...]`.

- `limited`: limits by service and by source, which never fire, and a policy; the admin API is `admin.sock` in FOLDER.
- `gates`: a service for each port but the last, with a gate of its own, see `floods`; the last port has no limit.
- `paced`: a service for each port, with a byte rate and an upstream of its own, see `flows`.
- `many`: 100,000 services that change when they are told to, see `fan_out`.

If FOLDER has a file `holds`, each process notes there how long it held its loop.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

import trioedge as te
from tests.bench.edges import limits
from tests.bench.snapshots import everything, policy
from tests.bench.workers.holds import Holds

GATES = [(rate, sources) for rate in (1000, 2) for sources in (1, 100, 10_000)]
"""The rate of each gate, and from how many addresses it is flooded."""

BURST = 32
PACED_RATE = 16e6


def addresses(ports: Sequence[int]) -> list[str]:
    return [f"tcp://127.0.0.1:{port}" for port in ports]


def admin(folder: Path) -> str:
    return f"unix://{folder / 'admin.sock'}"


def limited(folder: Path, upstream: str, ports: Sequence[int]) -> te.Edge:
    """Relay with limits by service and by source."""
    allowed = te.Policy(session_rate=1e6, session_burst=1_000_000, max_sessions=20_000, accept=("127.0.0.0/8",))
    control = te.MemoryControl({"bench": te.Settings(allowed)})
    stages = [te.Identify("bench"), *limits()]
    return te.Edge(addresses(ports), stages, te.Forward(f"tcp://127.0.0.1:{upstream}"), control=control,
                   admin=admin(folder), drain_seconds=5)  # fmt: skip


def gates(folder: Path, upstream: str, ports: Sequence[int]) -> te.Edge:
    """Relay behind a gate for each service."""
    del folder
    names = dict(zip(addresses(ports), [*(f"{rate}-{sources}" for rate, sources in GATES), "open"], strict=True))
    services = {
        f"{rate}-{sources}": te.Settings(te.Policy(session_rate=rate, session_burst=BURST)) for rate, sources in GATES
    }
    control = te.MemoryControl({**services, "open": te.Settings(te.Policy())})
    stages = [te.Identify(names), te.SessionGate(), te.ConcurrencyLimit(20_000, per="source")]
    return te.Edge(list(names), stages, te.Forward(f"tcp://127.0.0.1:{upstream}"), control=control)


def paced(folder: Path, upstream: str, ports: Sequence[int]) -> te.Edge:
    """Relay at a rate for each service; `upstream` has a port for each, with commas between them."""
    del folder
    names = {each: f"paced-{port}" for each, port in zip(addresses(ports), ports, strict=True)}
    services = {
        name: te.Settings(
            te.Policy(destination=f"tcp://127.0.0.1:{to}", down_rate=PACED_RATE, up_rate=PACED_RATE, listen=())
        )
        for name, to in zip(names.values(), upstream.split(","), strict=True)
    }
    stages = [te.Identify(names), te.Pacing()]
    return te.Edge(list(names), stages, te.Forward(allow=["loopback"]), control=te.MemoryControl(services))


class Changing:
    """A control plane whose services change: all of them are new, all change, one does; each once FOLDER has a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        every, changed = everything(100.0), everything(101.0)
        few = {"service-0": policy(0)}
        self._snapshots = [few, every, changed, {**changed, "service-7": policy(7, 5000.0)}]

    async def run(self, link: te.Link, *, task_status: trio.TaskStatus[None]) -> None:
        for number, services in enumerate(self._snapshots):
            while number and not (self._folder / f"version-{number}").exists():
                await trio.sleep(0.05)
            await link.apply(te.Snapshot(services, version=str(number)))
            if not number:
                task_status.started()
        await trio.sleep_forever()


def many(folder: Path, upstream: str, ports: Sequence[int]) -> te.Edge:
    """Relay by the policies of 100,000 services."""
    stages = [
        te.Identify("service-0"), te.SessionGate(), te.SourceMatch(), te.ConcurrencyLimit(per="service"), te.Pacing(),
    ]  # fmt: skip
    return te.Edge(addresses(ports), stages, te.Forward(f"tcp://127.0.0.1:{upstream}"), control=Changing(folder),
                   admin=admin(folder))  # fmt: skip


KINDS: dict[str, Callable[[Path, str, Sequence[int]], te.Edge]] = {
    "limited": limited,
    "gates": gates,
    "paced": paced,
    "many": many,
}

if __name__ == "__main__":
    kind, workers, folder, upstream, *ports = sys.argv[1:]
    if (Path(folder) / "holds").exists():
        Holds(Path(folder) / "holds").watch()
    te.run(KINDS[kind](Path(folder), upstream, [int(port) for port in ports]), workers=int(workers))
