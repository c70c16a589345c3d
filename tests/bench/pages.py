"""The tables of the README and of the performance page, written between their `<!-- bench -->` marks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.bench.results import Results

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
BEGIN_WORKERS, END_WORKERS = "<!-- bench of workers -->", "<!-- /bench of workers -->"
PEERS = ("direct", "floor", "haproxy", "nginx", "uvloop", "asyncio", "trio", "trioedge")
NAMES = ("no proxy", "bare relay in C", "HAProxy", "nginx", "uvloop", "asyncio", "trio", "**trioedge**")
HEADLINES = (
    ("round trip, 64 B, p50", "rtt_p50_us", "trioedge", "haproxy", "{:.1f} µs"),
    ("bulk echo, one session", "bulk_gbit_per_s", "trioedge", "haproxy", "{:.2f} Gbit/s"),
    ("connect and first reply, p50, with limits", "connect_close_p50_us", "trioedge", "haproxy-limits", "{:.0f} µs"),
    ("the same, the client resets", "connect_reset_p50_us", "trioedge", "haproxy-limits", "{:.0f} µs"),
    ("the same, the client pauses 0.3 ms", "connect_paused_p50_us", "trioedge", "haproxy-limits", "{:.0f} µs"),
    ("the same, preconnected", "connect_paused_p50_us", "trioedge-preconnect", "haproxy-limits", "{:.0f} µs"),
    ("processor time of a session", "session_cpu_us", "trioedge", "haproxy-limits", "{:.0f} µs"),
    ("refusals a second", "refusals_per_s", "trioedge-refuse", "haproxy-refuse", "{:,.0f}"),
)
MEASURES = (
    ("round trip p50, µs", "rtt_p50_us", "{:.1f}"),
    ("round trip p99, µs", "rtt_p99_us", "{:.1f}"),
    ("connect and first reply, client resets, p50, µs", "connect_reset_p50_us", "{:.0f}"),
    ("the same, p99, µs", "connect_reset_p99_us", "{:.0f}"),
    ("client closes in order, p50, µs", "connect_close_p50_us", "{:.0f}"),
    ("the same, p99, µs", "connect_close_p99_us", "{:.0f}"),
    ("client pauses 0.3 ms, p50, µs", "connect_paused_p50_us", "{:.0f}"),
    ("the same, p99, µs", "connect_paused_p99_us", "{:.0f}"),
    ("processor time of a session, µs", "session_cpu_us", "{:.0f}"),
    ("new sessions a second", "sessions_per_s", "{:,.0f}"),
    ("bulk echo, Gbit/s", "bulk_gbit_per_s", "{:.2f}"),
    ("memory of an idle session, KiB", "idle_kib_per_session", "{:.1f}"),
)


def write(document: Mapping[str, Any], root: Path) -> list[Path]:
    """Put the figures of a full run into the README and the performance page, and give the files written."""
    headlines = _headlines(document)
    pages = {
        root / "README.md": headlines,
        root / "docs/explanation/performance.md": "\n\n".join(
            (headlines, "Every peer, medians:", _measures(document), "What trioedge is to reach:", _bars(document),
             _measured_on(document))
        ),
    }  # fmt: skip
    for path, block in pages.items():
        before, rest = path.read_text().split(BEGIN)
        path.write_text(f"{before}{BEGIN}\n\n{block}\n\n{END}{rest.split(END)[1]}")
    return list(pages)


def write_workers(document: Mapping[str, Any], root: Path) -> Path:
    """Put the figures of several workers into the performance page, and give its path."""
    path = root / "docs/explanation/performance.md"
    block = "\n\n".join((_bars(document, of_workers=True), _measured_on(document)))
    before, rest = path.read_text().split(BEGIN_WORKERS)
    path.write_text(f"{before}{BEGIN_WORKERS}\n\n{block}\n\n{END_WORKERS}{rest.split(END_WORKERS)[1]}")
    return path


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _median(document: Mapping[str, Any], metric: str, peer: str) -> float | None:
    spread = document["spread"].get(metric, {}).get(peer)
    return None if spread is None else float(spread["median"])


def _say(template: str, value: float | None) -> str:
    return "-" if value is None else template.format(value)


def _headlines(document: Mapping[str, Any]) -> str:
    # The ratio is the median of turns that followed one another, not the quotient of two medians.
    results = Results(document["raw"])
    rows = []
    for title, metric, ours, theirs, form in HEADLINES:
        ratio = results.ratio(metric, ours, theirs)
        said = _say("{:.2f}", ratio.median if ratio else None)
        rows.append(
            [title, _say(form, _median(document, metric, ours)), _say(form, _median(document, metric, theirs)), said]
        )
    return _table(("measure", "trioedge", "HAProxy", "ratio"), rows)


def _measures(document: Mapping[str, Any]) -> str:
    rows = ([title, *(_say(template, _median(document, metric, peer)) for peer in PEERS)]
            for title, metric, template in MEASURES)  # fmt: skip
    return _table(("measure", *NAMES), rows)


def _bars(document: Mapping[str, Any], *, of_workers: bool = False) -> str:
    rows = []
    for bar in (each for each in document["bars"] if each["of_workers"] is of_workers):
        sign = "≤" if bar["better"] == "lower" else "≥"
        spread = bar["value"]
        unit = "" if bar["unit"] == "times" else f" {bar['unit']}"
        rows.append([
            bar["title"], f"{spread['median']:.2f}{unit}", f"{spread['low']:.2f} to {spread['high']:.2f}",
            f"{sign} {bar['bar']:g}", f"{sign} {bar['aim']:g}", "reached" if bar["reached"] else f"**{bar['said']}**",
        ])  # fmt: skip
    return _table(("measure", "median", "middle half", "bar", "aim", ""), rows)


def _measured_on(document: Mapping[str, Any]) -> str:
    machine, versions = document["machine"], document["versions"]
    tools = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "trioedge")
    return (
        f"Measured on {document['date'][:10]} at commit `{document['git_commit'][:12]}`: {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['kernel']}, {machine['python']}, {tools}."
    )
