"""``trioedge statistics``: what an edge has counted, and how it went in the last minutes."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from ..client.client import EdgeClient, path_of
from ..client.which import NOTHING_SAID, Asked
from ..sparkline import sparkline
from ..table import Cell, Column, print_facts, print_table, shown
from ..words import amount, count, span, whole

WORKERS: Final = (
    Column("worker", right=True),
    Column("pid", right=True),
    Column("state"),
    Column("generation", right=True, spare=1),
    Column("live", right=True),
    Column("accepted", right=True),
    Column("silent", right=True),
)

LINE: Final = 60
"""Letters of the line of the last minutes."""


def statistics(*, asked: Asked = NOTHING_SAID) -> int:
    """Show what a serving edge has counted: sessions, refusals and ends by reason, bytes, and the last 15 minutes."""
    return asked.run(partial(_statistics, asked))


async def _statistics(asked: Asked, client: EdgeClient) -> None:
    counts = await client.get(path_of("statistics"))
    history = await client.get(path_of("history"))
    if asked.json:
        asked.print_json({"statistics": counts, "history": history})
        return
    print_facts(
        [
            ("edge", f"{shown(counts['edge'])}, {shown(counts['phase'])} for {span(counts['uptime_seconds'])}"),
            ("live", f"{counts['live']:,}, and {counts['in_handshake']:,} in their handshake"),
            ("accepted", f"{counts['accepted']:,}"),
            ("bytes", f"up {amount(counts['bytes_up'])}, down {amount(counts['bytes_down'])}"),
            ("refused", Cell(by_reason(counts["refused"]), "red" if counts["refused"] else "")),
            ("ended", by_reason(counts["ended"])),
        ]
    )
    _print_history(history["points"])
    print_workers(counts)


def by_reason(reasons: Mapping[str, int]) -> str:
    """Write ``32: rate 20, source 12``, the most first; ``none`` for no reason."""
    if not reasons:
        return "none"
    most = sorted(reasons.items(), key=lambda each: (-each[1], each[0]))
    return f"{sum(reasons.values()):,}: {', '.join(f'{shown(reason)} {number:,}' for reason, number in most)}"


def _print_history(points: list[dict[str, Any]]) -> None:
    """Draw the live sessions of the last minutes, and say since when they have been rising."""
    if len(points) < 2:
        return
    live = [point["live"] for point in points]
    lowest = len(live) - 1 - live[::-1].index(min(live))
    print()
    print_facts(
        [
            (f"live, the last {span(points[-1]['at'] - points[0]['at'])}", Cell(sparkline(live, LINE), "cyan")),
            ("highest", f"{max(live):,}, {_ago(points, live.index(max(live)))}"),
            ("lowest", f"{live[lowest]:,}, {_ago(points, lowest)}"),
        ]
    )


def _ago(points: list[dict[str, Any]], place: int) -> str:
    seconds = points[-1]["at"] - points[place]["at"]
    return f"{span(seconds)} ago" if seconds else "now"


def print_workers(counts: Mapping[str, Any]) -> None:
    """Print the workers as a table, if there are several, and which did not answer."""
    if len(counts["workers"]) > 1:
        print()
        print_table(WORKERS, [_row(each) for each in counts["workers"]])
    if missing := counts["missing"]:
        numbers = ", ".join(map(str, missing))
        print_facts([("no answer", Cell(f"{count(len(missing), 'worker')}: {numbers}", "red"))])


def _row(worker: Mapping[str, Any]) -> tuple[str | int | Cell | None, ...]:
    stall = worker["stall_ms"]
    return (
        worker["number"],
        worker["pid"],
        Cell(shown(worker["state"]), "green" if worker["state"] == "ready" else "yellow"),
        worker["generation"],
        whole(worker["live"]),
        whole(worker["accepted"]),
        None if stall is None else f"{stall:.0f} ms",
    )
