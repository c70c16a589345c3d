"""``trioedge top``: draw an edge each second until the user has seen enough."""

import math
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Annotated, Any, Final

import trio
from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from ..client.client import EdgeClient, path_of
from ..client.errors import AdminError, UnreachableError
from ..client.which import NOTHING_SAID, Asked
from ..words import count
from .frame import frame
from .sample import By, Order, Sample, take
from .screen import Screen
from .terminal import ENDING, Terminal, opened

LOOK_SECONDS: Final = 1.0
"""Between two looks at the edge."""

PIPED: Final = (100, 40)
"""Columns and lines of the one frame that goes to a pipe."""


def top(
    *,
    by: By = "source",
    order: Order = "live",
    once: Annotated[bool, Parameter(negative="")] = False,
    asked: Asked = NOTHING_SAID,
) -> int:
    """Watch a serving edge: live sessions, rates, who has the most of them, refusals by reason, and what stages cost.

    Keys: q quits; tab shows sources, services or devices; s and b put the most sessions or bytes first; up and down
    choose a line, and e evicts its sessions after a question. Without a terminal one frame is printed.

    Args:
        by: The kind of lines, to begin with.
        order: What counts as the most.
        once: Print one frame, and end.
        asked: Which edge, and how to print.
    """
    screen = Screen(by, order)
    if once or asked.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return asked.run(partial(_once, asked, screen))
    return asked.run(partial(_watch, screen))


async def _once(asked: Asked, screen: Screen, client: EdgeClient) -> None:
    sample = await _take(client, screen)
    screen.take(sample)
    await trio.sleep(LOOK_SECONDS)  # a rate is the difference of two
    sample = await _take(client, screen)
    screen.take(sample)
    if asked.json:
        asked.print_json(_document(sample))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED[0])
    lines = frame(screen, console.width, PIPED[1])[:-1]  # without the keys
    for line in lines:
        line.rstrip()
    kept = [line for line, following in pairwise([*lines, Text()]) if line.plain or following.plain]
    console.print(*kept, sep="\n")


def _document(sample: Sample) -> dict[str, Any]:
    return {
        "statistics": sample.statistics,
        f"{sample.by}s": sample.rows,
        "stages": sample.stages,
        "history": sample.history,
    }


async def _take(client: EdgeClient, screen: Screen) -> Sample:
    return await take(client, screen.by, screen.order, trio.current_time())


async def _watch(screen: Screen, client: EdgeClient) -> None:
    screen.take(await _take(client, screen))  # an edge that is not there, or refuses, is said at once
    with opened() as terminal:
        async with trio.open_nursery() as nursery:
            end = nursery.cancel_scope.cancel
            changed, asked_again = _Bell(), _Bell()
            await nursery.start(_end_at_signals, end)
            nursery.start_soon(_redraw_at_resize, changed)
            nursery.start_soon(_look, screen, client, changed, asked_again)
            nursery.start_soon(_obey, screen, client, terminal, changed, asked_again)
            while not screen.ended:
                terminal.draw(frame(screen, *terminal.size, clock=f"{datetime.now():%H:%M:%S} "))
                await changed.wait()
            end()


class _Bell:
    """Wakes one task; rings while it works count once."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[None](1)

    def ring(self) -> None:
        try:
            self._send.send_nowait(None)
        except trio.WouldBlock:
            return

    async def wait(self, seconds: float = math.inf) -> None:
        """Wait for a ring, or so long."""
        with trio.move_on_after(seconds):
            await self._receive.receive()


async def _end_at_signals(end: Callable[[], None], *, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(*ENDING) as signals:
        task_status.started()
        async for _ in signals:
            end()


async def _redraw_at_resize(changed: _Bell) -> None:
    with trio.open_signal_receiver(signal.SIGWINCH) as signals:
        async for _ in signals:
            changed.ring()


async def _look(screen: Screen, client: EdgeClient, changed: _Bell, asked_again: _Bell) -> None:
    """Ask the edge each second, or when other rows are wanted; say that it is gone while it is."""
    while True:
        await asked_again.wait(LOOK_SECONDS)
        try:
            screen.take(await _take(client, screen))
        except (UnreachableError, AdminError) as error:
            screen.lose(str(error))
        changed.ring()


async def _obey(screen: Screen, client: EdgeClient, terminal: Terminal, changed: _Bell, asked_again: _Bell) -> None:
    """Do what keys say, until the input ends."""
    while (keys := await terminal.read()) is not None:
        for key in keys:
            shown = screen.by, screen.order
            if (named := screen.press(key)) is not None:
                screen.said = await _evict(client, named)
            if named is not None or shown != (screen.by, screen.order):
                asked_again.ring()
            changed.ring()
    screen.ended = True
    changed.ring()


async def _evict(client: EdgeClient, named: dict[str, Any]) -> str:
    try:
        answer = await client.ask("POST", path_of("evict"), body=named)
    except (UnreachableError, AdminError) as error:
        return f"nothing was cut: {error}"
    return f"cut {count(answer['evicted'], 'session')}"
