"""Figures for the documentation: horizontal bars of medians, whiskers around the middle half of the values; and what
was found as a part of what was promised.

White behind everything, so that they read on a dark page as on a light one.
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

OURS, THEIRS, INK, FAINT, MISSED = "#1565c0", "#a9b8c6", "#263238", "#cfd8dc", "#c62828"
BAR_INCHES = 0.34
BEYOND = 1.5
"""Where a figure that is further beyond its bar is cut off, in bars."""

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
        Panel("connect_p50_us", "Connect + first reply p50 (µs)", "shorter is better"),
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
    """Draw what was found as a part of its bar, which is the line: left of it is better, whatever the figure."""
    figure = Figure(figsize=(7.5, len(verdicts) * BAR_INCHES + 0.75), facecolor="white", layout="constrained")
    axes = figure.subplots()
    for place, verdict in enumerate(reversed(verdicts)):
        unit = "" if verdict.unit == "times" else f" {verdict.unit}"
        part = min(_part(verdict), BEYOND)
        axes.barh(place, part, height=0.66, color=OURS if verdict.reached else MISSED)
        axes.text(BEYOND + 0.05, place, f"{_number(verdict.value.median)} of {verdict.bar:g}{unit}", va="center")
    axes.axvline(1, color=INK, linewidth=1.2)
    axes.set_yticks(range(len(verdicts)), [verdict.title for verdict in reversed(verdicts)])
    axes.set_xlim(0, BEYOND + 0.9)
    axes.set_xticks([])
    axes.margins(y=0.01)
    _tidy(axes, "")
    figure.suptitle(
        "Found, as a part of the bar: left of the line is better", x=0.01, ha="left", fontsize=10, fontweight="bold"
    )
    return figure


def _part(verdict: Verdict) -> float:
    """How much of its bar a figure takes up; 1 is the bar itself."""
    found = verdict.value.median
    if verdict.better == "higher":
        return verdict.bar / found if found else BEYOND
    return found / verdict.bar if verdict.bar else BEYOND * bool(found)


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
