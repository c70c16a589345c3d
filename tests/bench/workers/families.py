"""Programs with several workers, and clients on each core."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.bench.processes import free_port, pinned, python, raise_open_files, wait_for_port
from tests.bench.workers.holds import Holds

Values = dict[str, float]

CORES = (0, 1)


def run(measure: Callable[[Path, Path, int], Values]) -> None:
    """Run a probe, which uses all cores, and print what it found."""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    if (os.cpu_count() or 1) < len(CORES):
        raise SystemExit("several workers are measured on two cores, and this machine has one")
    raise_open_files()
    echo, load, turns = sys.argv[1:4]
    print(json.dumps(measure(Path(echo), Path(load), int(turns))))


class Family:
    """A program and its processes."""

    def __init__(self, pid: int, folder: Path, ports: Sequence[int], workers: int) -> None:
        self.pid, self.folder, self.ports, self.count = pid, folder, ports, workers
        self.holds = Holds(folder / "holds") if (folder / "holds").exists() else None

    def children(self) -> list[int]:
        """The control process and the workers; those of a replaced image drain beside them."""
        return [int(each) for each in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    @property
    def control(self) -> int:
        return self.children()[0] if self.count > 1 else self.pid

    @property
    def workers(self) -> list[int]:
        return self.children()[1:] if self.count > 1 else [self.pid]

    def pin(self, cores: Sequence[int]) -> None:
        """Have each worker on a core of its own, in turn; the control process and the parent may use all."""
        for number, pid in enumerate(self.workers):
            os.sched_setaffinity(pid, {cores[number % len(cores)]})

    def get(self, path: str) -> Any:
        """Ask the admin API."""
        transport = httpx.HTTPTransport(uds=str(self.folder / "admin.sock"))
        with httpx.Client(transport=transport, base_url="http://edge", timeout=20) as client:
            return client.get(path).raise_for_status().json()

    def log(self) -> str:
        return (self.folder / "log").read_text()


@contextmanager
def family(kind: str, workers: int, upstream: int | str, *, ports: int = 1, watched: bool = False) -> Iterator[Family]:
    """Run an edge of `edges`, with so many ports, until the block ends; `watched` has its holds noted."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        if watched:
            (folder / "holds").touch()
        found = [free_port() for _ in range(ports)]
        arguments = (kind, str(workers), name, str(upstream), *map(str, found))
        with pinned(python("tests.bench.workers.edges", *arguments), CORES, log=folder / "log") as child:
            wait_for_port(found[-1], child, folder / "log", seconds=60)
            yield Family(child.pid, folder, found, workers)


@contextmanager
def echoing(echo: Path, cores: int = len(CORES)) -> Iterator[int]:
    """Run an upstream on each of the first cores, all at one port, and give that."""
    with pinned([str(echo), str(cores)], CORES, talks=True) as server:
        assert server.stdout is not None
        yield int(server.stdout.readline())


@contextmanager
def loading(
    load: Path, core: int, command: str, port: int, *arguments: float, sources: int = 1000, first: int = 0
) -> Iterator[subprocess.Popen[str]]:
    """Run a load client on a core, from so many addresses in turn, the one with the number `first` first."""
    env = {"SOURCES": str(sources), "FIRST": str(first)}
    with pinned([str(load), command, str(port), *map(str, arguments)], (core,), env=env, talks=True) as client:
        yield client


def answers(clients: Sequence[subprocess.Popen[str]]) -> list[Mapping[str, Any]]:
    """Wait until clients have ended, and give what each found."""
    found = []
    for client in clients:
        output, _ = client.communicate(timeout=120)
        answer = json.loads(output)
        if answer.get("errors"):
            raise RuntimeError(f"{client.args!r}: {answer}")
        found.append(answer)
    return found


def at_once(
    load: Path, cores: Sequence[int], command: str, port: int, *arguments: float, sources: int = 1000, each: int = 1
) -> list[Mapping[str, Any]]:
    """Run `each` load clients on each core at the same time; they begin at different ones of the addresses."""
    with ExitStack() as stack:
        clients = [
            stack.enter_context(
                loading(load, core, command, port, *arguments, sources=sources,
                        first=number * sources // (len(cores) * each))
            )
            for number, core in enumerate(core for core in cores for _ in range(each))
        ]  # fmt: skip
        return answers(clients)


def until(done: Callable[[], bool], what: str, seconds: float = 60.0, every: float = 0.02) -> float:
    """Wait for something, and give the seconds."""
    began = time.monotonic()
    while not done():
        if time.monotonic() > began + seconds:
            raise RuntimeError(f"{what}: not within {seconds:g} s")
        time.sleep(every)
    return time.monotonic() - began
