"""What `top` asks an edge each time, and the rates between two answers."""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs

from ..client.client import EdgeClient, path_of

By: TypeAlias = Literal["source", "service", "device"]
Order: TypeAlias = Literal["live", "bytes"]

Key: TypeAlias = tuple[str | None, str]
"""What a row is of: of a device its service and its name, otherwise None and the name."""

ROWS: Final = 100
"""Sources, services or devices that are asked for."""


@attrs.frozen
class Sample:
    """The answers of an edge at one moment.

    Attributes:
        at: the moment, in seconds of a clock that only goes forward.
        by: of what the rows are.
        statistics, history, stages: as the API gives them.
        rows: sources, services or devices, the first ones first.
    """

    at: float
    by: By
    statistics: Mapping[str, Any]
    history: list[dict[str, Any]]
    stages: list[dict[str, Any]]
    rows: list[dict[str, Any]]


@attrs.frozen
class Rates:
    """Per second, between two samples.

    Attributes:
        accepted: connections.
        refused: sessions.
        up: bytes.
        down: bytes.
        rows: bytes in both directions of each row.
    """

    accepted: float
    refused: float
    up: float
    down: float
    rows: Mapping[Key, float]


def key_of(row: Mapping[str, Any]) -> Key:
    """Give what a row is of."""
    return row.get("service"), row["key"]


async def take(client: EdgeClient, by: By, order: Order, at: float) -> Sample:
    """Ask an edge; errors as of its client."""
    statistics = await client.get(path_of("statistics"))
    history = await client.get(path_of("history"))
    stages = await client.get(path_of("stage-times"))
    top = await client.get(path_of("top"), by=by, order=order, limit=ROWS)
    return Sample(at, by, statistics, history["points"], stages["items"], top["items"])


def rates(before: Sample, now: Sample) -> Rates | None:
    """Give the rates between two samples; None if the edge began anew between them."""
    seconds = now.at - before.at
    then, here = _counts(before), _counts(now)
    if seconds <= 0 or any(new < old for old, new in zip(then, here, strict=True)):
        return None
    known = {key_of(row): row["bytes_up"] + row["bytes_down"] for row in before.rows} if before.by == now.by else {}
    rows = {
        key_of(row): max(0.0, (row["bytes_up"] + row["bytes_down"] - known[key_of(row)]) / seconds)
        for row in now.rows
        if key_of(row) in known
    }
    accepted, refused, up, down = ((new - old) / seconds for old, new in zip(then, here, strict=True))
    return Rates(accepted, refused, up, down, rows)


def _counts(sample: Sample) -> tuple[int, int, int, int]:
    counts = sample.statistics
    return counts["accepted"], sum(counts["refused"].values()), counts["bytes_up"], counts["bytes_down"]
