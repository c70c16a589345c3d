"""The table at the end, the file of results, and the table of the reliability page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from tests.bench import document
from tests.bench.peers import versions
from tests.bench.report import console
from tests.soak.findings import Row

PAGE = Path("docs/explanation/reliability.md")
BEGIN, END = "<!-- soak -->", "<!-- /soak -->"
NAMES = {"trioedge": "**trioedge**", "haproxy": "HAProxy", "nginx": "nginx"}
ORDER = ("fuzz", "calls", "floods", "soak", "mutants")
SHOWN = 12
"""Faults of a row that are printed; the file has all."""


def table(rows: Sequence[Row]) -> None:
    """Print one line a row, and the first faults of each below it."""
    shown = Table(title="The campaign", title_justify="left")
    for heading in ("part", "what", "on", "tried", "figures"):
        shown.add_column(heading)
    shown.add_column("faults", justify="right")
    for row in rows:
        figures = ", ".join(f"{name} {value:,.5g}" for name, value in row.figures.items())
        count = f"[red]{len(row.faults)}[/]" if row.faults else "[green]0[/]"
        shown.add_row(row.part, row.what, row.peer, row.tried, figures, count)
    screen = console()
    screen.print(shown)
    for row in rows:
        for fault in row.faults[:SHOWN]:
            screen.print(f"[red]{row.part}, {row.what}, {row.peer}[/]: ", end="")
            screen.print(fault, markup=False, soft_wrap=True)
        if len(row.faults) > SHOWN:
            screen.print(f"{row.part}, {row.what}, {row.peer}: {len(row.faults) - SHOWN} more")


def merged(path: Path, rows: Sequence[Row], *, seconds: float) -> dict[str, Any]:
    """The document of a run; of parts that did not run, the rows that stood in the file, with their commit."""
    stamp = {"commit": document.commit(), "date": datetime.now(UTC).isoformat(timespec="seconds")}
    fresh = [{**asdict(row), **stamp} for row in rows]
    parts = {row["part"] for row in fresh}
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    kept = [row for row in before if row["part"] not in parts]
    return {
        "machine": document.machine(),
        "versions": versions(),
        "seconds": round(seconds),
        "rows": sorted([*kept, *fresh], key=lambda row: ORDER.index(row["part"])),
    }


def write_page(content: Mapping[str, Any], page: Path = PAGE) -> Path:
    """Put the figures between the marks of the page."""
    before, rest = page.read_text().split(BEGIN)
    blocks = [_fuzz(content), _calls(content), _floods(content), _soak(content), _mutants(content), _stamp(content)]
    text = "\n\n".join(block for block in blocks if block)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}")
    return page


def _rows(content: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
    return [row for row in content["rows"] if row["part"] == part]


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _fuzz(content: Mapping[str, Any]) -> str:
    rows = [
        [
            NAMES[row["what"]] if row["what"] in NAMES else f"trioedge, {row['what']}",
            f"{row['figures'].get('sessions', 0):,.0f}",
            f"{row['figures'].get('bytes', 0) / 1e6:,.0f}",
            f"{row['figures'].get('whole', 0):,.0f}",
            str(len(row["faults"])),
        ]
        for row in _rows(content, "fuzz")
    ]
    head = ("mode", "sessions", "MB compared", "whole as they must be", "faults")
    return f"Rhythms:\n\n{_markdown(head, rows)}" if rows else ""


def _calls(content: Mapping[str, Any]) -> str:
    rows = [
        [
            row["what"],
            f"{row['figures'].get('failures', 0):,.0f}",
            f"{row['figures'].get('sessions lost', 0):,.0f}",
            str(len(row["faults"])),
        ]
        for row in _rows(content, "calls")
    ]
    head = ("mode", "calls that failed", "sessions that met one and ended", "faults")
    return f"Failing system calls:\n\n{_markdown(head, rows)}" if rows else ""


def _floods(content: Mapping[str, Any]) -> str:
    rows = []
    for row in _rows(content, "floods"):
        figures = row["figures"]
        said = [
            f"{figures[f'honest {name} ms, {when}']:.1f}" if f"honest {name} ms, {when}" in figures else "-"
            for name in ("p50", "p99")
            for when in ("quiet", "flooded")
        ]
        rows.append([row["what"], NAMES[row["peer"]], row["tried"], *said, str(len(row["faults"]))])
    head = ("limit", "on", "flood", "honest p50 before, ms", "during", "p99 before, ms", "during", "faults")
    return f"Floods:\n\n{_markdown(head, rows)}" if rows else ""


def _soak(content: Mapping[str, Any]) -> str:
    rows = []
    for row in _rows(content, "soak"):
        figures = row["figures"]
        name = NAMES[row["what"]] if row["what"] in NAMES else f"trioedge, {row['what']}"
        grown = [
            f"{figures[f'{each} grew %']:+.1f} %" if f"{each} grew %" in figures else "-"
            for each in ("rss_kib", "descriptors", "tasks", "objects")
        ]
        memory = f"{figures['rss_kib'] / 1024:,.1f}" if "rss_kib" in figures else "-"
        rows.append([name, row["tried"], memory, *grown, str(len(row["faults"]))])
    head = ("process", "served", "memory at the end, MiB", "memory grew", "descriptors", "tasks", "objects", "faults")
    return f"The soak, from minute 2 to the end:\n\n{_markdown(head, rows)}" if rows else ""


def _mutants(content: Mapping[str, Any]) -> str:
    rows = [
        [
            row["what"],
            *(f"{row['figures'].get(name, 0):,.0f}" for name in ("tried", "caught", "equivalent", "survived")),
        ]
        for row in _rows(content, "mutants")
    ]
    return f"Mutants:\n\n{_markdown(('module', 'tried', 'caught', 'equivalent', 'survived'), rows)}" if rows else ""


def _stamp(content: Mapping[str, Any]) -> str:
    machine = content["machine"]
    tools = ", ".join(f"{name} {version}" for name, version in content["versions"].items() if name != "trioedge")
    commits = sorted({f"`{row['commit'][:12]}` on {row['date'][:10]}" for row in content["rows"]})
    return (
        f"Measured at commit {', '.join(commits)}: {machine['cpu']}, {machine['cores']} cores, {machine['kernel']}, "
        f"{machine['python']}, {tools}."
    )
