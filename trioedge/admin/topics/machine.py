"""How near the machine is to its limits: descriptors, memory, the loop, tables, and clients that the kernel dropped."""

import os
import resource
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ...loop.slices import Stepwise
from ..asking import Answers, Parameters
from ..local import Local
from ..shapes import COUNT, NUMBER, TEXT, or_null, several, table

_USE: Final = table(used=COUNT, limit=COUNT)
_TABLE: Final = table(name=TEXT, used=COUNT, capacity=COUNT)

PROCESS: Final = table(
    number=COUNT, pid=COUNT, descriptors=_USE, memory_bytes=COUNT, loop_stall_ms=or_null(NUMBER), tables=several(_TABLE)
)

MACHINE: Final = table(
    descriptors=_USE, memory_bytes=COUNT, loop_stall_ms=or_null(NUMBER), listen_overflows=or_null(COUNT),
    tables=several(_TABLE), workers=several(PROCESS),
)  # fmt: skip

FILES_A_STEP: Final = 64

NETSTAT: Final = Path("/proc/net/netstat")
STATM: Final = Path("/proc/self/statm")
DESCRIPTORS: Final = Path("/proc/self/fd")


def machine_here(local: Local, parameters: Parameters) -> Stepwise[dict[str, Any]]:
    """Give the use of this process."""
    used, limit = yield from descriptors()
    stall, tables = local.stall, []
    for each in local.run.log.meters.tables:
        size = each.size()
        tables.append({"name": each.name, "used": size, "capacity": each.capacity})
    return {
        "descriptors": {"used": used, "limit": limit},
        "memory_bytes": resident_bytes(),
        "loop_stall_ms": round(stall.recent(local.now()) * 1e3, 3) if stall.seconds.count else None,
        "listen_overflows": kernel_counts().get("ListenOverflows"),
        "tables": tables,
    }


def merge_machine(answers: Answers, parameters: Parameters) -> dict[str, Any]:
    """Give the sums, the longest stall, and of each table the fullest."""
    workers = [
        {"number": each.worker.number, "pid": each.worker.pid}
        | {name: value for name, value in each.value.items() if name != "listen_overflows"}
        for each in answers.given
    ]
    fullest: dict[str, dict[str, Any]] = {}
    for each in workers:
        for row in each["tables"]:
            known = fullest.setdefault(row["name"], row)
            if row["used"] * known["capacity"] > known["used"] * row["capacity"]:
                fullest[row["name"]] = row
    stalls = [each["loop_stall_ms"] for each in workers if each["loop_stall_ms"] is not None]
    overflows = [each["listen_overflows"] for each in answers.values if each["listen_overflows"] is not None]
    return {
        "descriptors": max(
            (each["descriptors"] for each in workers),
            key=lambda use: use["used"] / max(1, use["limit"]),
            default={"used": 0, "limit": 0},
        ),
        "memory_bytes": sum(each["memory_bytes"] for each in workers),
        "loop_stall_ms": max(stalls, default=None),
        "listen_overflows": max(overflows, default=None),
        "tables": [*fullest.values()],
        "workers": workers,
    }


def open_files(folder: Path) -> Stepwise[int]:
    """Count the descriptors of this process, in steps where the kernel does not do so (before Linux 6.2)."""
    size = folder.stat().st_size
    if size:
        return size
    count = 0
    with os.scandir(folder) as entries:
        for _ in entries:
            count += 1
            if not count % FILES_A_STEP:
                yield
    return count - 1  # without that of the folder


def descriptors() -> Stepwise[tuple[int, int]]:
    """Give how many descriptors this process has open, and how many it may have."""
    used = yield from open_files(DESCRIPTORS)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return used, soft


def resident_bytes() -> int:
    """Give the memory of this process that is in use, pages that it shares included; 0 if the kernel does not say."""
    with suppress(OSError, ValueError, IndexError):
        return int(STATM.read_text().split()[1]) * resource.getpagesize()
    return 0


def kernel_counts() -> Mapping[str, int]:
    """Give the kernel's counts of TCP, of the whole machine since its start; none if it does not say.

    ``ListenOverflows`` are clients dropped because a backlog was full, ``ListenDrops`` all that a listener dropped.
    """
    with suppress(OSError, ValueError):
        return counts_of(NETSTAT.read_text())
    return {}


def counts_of(netstat: str) -> Mapping[str, int]:
    """Read the counts of TCP out of the text of ``/proc/net/netstat``; none where it has none.

    Raises:
        ValueError: a count is no number.
    """
    lines = [line.split()[1:] for line in netstat.splitlines() if line.startswith("TcpExt:")]
    if len(lines) != 2:
        return {}
    names, values = lines
    return dict(zip(names, map(int, values), strict=False))
