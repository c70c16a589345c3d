"""``trioedge restart``: have a serving program become its new version, and wait until that serves."""

from functools import partial
from typing import Annotated, Final

import trio
from cyclopts import Parameter

from ..client.client import EdgeClient, path_of
from ..client.errors import UnreachableError
from ..client.which import NOTHING_SAID, Asked
from ..table import note

LOOK_SECONDS: Final = 0.25

PATIENCE_SECONDS: Final = 120.0
"""For a restart: a trial may take a minute, and the first snapshot of the new version some time."""


def restart(
    *,
    no_wait: Annotated[bool, Parameter(negative="")] = False,
    asked: Asked = NOTHING_SAID,
) -> int:
    """Restart the program of a serving edge in place: no client is refused, and live sessions go on.

    It needs several workers. A version that does not start leaves the old one serving, and the exit code is 1.

    Args:
        no_wait: Do not wait until the new version serves.
        asked: Which edge, and how to print.
    """
    return asked.run(partial(_restart, asked, no_wait))


async def _restart(asked: Asked, no_wait: bool, client: EdgeClient) -> int:
    began = await client.ask("POST", path_of("restart"))
    state = began
    if not no_wait:
        with trio.move_on_after(PATIENCE_SECONDS) as patience:
            while state["under_way"]:
                await trio.sleep(LOOK_SECONDS)
                try:
                    state = await client.get(path_of("restart"))
                except UnreachableError:  # the sockets change hands
                    continue
        if patience.cancelled_caught:
            raise UnreachableError(f"the new version does not serve after {PATIENCE_SECONDS:g} s: see the log")
    if asked.json:
        asked.print_json(state)
    elif state["refused"]:
        note(f"restart refused, and the old version goes on: {state['refused']}")
    elif state["generation"] > began["generation"]:
        print(f"restarted: this is restart {state['generation']}")
    else:
        print("the restart has begun")
    return 1 if state["refused"] else 0
