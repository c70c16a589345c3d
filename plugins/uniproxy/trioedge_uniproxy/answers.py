"""The small answers of a panel: its configuration of a node, and the addresses that are online on all nodes."""

import json
from collections.abc import Container
from typing import Any, Final

from .errors import PanelError
from .users import number_of

MIN_SECONDS: Final = 5.0
MAX_SECONDS: Final = 3600.0
"""Of the intervals; what the panel says is brought between the two."""

DEFAULT_SECONDS: Final = 60.0


def read_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        PanelError: it is none.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise PanelError("no JSON object")
    return found


def read_intervals(body: bytes) -> tuple[float, float]:
    """Read the seconds between two pulls and between two pushes from the answer to ``GET config``.

    Raises:
        PanelError: it is no such answer.
    """
    base = read_object(body).get("base_config")
    if base is None:
        base = {}
    if not isinstance(base, dict):
        raise PanelError("base_config is no object")
    return _interval(base, "pull_interval"), _interval(base, "push_interval")


def _interval(base: dict[str, Any], name: str) -> float:
    seconds = number_of(f"base_config.{name}", base.get(name))
    return min(max(seconds, MIN_SECONDS), MAX_SECONDS) if seconds else DEFAULT_SECONDS


def read_alive(body: bytes, known: Container[str]) -> dict[str, int]:
    """Read how many addresses of each user are online on all nodes, from the answer to ``GET alivelist``.

    Args:
        body: JSON, ``{"alive": {"7": 2, …}}``; PHP writes an empty object as ``[]``.
        known: the users of this node; others are left out.

    Raises:
        PanelError: it is no such answer.
    """
    alive = read_object(body).get("alive")
    if alive is None or alive == []:
        return {}
    if not isinstance(alive, dict):
        raise PanelError("alive is no object")
    return {uid: int(number_of(f"alive.{uid}", count)) for uid, count in alive.items() if uid in known}
