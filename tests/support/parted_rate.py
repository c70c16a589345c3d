"""A model of processes that share one rate: each has flows, a debt and a column that the others read."""

from collections.abc import Generator
from math import inf

from trioedge.stages.pacing.parts import STALE_SECONDS, UseCount, allot
from trioedge.stages.pacing.shares import Debt, Division, Flow, divide
from trioedge.structures.shared.rate_rows import IDLE, Use

STEP = 0.02
"""Seconds between two moves of the kernel."""

TICK = 5
"""Steps between two looks of a process."""


def done(steps: Generator[None, None, Division]) -> Division:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            division: Division = end.value
            return division


class ModelFlow(Flow):
    """A flow that moves what it wants, as far as its share allows it; its kernel has bytes of it while it wants more.

    Attributes:
        wants: bytes a second.
        moved: bytes so far.
    """

    def __init__(self, share: float, wants: float) -> None:
        super().__init__(share)
        self.wants, self.moved = wants, 0

    def move(self, most: float = inf) -> int:
        count = int(min(self.wants * STEP, self.share * STEP, most))
        self.moved += count
        return count


class ModelProcess:
    """One process.

    Attributes:
        flows: those that are open.
        use: its column.
        at: when it wrote that.
        stalled: bytes that its kernel still has while it stands still; None while it runs.
        late: steps by which its next look is late.
    """

    def __init__(self, phase: int) -> None:
        self.flows: list[ModelFlow] = []
        self.use, self.at = IDLE, -inf
        self.stalled: float | None = None
        self.late = 0
        self.phase = phase
        self.debt = Debt()
        self.looked_at, self.level, self.part = 0.0, inf, 0.0
        self.ended = 0

    def look(self, rate: float, now: float, others: list["ModelProcess"]) -> None:
        seconds, self.looked_at = max(now - self.looked_at, 1e-9), now
        count, delivered = UseCount(self.level), float(self.ended)
        self.ended = 0
        for flow in self.flows:
            flow.observe(flow.moved, 0, seconds)
            delivered += flow.delivered
            count.add(flow.demand)
        self.debt.charge(delivered, self.part * seconds, rate)
        count.owe(self.debt.bytes)
        own = Use(count.limited, count.light, count.lights, 0, max(len(self.flows), bool(self.debt)))
        fresh = [each.use for each in others if now - each.at < STALE_SECONDS]
        self.level, self.part, held = allot(rate, own, fresh)
        self.use, self.at = own._replace(taken=self.part), now
        left = self.debt.reduce(self.part)
        equal = rate / max(1, len(self.flows) + sum(len(each.flows) for each in others))
        if self.part:
            equal *= left / self.part
        if self.flows:
            division = done(divide(left, [flow.demand for flow in self.flows], len(self.flows)))
            for flow in self.flows:
                floor = equal if flow.demand < inf else min(equal, flow.share) if held else 0.0
                flow.share = max(floor, division.fair(flow.demand))


class ModelRate:
    """A rate, and the processes that share it.

    Attributes:
        delivered: bytes of all of them in each step so far.
    """

    def __init__(self, rate: float, processes: int) -> None:
        self.rate = rate
        self.processes = [ModelProcess(number * TICK // processes) for number in range(processes)]
        self.delivered: list[int] = []

    @property
    def now(self) -> float:
        return len(self.delivered) * STEP

    @property
    def members(self) -> int:
        return sum(len(each.flows) for each in self.processes)

    def start(self, number: int, wants: float) -> ModelFlow:
        process = self.processes[number]
        flow = ModelFlow(self.rate / (self.members + 1), wants)
        process.flows.append(flow)
        if len(process.flows) == 1:
            self.look(process)
        return flow

    def look(self, process: ModelProcess) -> None:
        process.look(self.rate, self.now, [each for each in self.processes if each is not process])

    def end(self, number: int) -> None:
        process = self.processes[number]
        if process.flows:
            flow = process.flows.pop(0)
            process.ended += int(flow.end(flow.moved))

    def die(self, number: int) -> None:
        """End a process: its flows are gone, its parent zeroes its column, and it gets a successor."""
        self.processes[number] = ModelProcess(self.processes[number].phase)
        self.processes[number].looked_at = self.now

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP)):
            moment = len(self.delivered)
            total = 0
            for process in self.processes:
                for flow in process.flows:
                    most = inf if process.stalled is None else process.stalled
                    moved = flow.move(most)
                    total += moved
                    if process.stalled is not None:
                        process.stalled -= moved
            self.delivered.append(total)
            for process in self.processes:
                due = (moment - process.phase) % TICK == 0
                if process.late:
                    process.late -= 1
                    due = not process.late
                if due and process.stalled is None:
                    self.look(process)

    def rates(self, seconds: float) -> float:
        """The bytes a second of all flows in the last seconds."""
        steps = round(seconds / STEP)
        return sum(self.delivered[-steps:]) / (steps * STEP)

    def excess(self) -> float:
        """The most bytes by which any stretch of time was beyond the rate."""
        most = ahead = 0.0
        for count in self.delivered:
            ahead = max(0.0, ahead + count - self.rate * STEP)
            most = max(most, ahead)
        return most
