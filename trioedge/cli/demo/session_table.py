"""A table of the live sessions, with counts of the refused and the ended ones, for a terminal."""

from collections.abc import Mapping
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..words import amount, reasons
from .look import Look

PHASE_STYLES: Final = {"relaying": "green", "connecting": "yellow", "handling": "yellow"}

WORKER_STYLES: Final = ("cyan", "magenta")


def render(look: Look, *, rows: int) -> RenderableType:
    """Render the sessions of an edge, oldest first, and its counts.

    Args:
        look: at the edge.
        rows: the number of sessions to show. With fewer sessions the table has empty rows, so that its height is fixed.
    """
    more = look.statistics["live"] - min(len(look.sessions), rows)
    return Group(_table(look.sessions, rows), _left_out(more), _counts(look.statistics))


def _table(sessions: list[dict[str, Any]], rows: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=False, pad_edge=False, header_style="bold", show_edge=False)
    table.add_column("id", justify="right", style="dim", min_width=4)
    table.add_column("worker", justify="right")
    table.add_column("source", min_width=11)
    table.add_column("service", min_width=7)
    table.add_column("phase", min_width=10)
    for column in ("age", "up", "down"):
        table.add_column(column, justify="right", min_width=7)
    for session in sessions[:rows]:
        table.add_row(
            str(session["id"]),
            Text(str(session["worker"]), WORKER_STYLES[session["worker"] % len(WORKER_STYLES)]),
            Text(session["source"]),
            Text(session["service"]),  # plain, because a name may have the brackets of rich's markup
            Text(session["phase"], PHASE_STYLES.get(session["phase"], "")),
            f"{session['age_seconds']:.1f} s",
            amount(session["bytes_up"]),
            amount(session["bytes_down"]),
        )
    for _ in range(rows - len(sessions)):
        table.add_row()
    return table


def _left_out(count: int) -> Text:
    return Text(f"      and {count} more" if count > 0 else "", "dim")


def _counts(counts: Mapping[str, Any]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column()
    moved = f"up {amount(counts['bytes_up'])}, down {amount(counts['bytes_down'])}"
    grid.add_row("accepted", f"{counts['accepted']}, live {counts['live']}, {moved}")
    grid.add_row("refused", Text(reasons(counts["refused"]), "red" if counts["refused"] else ""))
    grid.add_row("ended", reasons(counts["ended"]))
    return grid
