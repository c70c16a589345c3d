"""Import a module in a process of its own, and see what that starts, opens and costs.

The process runs this file as a program, which therefore imports nothing else of the package.
"""

import contextlib
import importlib
import importlib.machinery
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from typing import Any, Final, TypedDict

SECONDS: Final = 60
"""How long an import may take, on a machine however busy."""

WAITS: Final = {
    "socket.connect": "connects to a server",
    "socket.getaddrinfo": "resolves a name",
    "subprocess.Popen": "runs a program",
    "os.posix_spawn": "runs a program",
}
"""Audit events of calls that wait, and the same in words."""


class Imported(TypedDict):
    """The effects of an import.

    `threads` counts those that run afterwards, also threads of libraries in C. `opened` names what is open afterwards.
    `waited` says in words for what it waited. `seconds` is the processor time of the package's own code, without that
    of the libraries it imports, and compiled; `trio_seconds` is that of Trio, by the same measure.
    """

    threads: int
    opened: list[str]
    waited: list[str]
    seconds: float
    trio_seconds: float


def import_alone(module: str) -> Imported:
    """Import a module behind trioedge, in a new process with the same path.

    Args:
        module: its absolute name, of a module that can be imported.

    Raises:
        RuntimeError: the process ended, or did not end in time.
    """
    command = [sys.executable, __file__, module, json.dumps(sys.path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"it takes longer than {SECONDS} s") from None
    if done.returncode:
        raise RuntimeError((done.stderr.splitlines() or [f"it ended the process with code {done.returncode}"])[-1])
    found: Imported = json.loads(done.stdout.splitlines()[-1])
    return found


class _OwnTime:
    """Measures the processor time of each module while it is imported, without that of the modules it imports."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._inside = [0.0]

    def watch(self, loader: Any, method: str, name_of: Any) -> None:
        """Measure a method of all loaders of a class."""
        plain = getattr(loader, method)

        def timed(self: Any, subject: Any) -> Any:
            began = time.process_time()
            inside.append(0.0)
            try:
                return plain(self, subject)
            finally:
                spent = time.process_time() - began
                seconds[name_of(subject)] += spent - inside.pop()
                inside[-1] += spent

        inside, seconds = self._inside, self._seconds
        setattr(loader, method, timed)

    def of(self, package: str) -> float:
        """Give the seconds of a package."""
        return sum(each for name, each in self._seconds.items() if f"{name}.".startswith(f"{package}."))


def open_files() -> dict[str, str]:
    """Give the files and sockets that this process has open, by their numbers."""
    found = {}
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - no module is imported that may be measured
        with contextlib.suppress(OSError):  # the one of this very list
            found[number] = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115
    return found


def running_threads() -> int:
    """Count the threads of this process, also those of libraries in C."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208


def _measure(module: str) -> Imported:
    own_time = _OwnTime()
    own_time.watch(importlib.machinery.SourceFileLoader, "exec_module", lambda module: module.__name__)
    own_time.watch(importlib.machinery.SourceFileLoader, "get_code", lambda _: "")  # compiled once, at the first import
    own_time.watch(importlib.machinery.ExtensionFileLoader, "create_module", lambda spec: spec.name)
    importlib.import_module("trioedge")
    waited: list[str] = []
    threads, files = running_threads(), open_files()
    sys.addaudithook(lambda event, _: waited.append(WAITS[event]) if event in WAITS else None)
    time.sleep = lambda _: waited.append("sleeps")  # it is no event, and need not be waited for here
    importlib.import_module(module)
    opened = [text for number, text in open_files().items() if files.get(number) != text]
    return {
        "threads": running_threads() - threads,
        "opened": sorted(opened),
        "waited": list(dict.fromkeys(waited)),
        "seconds": own_time.of(module.partition(".")[0]),
        "trio_seconds": own_time.of("trio"),
    }


if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[2])
    sys.stdout.write(f"\n{json.dumps(_measure(sys.argv[1]))}\n")
