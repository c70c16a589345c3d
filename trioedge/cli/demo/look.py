"""What the demo asks its edge each time it shows it."""

from collections.abc import Mapping
from typing import Any, Final

import attrs
import trio

from ..client.client import EdgeClient, path_of
from ..client.errors import UnreachableError

SESSIONS: Final = 16
"""Sessions that are asked for, the oldest ones. The demo has hardly more at a time."""

PATIENCE_SECONDS: Final = 5.0
"""How long an edge may be out of reach: while it restarts, or its control process is replaced."""


@attrs.frozen
class Look:
    """The edge at one moment, as its admin API gives it.

    Attributes:
        statistics: its counts.
        state: of the connection to the control plane.
        services: by name.
        sessions: live ones, at most :data:`SESSIONS`.
    """

    statistics: Mapping[str, Any]
    state: Mapping[str, Any]
    services: Mapping[str, Mapping[str, Any]]
    sessions: list[dict[str, Any]]


async def look_at(client: EdgeClient) -> Look:
    """Look at an edge; one that is out of reach is tried again for a while.

    Raises:
        EdgeError: it does not answer, or refuses.
    """
    until = trio.current_time() + PATIENCE_SECONDS
    while True:
        try:
            statistics = await client.get(path_of("statistics"))
            state = await client.get(path_of("state"))
            services = await client.items(path_of("services"), None)
            sessions = await client.items(path_of("sessions"), SESSIONS)
        except UnreachableError:
            if trio.current_time() > until:
                raise
            await trio.sleep(0.1)
            continue
        return Look(statistics, state, {each["name"]: each for each in services["items"]}, sessions["items"])
