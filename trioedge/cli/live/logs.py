"""``trioedge logs``: follow how sessions end and are refused; and the level of an edge's log."""

import json
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final

import trio
from cyclopts import Parameter, validators

from ...telemetry.access_lines import as_text
from ...telemetry.level import LogLevel
from ..client.client import EdgeClient, path_of
from ..client.errors import AdminError, UnreachableError
from ..client.which import NOTHING_SAID, Asked
from ..table import note

ENDS: Final = ("ended", "refused")

FIELDS: Final = (
    "id", "outcome", "reason", "listener", "peer", "source", "service", "device", "upstream", "bytes_up", "bytes_down",
    "seconds", "stage", "detail",
)  # fmt: skip
"""What a line has behind its time, as an access log."""


def logs(
    *,
    level: LogLevel | None = None,
    last: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=1000))] = 10,
    asked: Asked = NOTHING_SAID,
) -> int:
    """Follow the sessions of a serving edge that end or are refused, a line each, until Ctrl-C.

    Args:
        level: The level of the edge's own log while this command follows; then the former one comes back.
        last: Begin with so many of those that ended before.
        asked: Which edge, and how to print.
    """
    return asked.run(partial(_follow, asked, level, last))


def log_level(level: LogLevel | None = None, /, *, asked: Asked = NOTHING_SAID) -> int:
    """Print the lowest level that a serving edge logs, or set it until the edge starts anew.

    Args:
        level: debug, info, warning or error.
        asked: Which edge, and how to print.
    """
    return asked.run(partial(_log_level, asked, level))


async def _log_level(asked: Asked, level: LogLevel | None, client: EdgeClient) -> None:
    answer = await (client.get(path_of("log-level")) if level is None else _set_level(client, level))
    if asked.json:
        asked.print_json(answer)
    else:
        print(answer["level"])


async def _set_level(client: EdgeClient, level: str) -> Any:
    return await client.ask("PUT", path_of("log-level"), body={"level": level})


async def _follow(asked: Asked, level: LogLevel | None, last: int, client: EdgeClient) -> int:
    """Follow until a signal comes, or raise if the edge ends."""
    async with trio.open_nursery() as nursery, _at_level(client, level):
        following = trio.CancelScope()

        async def stop_at_signals(*, task_status: trio.TaskStatus[None]) -> None:
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                task_status.started()
                async for _ in signals:
                    following.cancel()

        await nursery.start(stop_at_signals)
        with following:
            await _print_ends(asked, last, client)
        nursery.cancel_scope.cancel()
    return 0


@asynccontextmanager
async def _at_level(client: EdgeClient, level: LogLevel | None) -> AsyncGenerator[None]:
    """Have the edge log at a level while the block lasts."""
    if level is None:
        yield
        return
    before = (await client.get(path_of("log-level")))["level"]
    await _set_level(client, level)
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            try:
                await _set_level(client, before)
            except (AdminError, UnreachableError) as error:
                note(f"the edge's log stays at {level}: {error}")


async def _print_ends(asked: Asked, last: int, client: EdgeClient) -> None:
    async with client.events(path_of("events")) as events:
        seen = set[tuple[int, int]]()
        if last:
            recent = await client.get(path_of("recent"), limit=last)
            for end in reversed(recent["items"]):
                seen.add(_place(end))
                _print(asked, end)
        async for name, data in events:
            if name in ENDS:
                if _place(data) not in seen:
                    _print(asked, data)
            elif name == "lost":
                note(f"{data['records']} lines were lost: this reader is too slow, or there are too many")
    raise UnreachableError(f"{client.address} has ended")


def _place(end: Mapping[str, Any]) -> tuple[int, int]:
    """Name a session among those of all workers."""
    return end["worker"], end["id"]


def _print(asked: Asked, end: Mapping[str, Any]) -> None:
    print(json.dumps(end) if asked.json else _line(end), flush=True)


def _line(end: Mapping[str, Any]) -> str:
    """Write an end as an access log has it."""
    at = datetime.fromtimestamp(end["ended_at"], UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    values = {**end, "outcome": end["kind"]}
    return as_text({"time": at, **{name: None if values.get(name) == "" else values.get(name) for name in FIELDS}})
