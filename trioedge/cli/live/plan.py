"""``trioedge plan``: what a file of services would change in a serving edge, and for how many sessions."""

from functools import partial

from ...control.toml_lines import toml_lines
from ...errors import ConfigurationError
from ..client.client import EdgeClient, path_of
from ..client.errors import AdminError
from ..client.which import NOTHING_SAID, Asked

SNAPSHOT_SECONDS = 60.0
"""For what a snapshot would do: the edge works on it between its sessions."""


def plan(file: str, /, *, asked: Asked = NOTHING_SAID) -> int:
    """Say what a file of services would do to a serving edge now, and to how many of its sessions.

    Nothing is applied. Exit code 2: the file has faults, which are all on stderr.

    Args:
        file: The services file.
        asked: Which edge, and how to print.
    """
    return asked.run(partial(_plan, asked, file))


async def _plan(asked: Asked, file: str, client: EdgeClient) -> None:
    lines = (f"{line}\n".encode() for line in toml_lines(file))
    try:
        answer = await client.ask("POST", path_of("plan"), body=lines, seconds=SNAPSHOT_SECONDS)
    except AdminError as error:
        if not error.faults:
            raise
        raise ConfigurationError(f"{file}: {error}") from None
    if asked.json:
        asked.print_json(answer)
    else:
        print(answer["says"])
