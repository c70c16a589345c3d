"""Counts and amounts in words, for all commands."""

from collections.abc import Mapping

from ..session.verdict import Reason


def reasons(counts: Mapping[Reason, int]) -> str:
    """Write ``rate 12, source 3``, in the order of :class:`Reason`, or ``none``."""
    return ", ".join(f"{reason} {counts[reason]}" for reason in Reason if counts.get(reason)) or "none"


def count(number: int, noun: str) -> str:
    """Write ``1 session`` or ``2 sessions``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def amount(size: float) -> str:
    """Write a number of bytes with three digits or so: ``12 B``, ``1.2 kB``, ``345 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.1f} {unit}" if size < 9.95 and unit != "B" else f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
