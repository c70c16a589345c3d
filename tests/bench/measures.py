"""Run the load client against a peer, and our own probes, and give what they found as named numbers.

Names end in their unit. Every function returns `{metric: value}` of one measurement.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench.plan import WORKERS, Measure, Plan
from tests.bench.processes import ROOT, pinned, python
from tests.bench.programs import Running

Values = dict[str, float]

DISTRIBUTIONS = 400
"""Packages that are installed where an edge.toml is checked."""

SETTLE_SECONDS = 0.3
"""Before memory is read: a proxy may finish what the last session began."""


class Client:
    """A child that answers every line on its stdin with a line of JSON on its stdout."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._ask, self._answers = child.stdin, child.stdout

    def ask(self, line: str) -> Mapping[str, Any]:
        """Send one line and read its answer."""
        self._ask.write(line + "\n")
        self._ask.flush()
        return self.read(line)

    def read(self, what: str) -> Mapping[str, Any]:
        """Read an answer; what an edge in the same process logs is passed over."""
        for line in self._answers:
            if line.startswith("{"):
                return _checked(json.loads(line), what)
        raise RuntimeError(f"{what}: the child ended")


def fast(measure: Measure, load: Path, peer: Running, plan: Plan) -> Values:
    """One measurement that needs nothing but a running peer."""
    arguments = [str(peer.port), str(plan.seconds), str(plan.warmup)]

    def ask(command: str, *more: float) -> Mapping[str, Any]:
        return answer([str(load), command, *arguments, *map(str, more)], plan)

    match measure:
        case "rtt":
            return percentiles("rtt", ask("rtt"))
        case "connect":
            before = peer.cpu_seconds()
            resetting = ask("connect", 0, 1)
            spent = peer.cpu_seconds() - before
            closing, paused = ask("connect", 0, 0), ask("connect", plan.pause, 0)
            return {
                **percentiles("connect_reset", resetting),
                **percentiles("connect_close", closing),
                **percentiles("connect_paused", paused),
                "session_cpu_us": 1e6 * spent / resetting["all"],
            }
        case "bulk":
            return {"bulk_gbit_per_s": ask("bulk")["gbit_per_second"]}
        case _:
            return {f"{measure}_per_s": ask(measure, plan.concurrency)["per_second"]}


def idle(load: Path, peer: Running, plan: Plan) -> Values:
    """Memory of an idle session, and what a crowd of them does to the round trip of one.

    The peer serves some sessions first, so that what it allocates once is not charged to the idle ones. Every
    idle session carried 64 B before memory is read and is asked again at the end: a dropped one is an error.
    """
    answer([str(load), "sessions", str(peer.port), str(plan.warm_sessions), "0", str(plan.concurrency)], plan)
    with pinned([str(load), "idle", str(peer.port)], plan.core, talks=True) as child:
        client = Client(child)
        alone = _round_trip(client, plan)
        time.sleep(SETTLE_SECONDS)
        before = peer.kib()
        client.ask(f"open {plan.idle_sessions}")
        time.sleep(SETTLE_SECONDS)
        after = peer.kib()
        crowded = _round_trip(client, plan)
        client.ask("check")
    return {
        "idle_kib_per_session": (after - before) / plan.idle_sessions,
        "idle_rtt_alone_p50_us": alone,
        "idle_rtt_p50_us": crowded,
        "idle_rtt_ratio": crowded / alone,
    }


def _round_trip(client: Client, plan: Plan) -> float:
    """Median microseconds over many short turns, each on a session of its own: see `Plan` for why."""
    line = f"rtt {plan.seconds / 2} {plan.warmup}"
    return statistics.median(float(client.ask(line)["p50_ns"]) / 1e3 for _ in range(plan.idle_turns))


def decisions(plan: Plan) -> Values:
    """Nanoseconds of each decision; runs in a process of its own."""
    return _numbers(answer(python("tests.bench.decisions"), plan, seconds=60))


def startup(plan: Plan) -> Values:
    """Wall time of `trioedge check` on an edge in Python and in TOML, and of an interpreter that imports trio, in turn.

    The edge.toml is checked where 400 distributions are installed.

    Both read byte code from a cache, as they do where they are installed, also if the environment forbids to write it.
    """
    target = str(ROOT / "examples" / "first_edge.py")
    file = str(ROOT / "examples" / "redis_edge.toml")
    with TemporaryDirectory() as folder:
        crowded = _distributions(Path(folder))
        took = [
            (
                _wall(python("trioedge", "check", target), plan),
                _wall([sys.executable, "-c", "import trio"], plan),
                _wall(python("trioedge", "check", file), plan, PYTHONPATH=crowded),
            )
            for _ in range(plan.startup_turns)
        ]
    check, trio, check_file = ([each[side] for each in took] for side in (0, 1, 2))
    return {
        "check_ms": 1e3 * statistics.median(check),
        "import_trio_ms": 1e3 * statistics.median(trio),
        "check_ratio": statistics.median(one / other for one, other, _ in took),
        "check_file_ms": 1e3 * statistics.median(check_file),
        "check_file_ratio": statistics.median(one / other for _, other, one in took),
    }


def _distributions(folder: Path) -> str:
    """Make a path with some hundred installed packages, as a machine with many tools has."""
    for number in range(DISTRIBUTIONS):
        info = folder / f"package_{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: package-{number}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[console_scripts]\ntool-{number} = package_{number}:main\n")
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def _wall(command: list[str], plan: Plan, **env: str) -> float:
    began = time.monotonic()
    with pinned(command, plan.core, env={"PYTHONDONTWRITEBYTECODE": "", **env}) as child:
        if child.wait(30):
            raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    return time.monotonic() - began


def probe(name: Measure, echo: Path, load: Path, plan: Plan) -> Values:
    """Run a module that measures by itself, in a process of its own."""
    folder = "tests.bench.workers" if name in WORKERS else "tests.bench"
    command = python(f"{folder}.{name}", str(echo), str(load), str(plan.probe_turns))
    return _numbers(answer(command, plan, seconds=600))


def answer(
    command: list[str], plan: Plan, seconds: float = 30.0, *, env: Mapping[str, str] | None = None
) -> Mapping[str, Any]:
    """Run a pinned command to its end and read the JSON it prints."""
    with pinned(command, plan.core, env=env, talks=True) as child:
        output, _ = child.communicate(timeout=seconds + plan.seconds + plan.warmup)
        if child.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    last = output.splitlines()[-1]  # an edge in the same process may have logged before
    return _checked(json.loads(last), " ".join(command))


def _checked(answer: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    """Figures with errors in them are no figures."""
    if answer.get("errors"):
        raise RuntimeError(f"{what}: {answer}")
    return answer


def percentiles(name: str, found: Mapping[str, Any]) -> Values:
    return {f"{name}_p50_us": found["p50_ns"] / 1e3, f"{name}_p99_us": found["p99_ns"] / 1e3}


def _numbers(answer: Mapping[str, Any]) -> Values:
    return {name: float(value) for name, value in answer.items()}
