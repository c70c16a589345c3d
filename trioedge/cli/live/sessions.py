"""``trioedge sessions``: the live sessions, or how many each source, service or device has."""

from functools import partial
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter, validators

from ...errors import ConfigurationError
from ..client.client import EdgeClient, path_of
from ..client.which import NOTHING_SAID, Asked
from ..table import Cell, Column, note, print_table, shown
from ..words import amount, span, whole

COLUMNS: Final = (
    Column("id", right=True),
    Column("service", cut=True),
    Column("source", cut=True),
    Column("device", cut=True, spare=2),
    Column("phase"),
    Column("age", right=True),
    Column("idle", right=True, spare=3),
    Column("up", right=True),
    Column("down", right=True),
    Column("upstream", cut=True, spare=4),
    Column("worker", right=True, spare=5),
)

PHASES: Final = {"relaying": "green", "connecting": "yellow", "handling": "yellow"}

Limit = Annotated[int, Parameter(validator=validators.Number(gte=1))]


def sessions(
    *,
    service: str | None = None,
    source: str | None = None,
    device: str | None = None,
    by: Literal["source", "service", "device"] | None = None,
    order: Literal["live", "bytes"] = "live",
    limit: Limit = 100,
    all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
    asked: Asked = NOTHING_SAID,
) -> int:
    """List the live sessions of a serving edge; with --by, who has the most of them.

    Args:
        service: Those of this service.
        source: Those of this address or prefix.
        device: Those of this device.
        by: Count sessions and bytes by this, the most first.
        order: What --by counts as the most.
        limit: So many lines.
        all_: All lines.
        asked: Which edge, and how to print.
    """
    if by is None:
        named = {"service": service, "source": source, "device": device}
        return asked.run(partial(_list, asked, None if all_ else limit, named))
    if service or source or device:
        raise ConfigurationError(f"--by {by} counts all live sessions: leave out --service, --source and --device")
    return asked.run(partial(_count, asked, 1000 if all_ else min(limit, 1000), by, order))


async def _list(asked: Asked, limit: int | None, named: dict[str, str | None], client: EdgeClient) -> None:
    answer = await client.items(path_of("sessions"), limit, **named)
    if not answer["items"]:
        await client.check_service(named["service"])
    if asked.json:
        asked.print_json(answer)
        return
    print_sessions(answer["items"])
    if answer["next"] is not None:
        note("there are more: --all shows them")


def print_sessions(items: list[dict[str, Any]]) -> None:
    """Print sessions as a table; say so if there is none."""
    if not items:
        note("no session is live")
        return
    print_table(COLUMNS, [_row(session) for session in items])


def _row(session: dict[str, Any]) -> list[str | int | Cell | None]:
    return [
        session["id"],
        session["service"],
        session["source"],
        session["device"],
        Cell(shown(session["phase"]), PHASES.get(session["phase"], "")),
        span(session["age_seconds"]),
        span(session["idle_seconds"]),
        amount(session["bytes_up"]),
        amount(session["bytes_down"]),
        session["upstream"],
        session["worker"],
    ]


async def _count(asked: Asked, limit: int, by: str, order: str, client: EdgeClient) -> None:
    answer = await client.get(path_of("top"), by=by, order=order, limit=limit)
    if asked.json:
        asked.print_json(answer)
        return
    if not (items := answer["items"]):
        note("no session is live")
        return
    columns = [Column(by, cut=True), *(Column(title, right=True) for title in ("live", "up", "down"))]
    rows = [[each["key"], whole(each["live"]), amount(each["bytes_up"]), amount(each["bytes_down"])] for each in items]
    if by == "device":  # which is of a service
        columns.insert(1, Column("service", cut=True))
        for row, each in zip(rows, items, strict=True):
            row.insert(1, each["service"])
    print_table(columns, rows)
