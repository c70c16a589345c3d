"""``trioedge drain``: end an edge in order, and watch who is left."""

import sys
from functools import partial
from typing import Annotated, Any, Final

import trio
from cyclopts import Parameter, validators

from ...errors import ConfigurationError
from ..client.client import EdgeClient, path_of
from ..client.errors import UnreachableError
from ..client.which import NOTHING_SAID, Asked
from ..confirm import confirmed
from ..table import note, shown
from ..words import count, span

LOOK_SECONDS: Final = 0.5

LEFT: Final = 5
"""Services that are named of those that still have sessions."""


def drain(
    *,
    seconds: Annotated[float | None, Parameter(validator=validators.Number(gte=0))] = None,
    wait: Annotated[bool, Parameter(negative="")] = False,
    show: Annotated[bool, Parameter(negative="")] = False,
    yes: Annotated[bool, Parameter(negative="")] = False,
    asked: Asked = NOTHING_SAID,
) -> int:
    """Drain a serving edge: it accepts no client any more, and ends when its sessions have; or show who would be left.

    Args:
        seconds: Cut the sessions that are left after so long; by default the edge's own drain_seconds.
        wait: Wait until the edge has ended, and show how many sessions are left.
        show: Drain nothing: say how many sessions are live, of which services, and since when it drains.
        yes: Do not ask on a terminal.
        asked: Which edge, and how to print.
    """
    if show and (wait or seconds is not None):
        raise ConfigurationError("--show drains nothing: leave out --wait and --seconds")
    return asked.run(partial(_drain, asked, seconds, wait, show, yes))


async def _drain(asked: Asked, seconds: float | None, wait: bool, show: bool, yes: bool, client: EdgeClient) -> int:
    before = await client.get(path_of("drain"))
    if show:
        if asked.json:
            asked.print_json(before)
        else:
            print(f"{_words(before)}{await _left(before, client)}")
        return 0
    if not await confirmed(f"{_words(before)}{await _left(before, client)}. Drain it, so that it ends?", yes):
        return 1
    answer = await client.ask("POST", path_of("drain"), body={} if seconds is None else {"seconds": seconds})
    if asked.json:
        asked.print_json(answer)
    else:
        print(_words(answer))
    if wait:
        await _wait(answer["live"], client)
    return 0


def _words(state: dict[str, Any]) -> str:
    live = count(state["live"], "session")
    if state["phase"] != "draining":
        return f"{shown(state['phase'])}: {live} live"
    left = state["deadline_seconds"]
    return f"draining: {live} left" + ("" if left is None else f", cut in {span(left)}")


async def _left(state: dict[str, Any], client: EdgeClient) -> str:
    """Name the services that have the most sessions, in brackets."""
    if not state["live"]:
        return ""
    top = await client.get(path_of("top"), by="service", order="live", limit=LEFT)
    named = ", ".join(f"{shown(each['key'])} {each['live']:,}" for each in top["items"])
    return f" ({named})" if named else ""


async def _wait(live: int, client: EdgeClient) -> None:
    """Show how many sessions are left, until the edge has stopped or answers no more."""
    in_place = sys.stderr.isatty()
    while (state := await _look(client)) is not None:
        if in_place:
            print(f"\r\x1b[K{_words(state)}", end="", file=sys.stderr, flush=True)
        elif state["live"] != live:
            note(_words(state))
        live = state["live"]
    if in_place:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    print("the edge has ended")


async def _look(client: EdgeClient) -> dict[str, Any] | None:
    """Ask how far the drain has come after a while; None when the edge has ended."""
    await trio.sleep(LOOK_SECONDS)
    try:
        state: dict[str, Any] = await client.get(path_of("drain"))
    except UnreachableError:
        return None
    return None if state["phase"] == "stopped" else state
