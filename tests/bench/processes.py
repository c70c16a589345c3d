"""Child processes: pinned to one core, with all the open files the machine allows, ended by their own id."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
"""The repository. Children run here, so that `trioedge` and `tests.bench` import as they do for a user."""


def raise_open_files() -> int:
    """Raise the soft limit of open files to the hard one, for this process and its children; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port() -> int:
    """A TCP port of 127.0.0.1 without a listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules with the interpreter of the harness, and so its virtualenv."""
    return [sys.executable, "-m", module, *arguments]


@contextmanager
def pinned(
    command: Sequence[str],
    core: int | Collection[int],
    *,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    talks: bool = False,
) -> Iterator[subprocess.Popen[str]]:
    """Run a command on one core, or on some, and end it on the way out: politely, and two seconds later by force.

    `talks` gives it pipes for stdin and stdout, and what it complains of is seen at once; otherwise all that
    it prints goes to `log`.
    """
    output: IO[str] | int = log.open("w") if log else subprocess.DEVNULL
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
        stdout=subprocess.PIPE if talks else output,
        stderr=None if talks else output,
        text=True,
        start_new_session=True,  # Ctrl-C reaches the harness alone, and the harness ends its children
        preexec_fn=partial(os.sched_setaffinity, 0, {core} if isinstance(core, int) else core),
    )
    try:
        yield child
    finally:
        _end(child)
        for stream in (child.stdin, child.stdout, output):
            if not isinstance(stream, int) and stream is not None:
                stream.close()


def _end(child: subprocess.Popen[str]) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(2.0)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)  # its own session: it and the workers it forked, no other process
        child.wait()


def wait_for_port(port: int, child: subprocess.Popen[str], log: Path, seconds: float = 15.0) -> None:
    """Return once something accepts on the port; fail with what the child printed if nothing does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and child.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    complaint = log.read_text().strip().splitlines()
    raise RuntimeError(f"did not start: {complaint[-1] if complaint else 'it said nothing'}")


def proportional_kib(pid: int) -> int:
    """Memory of a process and its descendants in KiB: PSS, so that pages they share count once."""
    total = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            total += int(line.split()[1])
    for task in Path(f"/proc/{pid}/task").iterdir():
        for descendant in (task / "children").read_text().split():
            total += proportional_kib(int(descendant))
    return total


def processor_seconds(pid: int) -> float:
    """Processor time of a process and its descendants, to the nanosecond; `times` counts in hundredths of a second."""
    total = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0]) / 1e9
        for descendant in (task / "children").read_text().split():
            total += processor_seconds(int(descendant))
    return total


def core_ticks(core: int) -> tuple[int, int]:
    """Clock ticks that a core has been wanted for since boot, and those of them that other machines got."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            return user + nice + system + irq + softirq + steal, steal
    raise ValueError(f"this machine has no core {core}")
