"""``trioedge stages``: which stage costs what share of an admission."""

from functools import partial
from typing import Any, Final

from ..client.client import EdgeClient, path_of
from ..client.which import NOTHING_SAID, Asked
from ..table import Cell, Column, Value, note, print_table
from ..words import micros, whole

COLUMNS: Final = (
    Column("stage", cut=True),
    Column("kind", spare=2),
    Column("sessions", right=True),
    Column("mean", right=True),
    Column("p50", right=True),
    Column("p99", right=True),
    Column("share", right=True),
    Column("", spare=1),
)

BAR: Final = 20
"""Letters of a whole share."""


def stages(*, asked: Asked = NOTHING_SAID) -> int:
    """Show the latency ledger of a serving edge: what each stage takes of the time until a session is admitted."""
    return asked.run(partial(_stages, asked))


async def _stages(asked: Asked, client: EdgeClient) -> None:
    answer = await client.get(path_of("stage-times"))
    if asked.json:
        asked.print_json(answer)
    elif answer["items"]:
        print_table(COLUMNS, [_row(each) for each in answer["items"]])
    else:
        note("no session has reached a stage")


def _row(stage: dict[str, Any]) -> list[Value]:
    share = stage["share"] or 0.0
    times = [stage[name] if stage["calls"] else None for name in ("mean_micros", "p50_micros", "p99_micros")]
    return [
        stage["stage"],
        stage["kind"],
        whole(stage["calls"]),
        *map(micros, times),
        f"{share:.1%}",
        Cell("█" * round(share * BAR), "cyan"),
    ]
