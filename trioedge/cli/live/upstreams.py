"""``trioedge upstreams``: which upstream is slow or dead."""

from functools import partial
from typing import Any, Final

from ..client.client import EdgeClient, path_of
from ..client.which import NOTHING_SAID, Asked
from ..table import Cell, Column, Value, note, print_table
from ..words import whole

COLUMNS: Final = (
    Column("upstream", cut=True),
    Column("group", cut=True, spare=3),
    Column("health"),
    Column("in flight", right=True, spare=1),
    Column("idle", right=True, spare=4),
    Column("connects", right=True),
    Column("failures", right=True),
    Column("p50 ms", right=True),
    Column("p99 ms", right=True),
    Column("max ms", right=True, spare=2),
    Column("last error", cut=True),
)


def upstreams(*, asked: Asked = NOTHING_SAID) -> int:
    """List the upstreams of a serving edge: health, connects and failures, and how long a connect takes."""
    return asked.run(partial(_upstreams, asked))


async def _upstreams(asked: Asked, client: EdgeClient) -> None:
    answer = await client.items(path_of("upstreams"), None)
    if asked.json:
        asked.print_json(answer)
    elif answer["items"]:
        print_table(COLUMNS, [_row(each) for each in answer["items"]])
    else:
        note("no upstream was connected yet")


def _row(upstream: dict[str, Any]) -> list[Value]:
    healthy = upstream["healthy"]
    health = Cell("-") if healthy is None else Cell("well", "green") if healthy else Cell("out", "red")
    times = upstream["connect_ms"] or {}
    return [
        upstream["address"],
        upstream["group"],
        health,
        whole(upstream["in_flight"]),
        whole(upstream["idle"]),
        whole(upstream["connects"]),
        Cell(whole(upstream["failures"]) or "-", "red" if upstream["failures"] else ""),
        *(None if times.get(name) is None else f"{times[name]:.1f}" for name in ("p50", "p99", "max")),
        upstream["last_error"],
    ]
