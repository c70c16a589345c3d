"""The death of a worker: how long its place is empty, and what is lost."""

import os
import signal
from collections.abc import Mapping
from typing import Any, Final

import trio

from ...errors import EdgeError
from ..client.client import EdgeClient, path_of
from ..words import count
from .clients import Seen

LOOK_SECONDS: Final = 0.002

RETURN_SECONDS: Final = 0.5
"""How long after the replacement is looked at what was lost: until all that ended with the worker is told."""

RECENT: Final = 1_000
"""Sessions that ended lately: as many as the edge remembers of a worker."""


async def kill_worker(client: EdgeClient, seen: Seen) -> str:
    """Kill the worker with the most sessions, and say what that did.

    A session is lost if it lived before and does not live any more, and no process knows how it ended.

    Args:
        client: of the edge.
        seen: what the edge's clients see meanwhile.
    """
    try:
        worker = max(await _workers(client), key=lambda each: int(each["live"]))
        before = (await client.items(path_of("sessions"), None))["items"]
        refused = seen.refused
        os.kill(worker["pid"], signal.SIGKILL)
        killed = trio.current_time()
        while not any(_replaces(each, worker) for each in await _workers(client)):  # noqa: ASYNC110 - as an operator would
            await trio.sleep(LOOK_SECONDS)
        took = trio.current_time() - killed
        await trio.sleep(RETURN_SECONDS)
        after = (await client.items(path_of("sessions"), None))["items"]
        ended = (await client.items(path_of("recent"), RECENT))["items"]
    except (OSError, EdgeError) as error:
        return f"the death of a worker: {error}"
    known = {each["id"] for each in (*after, *ended)}
    lost = [each["worker"] == worker["number"] for each in before if each["id"] not in known]
    return (
        f"worker {worker['number']} killed, replaced in {took * 1000:.0f} ms: its {count(sum(lost), 'session')} lost, "
        f"{lost.count(False)} others, {seen.refused - refused} refused"
    )


async def _workers(client: EdgeClient) -> list[dict[str, Any]]:
    statistics = await client.get(path_of("statistics"))
    return list(statistics["workers"])


def _replaces(process: Mapping[str, Any], worker: Mapping[str, Any]) -> bool:
    """Return whether a process is another one, and ready, in the place of a worker."""
    return (
        process["number"] == worker["number"] and process["pid"] != worker["pid"] and bool(process["state"] == "ready")
    )
