"""``trioedge evict``: cut live sessions, after saying how many."""

from functools import partial
from typing import Annotated, Any, Final

from cyclopts import Parameter

from ...errors import ConfigurationError
from ..client.client import EdgeClient, path_of
from ..client.errors import AdminError
from ..client.which import NOTHING_SAID, Asked
from ..confirm import confirmed
from ..table import shown
from ..words import count

COUNTED: Final = 10_000
"""Sessions that are counted before the question."""


def evict(
    *,
    service: str | None = None,
    source: str | None = None,
    device: str | None = None,
    session: int | None = None,
    yes: Annotated[bool, Parameter(negative="")] = False,
    asked: Asked = NOTHING_SAID,
) -> int:
    """Cut the live sessions that match all that is named; on a terminal it says how many, and asks.

    Args:
        service: Those of this service.
        source: Those of this address or prefix, such as 192.0.2.0/24.
        device: Those of this device of --service.
        session: The one with this id.
        yes: Do not ask.
        asked: Which edge, and how to print.
    """
    given = {"service": service, "source": source, "device": device, "session": session}
    named = {name: value for name, value in given.items() if value is not None}
    if not named:
        raise ConfigurationError("evict wants --service, --source, --device or --session; to cut all, trioedge drain")
    if device is not None and service is None:
        raise ConfigurationError("--device is a device of a service: say --service as well")
    return asked.run(partial(_evict, asked, named, yes))


async def _evict(asked: Asked, named: dict[str, str | int], yes: bool, client: EdgeClient) -> int:
    what = ", ".join(f"{name} {shown(value)}" for name, value in named.items())
    size = "" if "session" in named else f"{await _size(named, client)} of "
    if not await confirmed(f"Cut {size}{what}?", yes):
        return 1
    if named.keys() == {"session"}:
        answer = await client.ask("DELETE", path_of("sessions", named["session"]))
    else:
        answer = await client.ask("POST", path_of("evict"), body=named)
    if asked.json:
        asked.print_json(answer)
    else:
        print(f"cut {what}" if named.keys() == {"session"} else f"cut {count(answer['evicted'], 'session')} of {what}")
    return 0


async def _size(named: dict[str, Any], client: EdgeClient) -> str:
    """Say how many live sessions there are to cut, if the edge can count them."""
    try:
        found = await client.items(path_of("sessions"), COUNTED, **named)
    except AdminError:
        return "the live sessions"
    size = len(found["items"])
    if not size:
        await client.check_service(named.get("service"))
    return f"more than {size:,} sessions" if found["next"] is not None else count(size, "session")
