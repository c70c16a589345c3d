"""How near an edge is to the limits of its machine, in words."""

from collections.abc import Mapping
from typing import Any, Final

from ..table import Cell, Value, shown
from ..words import amount

NEAR: Final = 0.8
"""The part of a limit above which it is near."""

STALLED_MS: Final = 50.0
"""A loop that stands for so long makes every client wait."""


def machine_facts(machine: Mapping[str, Any]) -> list[tuple[str, Value]]:
    """Say how many descriptors and how much memory are used, how long the loop stalls, and which table is full."""
    stall, dropped = machine["loop_stall_ms"], machine["listen_overflows"]
    facts: list[tuple[str, Value]] = [
        ("open files", _use(machine["descriptors"]["used"], machine["descriptors"]["limit"])),
        ("memory", amount(machine["memory_bytes"])),
        ("loop stall", None if stall is None else Cell(f"{stall:.1f} ms", "red" if stall >= STALLED_MS else "")),
        ("backlog", None if dropped is None else f"{dropped:,} clients dropped since the machine began"),
    ]
    return facts + [(shown(table["name"]), _use(table["used"], table["capacity"])) for table in machine["tables"]]


def _use(used: int, limit: int) -> Cell:
    part = used / limit if limit else 1.0
    return Cell(f"{used:,} of {limit:,} ({part:.0%})", "red" if part >= NEAR else "")
