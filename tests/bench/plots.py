"""Figures for the documentation: medians of every proxy as bars, and every promise as a dot beside its limit.

Whiskers span the middle half of the values. The background is white, so that figures read on dark pages too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.bench.bars import Verdict
from tests.bench.peers import PEERS
from tests.bench.results import Results

OURS, THEIRS, INK, FAINT, MISSED, GOOD = "#1565c0", "#a9b8c6", "#263238", "#cfd8dc", "#c62828", "#e8f1fb"
MUTED, AIM = "#607d8b", "#2e7d32"
BAR_INCHES = 0.34
PROMISE_INCHES = 0.37
BEYOND = 1.25
"""Where a value beyond its limit is cut off; 1 is the limit."""
SAME = "the same, "
"""How a promise begins that continues the one before it; its row is indented below that one."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: a tenth of the size, and it can be searched
    "svg.hashsalt": "trioedge",  # the same figures give the same file
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True)
class Panel:
    """One metric, on axes of its own."""

    metric: str
    title: str
    better: str


FIGURES = {
    "latency": (
        Panel("rtt_p50_us", "Round trip p50, 64 B (µs)", "shorter is better"),
        Panel("connect_reset_p50_us", "Connect + first reply p50, client resets (µs)", "shorter is better"),
        Panel("connect_close_p50_us", "The same, client closes in order (µs)", "shorter is better"),
        Panel("connect_paused_p50_us", "The same, client pauses 0.3 ms (µs)", "shorter is better"),
    ),
    "throughput": (
        Panel("bulk_gbit_per_s", "Bulk echo, one session (Gbit/s)", "longer is better"),
        Panel("sessions_per_s", "New sessions a second", "longer is better"),
        Panel("refusals_per_s", "Refusals a second", "longer is better"),
    ),
    "memory": (Panel("idle_kib_per_session", "Memory of an idle session (KiB)", "shorter is better"),),
}


def draw(results: Results, verdicts: Sequence[Verdict], folder: Path) -> list[Path]:
    """Write `bench-*.svg` for whatever was measured; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(STYLE):
        for name, panels in FIGURES.items():
            measured = [panel for panel in panels if panel.metric in results.raw]
            if measured:
                written.append(folder / f"bench-{name}.svg")
                _figure(results, measured).savefig(written[-1], metadata={"Date": None})
        if verdicts:
            written.append(folder / "bench-bars.svg")
            _bars(verdicts).savefig(written[-1], metadata={"Date": None})
    return written


def _figure(results: Results, panels: list[Panel]) -> Figure:
    bars = [len(results.raw[panel.metric]) for panel in panels]
    height = sum(bars) * BAR_INCHES + len(panels) * 0.75
    figure = Figure(figsize=(7.5, height), facecolor="white", layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=[count + 0.6 for count in bars])
    for row, panel in zip(axes, panels, strict=True):
        _panel(row[0], results, panel)
    return figure


def _bars(verdicts: Sequence[Verdict]) -> Figure:
    """Draw one row for each promise: its name, what was measured, and a dot on a track that ends at the limit.

    A track is linear from 0, at its left end, to the limit. Where more is better, the dot is at limit / measured, so
    left is better in every row.
    """
    height = len(verdicts) * PROMISE_INCHES + 0.85
    figure = Figure(figsize=(6.2, height), facecolor="white", layout="constrained")
    axes = figure.subplots()
    for place, verdict in enumerate(verdicts):
        _promise(axes, place, verdict)
    top, end = -1.9, len(verdicts) - 0.45
    axes.axvspan(0, 1, ymax=(end + 0.55) / (end - top), color=GOOD, linewidth=0)
    axes.plot([1, 1], [-0.55, end], color=INK, linewidth=1.2)
    _legend(axes)
    axes.set_xlim(-0.02, BEYOND + 0.03)
    axes.set_ylim(end, top)
    axes.set_axis_off()
    return figure


def _promise(axes: Axes, place: int, verdict: Verdict) -> None:
    """Draw one row; its text is above its track."""
    spread, same = verdict.value, verdict.title.startswith(SAME)
    color = OURS if verdict.reached else MISSED
    low, high = sorted(min(_part(verdict, value), BEYOND) for value in (spread.low, spread.high))
    track = place + 0.2
    axes.plot([0, 1], [track, track], color=FAINT, linewidth=3, solid_capstyle="round")
    axes.plot([low, high], [track, track], color=color, linewidth=2.4, solid_capstyle="round")
    axes.plot(min(_part(verdict, spread.median), BEYOND), track, "o", color=color, markersize=6.5)
    if verdict.aim != verdict.bar:
        axes.plot(_part(verdict, verdict.aim), track, "|", color=AIM, markersize=9, markeredgewidth=1.8)
    title = f"… {verdict.title.removeprefix(SAME)}" if same else verdict.title
    axes.text(0.04 if same else 0, place - 0.19, title, va="center", fontsize=9)
    axes.text(BEYOND + 0.02, place - 0.19, _measured(verdict), va="center", ha="right", fontsize=9, color=color)


def _measured(verdict: Verdict) -> str:
    """Give what was measured and what is required, such as ``1.91 KiB (≤ 12)``."""
    if verdict.aim == verdict.bar:
        return f"{verdict.value.median:g} (must be {verdict.bar:g})"
    unit = "" if verdict.unit == "times" else f" {verdict.unit}"
    return f"{_number(verdict.value.median)}{unit} ({'≤' if verdict.better == 'lower' else '≥'} {verdict.bar:g})"


def _legend(axes: Axes) -> None:
    axes.text(0, -1.55, "Every promise beside its limit: left is better", va="center", fontsize=10, fontweight="bold")
    axes.plot(0.012, -0.95, "o", color=OURS, markersize=6.5)
    axes.text(0.035, -0.95, "measured", va="center", fontsize=9)
    axes.plot(0.262, -0.95, "o", color=MISSED, markersize=6.5)
    axes.text(0.285, -0.95, "missed", va="center", fontsize=9)
    axes.plot(0.482, -0.95, "|", color=AIM, markersize=9, markeredgewidth=1.8)
    axes.text(0.5, -0.95, "aim", va="center", fontsize=9)
    axes.text(1, -0.82, "limit", va="center", ha="center", fontsize=9)


def _part(verdict: Verdict, value: float) -> float:
    """Give the place of a value on its track: 0 is its left end, 1 is the limit."""
    if value == verdict.bar:
        return 1.0
    if verdict.better == "higher":
        return verdict.bar / value if value else BEYOND
    return value / verdict.bar if verdict.bar else BEYOND


def _panel(axes: Axes, results: Results, panel: Panel) -> None:
    values = results.raw[panel.metric]
    names = [name for name in reversed(PEERS) if name in values]
    spreads = {name: spread for name in names if (spread := results.spread(panel.metric, name))}
    longest = max(spread.high for spread in spreads.values())
    for place, (name, spread) in enumerate(spreads.items()):
        axes.barh(place, spread.median, height=0.66, color=OURS if name.startswith("trioedge") else THEIRS)
        axes.plot([spread.low, spread.high], [place, place], color=INK, linewidth=1.2, marker="|")
        axes.text(spread.high + longest * 0.015, place, _number(spread.median), va="center")
    axes.set_yticks(range(len(names)), [PEERS[name].label for name in names])
    axes.set_xlim(0, longest * 1.13)
    _tidy(axes, f"{panel.title}: {panel.better}")
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.grid(visible=True, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def _tidy(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.set_facecolor("white")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(length=0)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
