"""What all stages together cost a session, what timing them costs, and what a newcomer to a busy service waits for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

import trio

import trioedge as te
from tests.bench.probe import Values, ask, echoing, port_of, run, serving
from tests.bench.processes import free_port
from trioedge.testing import make_session

Decide = Callable[[te.Session], object]

SECONDS = 0.2
"""Of sessions, in each turn of each edge."""
PAUSE = 300e-6
BATCH = 1_000
"""Sessions whose decisions are timed in one go."""
RATE = 16e6
"""Bytes a second of a service that is at its limit."""

LISTEN = "tcp://127.0.0.1:0"
POLICY = te.Policy(
    session_rate=1e6,
    session_burst=1_000_000,
    max_sessions=20_000,
    down_rate=1e9,
    up_rate=1e9,
    device_limit=1_000,
    accept=("127.0.0.0/8",),
    reject=("127.9.0.0/16",),
)
"""All that a policy can limit, and nothing that is ever reached."""


def all_stages() -> list[object]:
    """Every decision there is."""
    return [
        te.Identify(),
        te.SessionGate(),
        te.SourceMatch(),
        te.ConcurrencyLimit(per="service"),
        te.DeviceLimit(),
        te.Pacing(),
        te.IdleTimeout(300),
    ]


def governed(endpoint: te.Forward) -> te.Edge:
    """All stages, and the control plane that they go by; devices are known, for an hour."""

    def check(service: str, device: str) -> te.DeviceVerdict:
        return te.DeviceVerdict(accept=True, seconds=3600.0)

    return te.Edge(LISTEN, all_stages(), endpoint, control=te.MemoryControl({"default": POLICY}, check=check))


class Nowhere:
    """The end of a chain of which only the decisions are asked."""

    relays = True

    async def handle(self, session: te.Session) -> te.Outcome:
        return te.Completed()


def decide_of(edge: te.Edge, *, timed: bool) -> Decide:
    """Compile the live stages of a serving edge once more, with a clock around each or without one."""
    run = edge._run
    assert run is not None
    chain = run.chain
    assert chain is not None
    clock = time.perf_counter_ns if timed else None
    return te.compile_chain(chain.parts[:-1], Nowhere(), clock=clock).decide


class Turns:
    """What the sessions of one edge took, turn by turn."""

    def __init__(self) -> None:
        self.p50_us: list[float] = []
        self.cpu_us: list[float] = []

    async def take(self, edge: te.Edge, load: str) -> None:
        """Open sessions one after the other for a moment."""
        await trio.sleep(0.01)
        accepted, began = edge.statistics().accepted, time.process_time()
        answer = await ask(load, "connect", port_of(edge), SECONDS, 0.05, PAUSE)
        self.cpu_us.append((time.process_time() - began) / (edge.statistics().accepted - accepted) * 1e6)
        self.p50_us.append(answer["p50_ns"] / 1e3)


def difference(values: Sequence[float], others: Sequence[float]) -> float:
    return median(value - other for value, other in zip(values, others, strict=True))


def decide_us(edge: te.Edge, decide: Decide) -> float:
    """Microseconds in which a session passes the decisions of a serving edge."""
    now = trio.current_time()
    sessions = [make_session(source="127.0.0.1", now=now) for _ in range(BATCH)]
    for session in sessions:
        session.enter(edge.services["default"])
    began = time.perf_counter_ns()
    for session in sessions:
        decide(session)
    took = time.perf_counter_ns() - began
    for session in sessions:
        session.end(te.Completed())
    return took / BATCH / 1e3


async def costs(upstream: str, load: str, turns: int) -> Values:
    """Sessions through all stages and through none; and the stages alone, timed and not."""
    bare, full = te.Edge(LISTEN, [], te.Forward(upstream)), governed(te.Forward(upstream))
    async with serving(bare), serving(full):
        with_clock, without_clock = decide_of(full, timed=True), decide_of(full, timed=False)
        for edge in (bare, full):  # devices are asked about, and code runs that is not specialised yet
            await Turns().take(edge, load)
        without, with_all = Turns(), Turns()
        timed, untimed_ = [], []
        for _ in range(turns):
            await without.take(bare, load)
            await with_all.take(full, load)
            timed.append(decide_us(full, with_clock))
            untimed_.append(decide_us(full, without_clock))
    return {
        "stages_bare_p50_us": median(without.p50_us),
        "stages_all_p50_us": median(with_all.p50_us),
        "stages_cost_us": difference(with_all.p50_us, without.p50_us),
        "stages_bare_cpu_us": median(without.cpu_us),
        "stages_all_cpu_us": median(with_all.cpu_us),
        "stages_cpu_us": difference(with_all.cpu_us, without.cpu_us),
        "stages_decide_us": median(timed),
        "stages_timing_us": difference(timed, untimed_),
        "stages_timing_percent": 100 * difference(timed, untimed_) / median(with_all.cpu_us),
    }


async def newcomers(upstream: str, load: str, turns: int) -> Values:
    """Sessions of a service whose bytes are at their limit, and of one that is idle, at the same time."""
    listeners = {f"tcp://127.0.0.1:{free_port()}": name for name in ("busy", "idle")}
    policy = te.Policy(down_rate=RATE, up_rate=RATE)
    edge = te.Edge(
        list(listeners),
        [te.Identify(listeners), te.SessionGate(), te.Pacing()],
        te.Forward(upstream),
        control=te.MemoryControl({"busy": policy, "idle": policy}),
    )
    took: list[list[float]] = [[], []]
    async with serving(edge), trio.open_nursery() as nursery:
        nursery.start_soon(ask, load, "bulk", port_of(edge), 2 * turns * (SECONDS + 0.2), 0.1)
        await trio.sleep(0.5)
        for _ in range(turns):
            for number, values in enumerate(took):
                values.append((await ask(load, "connect", port_of(edge, number), SECONDS, 0.05, PAUSE))["p50_ns"] / 1e3)
        nursery.cancel_scope.cancel()
    busy, idle = took
    return {
        "newcomer_busy_p50_us": median(busy),
        "newcomer_idle_p50_us": median(idle),
        "newcomer_ratio": median(a / b for a, b in zip(busy, idle, strict=True)),
    }


async def main(echo: str, load: str, turns: int) -> Values:
    with echoing(echo) as port:
        upstream = f"tcp://127.0.0.1:{port}"
        return {**await costs(upstream, load, 3 * turns), **await newcomers(upstream, load, turns)}


if __name__ == "__main__":
    run(main)
