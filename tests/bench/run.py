"""One run: which peers are here, what they answered, and a line for every step."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

from rich.console import Console

from tests.bench import evictions, measures, protocols
from tests.bench.build import build
from tests.bench.peers import PEERS, started
from tests.bench.plan import CONTESTANTS, FAST, HEADLINE, MEMORY, PROBES, PROTOCOLS, WORKERS, Measure, Plan
from tests.bench.processes import core_ticks
from tests.bench.programs import Running
from tests.bench.results import Results

FAULTS = (RuntimeError, OSError, ValueError, subprocess.SubprocessError)
"""What a peer that does not start, answer or survive makes of a measurement. The others are measured."""


class Bench:
    """One run over a plan; its figures are in `results`, and the absent peers in `left_out` or
    `failures`.
    """

    def __init__(self, plan: Plan, folder: Path, console: Console) -> None:
        self.plan = plan
        self.folder = folder
        self.console = console
        self.results = Results()
        self.left_out = {name: why for name, peer in PEERS.items() if (why := peer.missing())}
        self.failures: list[str] = []
        self.seconds = self.stolen = 0.0
        self.echo, self.load = build(folder)

    def run(self, chosen: list[Measure]) -> None:
        """All rounds of the chosen measures."""
        for name, why in self.left_out.items():
            self.console.print(f"{name}: {why}, left out")
        began, (busy, stolen) = time.monotonic(), core_ticks(self.plan.core)
        fast = [measure for measure in chosen if measure in FAST]
        slow = [measure for measure in chosen if measure not in FAST]
        for number in range(self.plan.rounds if fast else max(map(self.plan.rounds_of, slow), default=0)):
            self._fast_round(number, fast)
            self._slow_round(number, [measure for measure in slow if number < self.plan.rounds_of(measure)])
        self.seconds = time.monotonic() - began
        busy_after, stolen_after = core_ticks(self.plan.core)
        self.stolen = (stolen_after - stolen) / max(1, busy_after - busy)

    def _fast_round(self, number: int, chosen: list[Measure]) -> None:
        """Start every peer, then let them take turns at one measure after the other."""
        wanted = dict.fromkeys(name for measure in chosen for name in self._present(measure))
        running: dict[str, Running] = {}
        with ExitStack() as stack:
            for name in wanted:
                try:
                    running[name] = stack.enter_context(self._started(name))
                except FAULTS as fault:
                    self._failed(number, name, "start", fault)
            for measure in chosen:
                names = [name for name in self._present(measure) if name in running]
                turns = range(number * self.plan.turns, (number + 1) * self.plan.turns)
                for turn in turns:
                    for name in _rotated(names, turn):
                        measured = protocols.fast if measure in PROTOCOLS else measures.fast
                        take = partial(measured, measure, self.load, running[name], self.plan)
                        self._try(number, turn, measure, name, take)
                self._say(number, measure, names)

    def _slow_round(self, number: int, chosen: list[Measure]) -> None:
        """Measures that want a process of their own."""
        for measure in chosen:
            names = self._present(measure)
            for name in _rotated(names, number):
                self._try(number, number, measure, name, partial(self._slow, measure, name))
            self._say(number, measure, names)

    def _slow(self, measure: Measure, name: str) -> measures.Values:
        if measure == "evict":
            return evictions.evict(self.echo, self.plan)
        if measure == "decisions":
            return measures.decisions(self.plan)
        if measure == "startup":
            return measures.startup(self.plan)
        if measure in (*PROBES, *WORKERS):
            return measures.probe(measure, self.echo, self.load, self.plan)
        with self._started(name) as peer:
            if measure in MEMORY:
                return protocols.memory(measure, self.load, peer, self.plan)
            return measures.idle(self.load, peer, self.plan)

    def _started(self, name: str) -> AbstractContextManager[Running]:
        return started(PEERS[name], self.echo, self.plan.core, self.folder)

    def _present(self, measure: Measure) -> list[str]:
        """Who takes part."""
        return [name for name in CONTESTANTS[measure] if name not in self.left_out]

    def _try(self, number: int, turn: int, measure: Measure, name: str, take: Callable[[], measures.Values]) -> None:
        try:
            self.results.add(turn, name, take())
        except FAULTS as fault:
            self._failed(number, name, measure, fault)

    def _say(self, number: int, measure: Measure, names: list[str]) -> None:
        """One line: the medians so far of what a measure is about."""
        metric = HEADLINE[measure]
        found = [(name, spread.median) for name in names if (spread := self.results.spread(metric, name))]
        said = ", ".join(f"{name} {median:,.1f}" for name, median in found)
        self.console.print(f"round {number + 1}  {metric}: {said}", soft_wrap=True)

    def _failed(self, number: int, name: str, what: str, fault: Exception) -> None:
        self.failures.append(f"round {number + 1}  {name}, {what}: {fault}")
        self.console.print(f"[red]failed[/]  {self.failures[-1]}", soft_wrap=True)


def _rotated(names: list[str], turn: int) -> list[str]:
    """An order that moves on with every turn, so that no peer is always first."""
    first = turn % len(names) if names else 0
    return names[first:] + names[:first]
