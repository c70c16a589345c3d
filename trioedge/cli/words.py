"""Counts and amounts in words, for all commands."""

from collections.abc import Mapping

from ..session.verdict import Reason


def reasons(counts: Mapping[str, int]) -> str:
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


def span(seconds: float | None) -> str:
    """Write a length of time with two units at most: ``0.3 s``, ``12 s``, ``3 m 20 s``, ``3 d 4 h``; ``-`` for None."""
    if seconds is None:
        return "-"
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    for unit, size, smaller, part in (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def micros(value: float | None) -> str:
    """Write a length of time of microseconds with three digits or so: ``0.4 µs``, ``12 µs``, ``3.4 ms``, ``2.0 s``."""
    if value is None:
        return "-"
    for unit in ("µs", "ms"):
        if value < 999.5:
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} s"


def whole(number: int | None) -> str | None:
    """Write a count with commas; None stays."""
    return None if number is None else f"{number:,}"
