"""A sample of mutants, each run against its module's own tests, in copies of the tree: most must be caught.

A mutant is caught when a test fails or takes several times as long as usual. One that no test can tell from the
original stands in `equivalents.toml` with the reason and does not count.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

from tests.bench.processes import ROOT
from tests.soak.findings import Row
from tests.soak.mutations import Mutation, sample

BAR = 0.95
"""The part of the mutants that must be caught."""
PARALLEL = 2
SLOWER = 4.0
"""A mutant whose tests take so many times as long as usual, and at least `PATIENCE` seconds, is caught."""
PATIENCE = 20.0

MODULES: dict[str, tuple[str, ...]] = {
    "gate": ("structures/gcra.py", "stages/session_gate.py"),
    "registry": ("services/registry.py",),
    "evictions": ("session/evictions.py",),
    "socket relay": ("relay/socket_relay.py", "relay/relay_side.py", "relay/relay_deadline.py"),
    "stream relay": ("relay/stream_relay.py", "relay/direction.py"),
    "device table": ("stages/devices/table.py", "stages/devices/records.py"),
    "shares": ("stages/pacing/shares.py",),
    "report": ("services/report.py", "control/reports.py", "control/reporter.py"),
    "pool": tuple(f"upstreams/pool/{name}.py" for name in ("pool", "idle", "pace", "quota", "renewal")),
    "connector": tuple(f"upstreams/{name}.py" for name in ("connector", "attempt", "query_queue", "reachability")),
    "snapshot": ("services/apply.py", "services/snapshot.py"),
    "applying": tuple(f"services/applying/{name}.py" for name in ("effects", "turn", "watchers")),
}
"""The files of each module that is mutated, under `trioedge/`; their tests are `tests/FOLDER/test_NAME*.py`."""

MORE_TESTS: dict[str, tuple[str, ...]] = {
    "socket relay": ("relay/test_relay_model.py",),
    "stream relay": ("relay/test_relay_model.py",),
    "applying": tuple(f"services/test_apply{of}.py" for of in ("", "_keys", "_order", "_steps", "_urgent")),
}


@dataclass(frozen=True)
class Mutant:
    """One mutation and how its tests ended."""

    module: str
    path: str
    mutation: Mutation
    ending: str
    """`caught`, `slow` (caught as well), `survived` or `equivalent`."""
    seconds: float

    def __str__(self) -> str:
        return f"{self.path}:{self.mutation.line}  {self.mutation.kind}: {self.mutation.change()}"


def own_tests(module: str) -> list[str]:
    """The test files of a module, from the root of the repository."""
    found: dict[str, None] = {}
    for name in MODULES[module]:
        path = Path(name)
        for test in sorted((ROOT / "tests" / path.parent).glob(f"test_{path.stem}*.py")):
            found[str(test.relative_to(ROOT))] = None
    for more in MORE_TESTS.get(module, ()):
        found[f"tests/{more}"] = None
    return [name for name in found if (ROOT / name).exists()]


def equivalents() -> set[tuple[str, str, str]]:
    """Files, changes and lines of the mutants that no test can tell from the original; "" stands for every line."""
    content = tomllib.loads((Path(__file__).parent / "equivalents.toml").read_text())
    return {(each["path"], each["change"], each.get("line", "")) for each in content.get("mutant", ())}


def choose(modules: Iterable[str], count: int, seed: int) -> list[tuple[str, str, Mutation]]:
    """Choose `count` mutations of these modules, as many of each as of another: module, path and mutation."""
    names = list(modules)
    chosen = []
    for number, module in enumerate(names):
        share = count * (number + 1) // len(names) - count * number // len(names)
        sources = {f"trioedge/{name}": (ROOT / "trioedge" / name).read_text() for name in MODULES[module]}
        chosen += [(module, path, mutation) for path, mutation in sample(sources, share, seed)]
    return chosen


class Workshop:
    """Copies of the tree, in each of which one mutant runs at a time."""

    def __init__(self, folder: Path) -> None:
        self._free: SimpleQueue[Path] = SimpleQueue()
        self._stamp = time.time()
        self._usual: dict[str, float] = {}
        for number in range(PARALLEL):
            copy = folder / f"copy-{number}"
            ignored = shutil.ignore_patterns(".git", ".venv", "site", "__pycache__", ".hypothesis", ".*_cache")
            shutil.copytree(ROOT, copy, ignore=ignored)
            self._free.put(copy)

    def usual(self, module: str) -> None:
        """Run a module's tests unchanged: they must pass, and say how long they take."""
        copy = self._free.get()
        passed, seconds = self._tests(copy, module, 300.0)
        self._free.put(copy)
        if not passed:
            raise RuntimeError(f"the tests of {module} fail without any mutation: {' '.join(own_tests(module))}")
        self._usual[module] = seconds

    def run(self, module: str, path: str, mutation: Mutation) -> Mutant:
        """Run one mutant to its end."""
        copy = self._free.get()
        file = copy / path
        source = file.read_text()
        try:
            file.write_text(mutation.applied(source))
            self._touch(file)
            passed, seconds = self._tests(copy, module, max(PATIENCE, SLOWER * self._usual[module]))
        finally:
            file.write_text(source)
            self._touch(file)
            shutil.rmtree(copy / ".hypothesis", ignore_errors=True)  # an example of one mutant is no hint for the next
            self._free.put(copy)
        ending = {True: "survived", False: "caught", None: "slow"}[passed]
        line = source.splitlines()[mutation.line - 1].strip()
        if passed and not equivalents().isdisjoint({(path, mutation.change(), each) for each in ("", line)}):
            ending = "equivalent"
        return Mutant(module, path, mutation, ending, seconds)

    def _touch(self, file: Path) -> None:
        """Give a file a time of its own, because Python tells a stale compiled file by seconds and size."""
        self._stamp += 2
        os.utime(file, (self._stamp, self._stamp))

    def _tests(self, copy: Path, module: str, seconds: float) -> tuple[bool | None, float]:
        """Run a module's tests: whether they pass, None where they took too long; and how long it took."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider"]
        command += ["--hypothesis-seed=0", *own_tests(module)]
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        began = time.monotonic()
        with subprocess.Popen(
            command, cwd=copy, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        ) as child:  # fmt: skip
            try:
                code = child.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, 9)  # its own session: it and what its tests started
                return None, time.monotonic() - began
        if code not in (0, 1, 2, 3):  # passed, failed, interrupted by an error of a module, internal error
            raise RuntimeError(f"pytest ended with {code}: {' '.join(command)}")
        return code == 0, time.monotonic() - began


def hunt(modules: Sequence[str], count: int, seed: int, say: Callable[[str], None]) -> list[Mutant]:
    """Run a sample of mutants; `say` gets a line for each survivor and now and then one of progress."""
    chosen = choose(modules, count, seed)
    found: list[Mutant] = []
    with TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(PARALLEL) as pool:
        workshop = Workshop(Path(folder))
        list(pool.map(workshop.usual, dict.fromkeys(module for module, _, _ in chosen)))
        for mutant in pool.map(lambda each: workshop.run(*each), chosen):
            found.append(mutant)
            if mutant.ending == "survived":
                say(f"survived  {mutant}")
            if len(found) % 10 == 0:
                survived = sum(each.ending == "survived" for each in found)
                say(f"{len(found)} of {len(chosen)} mutants, {survived} survived")
    return found


def campaign(modules: Sequence[str], count: int, seed: int, say: Callable[[str], None]) -> list[Row]:
    """Run a sample of mutants; a row for each module, and one for all of them, which has the bar."""
    found = hunt(modules, count, seed, say)
    rows = [_row(name, [each for each in found if each.module == name]) for name in modules]
    whole = _row("all modules", found)
    part = (whole.figures["tried"] - whole.figures["equivalent"] - whole.figures["survived"]) / max(
        1.0, whole.figures["tried"] - whole.figures["equivalent"]
    )
    whole.tried = f"{part:.1%} caught"
    if part < BAR:
        whole.faults.append(f"{part:.1%} of the mutants were caught; {BAR:.0%} must be")
        whole.faults += [f"survived  {each}" for each in found if each.ending == "survived"]
    return [*rows, whole]


def _row(name: str, found: Sequence[Mutant]) -> Row:
    counts = Counter(each.ending for each in found)
    figures = {
        "tried": float(len(found)),
        "caught": float(counts["caught"] + counts["slow"]),
        "equivalent": float(counts["equivalent"]),
        "survived": float(counts["survived"]),
    }
    return Row("mutants", name, f"{len(found)} mutants", figures=figures)
