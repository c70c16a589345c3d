"""A table of the live sessions, with counts of the refused and the ended ones, for a terminal."""

from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...edge import Edge
from ...session.session import Session
from ..words import amount, reasons

PHASE_STYLES: Final = {"relaying": "green", "connecting": "yellow", "handling": "yellow"}


def render(edge: Edge, *, now: float, rows: int) -> RenderableType:
    """Render the sessions of an edge, oldest first, and its counts.

    Args:
        edge: a serving edge.
        now: the time of Trio's clock.
        rows: the number of sessions to show. With fewer sessions the table has empty rows, so that its height is fixed.
    """
    sessions = list(edge.sessions)
    return Group(_table(sessions, now, rows), _left_out(len(sessions) - rows), _counts(edge))


def _table(sessions: list[Session], now: float, rows: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=False, pad_edge=False, header_style="bold", show_edge=False)
    table.add_column("id", justify="right", style="dim", min_width=5)
    table.add_column("source", min_width=15)
    table.add_column("service", min_width=8)
    table.add_column("phase", min_width=10)
    for column in ("age", "up", "down"):
        table.add_column(column, justify="right", min_width=8)
    for session in sessions[:rows]:
        table.add_row(
            str(session.id),
            Text(session.source),
            Text(session.service.name),  # plain, because a name may have the brackets of rich's markup
            Text(session.phase, PHASE_STYLES.get(session.phase, "")),
            f"{now - session.started_at:.1f} s",
            amount(session.bytes_up),
            amount(session.bytes_down),
        )
    for _ in range(rows - len(sessions)):
        table.add_row()
    return table


def _left_out(count: int) -> Text:
    return Text(f"      and {count} more" if count > 0 else "", "dim")


def _counts(edge: Edge) -> Table:
    counts = edge.statistics()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column()
    grid.add_row(
        "accepted",
        f"{counts.accepted}, live {counts.live}, up {amount(counts.bytes_up)}, down {amount(counts.bytes_down)}",
    )
    grid.add_row("refused", Text(reasons(counts.refused), "red" if counts.refused else ""))
    grid.add_row("ended", reasons(counts.ended))
    return grid
