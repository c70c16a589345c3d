"""How near the machine of an edge is to its limits, in words."""

from typing import Any

from ..table import Value


def machine_facts(machine: dict[str, Any]) -> list[tuple[str, Value]]:
    """Say how many descriptors and how much memory are used, how long the loop stalls, and which tables are full."""
    return [(name, str(value)) for name, value in machine.items()]
