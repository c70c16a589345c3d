"""Programs that can be measured: what one is, where it is found, and what it is called here."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.bench.processes import processor_seconds, proportional_kib

Command = Callable[[Path, int, int], list[str]]
"""Writes what a program needs into a fresh folder, and gives its command line: folder, port, port of the upstream."""

Talk = Callable[[int, int], Mapping[str, str]]
"""Gives what clients say: variables of the load client's environment, by port and port of the upstream."""


def nothing(port: int, upstream: int) -> Mapping[str, str]:
    """Clients say nothing but what each measure says."""
    return {}


@dataclass(frozen=True)
class Peer:
    """One program to measure.

    Without a `command`, the client talks to the upstream. `missing` says why it cannot run here, or nothing.
    """

    name: str
    label: str
    command: Command | None
    missing: Callable[[], str | None]
    talk: Talk = nothing


@dataclass(frozen=True)
class Running:
    """A started peer, and what its clients say."""

    port: int
    pid: int
    talk: Mapping[str, str] = field(default_factory=dict)

    def cpu_seconds(self) -> float:
        """Processor time of the proxy, all its processes, so far."""
        return processor_seconds(self.pid)

    def kib(self) -> int:
        """Memory of the proxy, all its processes, in KiB."""
        return proportional_kib(self.pid)


def program(name: str) -> str:
    """Where a server is; Debian keeps them in `sbin`, which is on no user's PATH."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin") or ""


def no_program(name: str, package: str = "") -> Callable[[], str | None]:
    return lambda: None if program(name) else f"not installed; apt-get install {package or name}"


def no_module(name: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        found = find_spec(name)
        return None if found and found.origin else f"not installed; pip install {name}"

    return missing
