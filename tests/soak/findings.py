"""What a part of the campaign found: a row for each thing tried, with its faults and its figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Say = Callable[[str], None]
"""Is given a line of progress."""


@dataclass
class Row:
    """One line of the table at the end.

    Attributes:
        part: the part of the campaign, as the command line names it.
        what: the mode, limit or call, and the peer where it is not trioedge.
        tried: how much was tried, for people.
        faults: in words; a row without any is right.
        figures: measured values, by name with their units.
    """

    part: str
    what: str
    tried: str
    faults: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    peer: str = "trioedge"


@dataclass(frozen=True)
class Task:
    """What a part is given."""

    seconds: float
    seed: int
    folder: Path
    say: Say
    peers: tuple[str, ...] = ()
    """Of HAProxy and nginx, those that are installed."""
