"""The demo's output: a live table on a terminal, plain lines in a pipe."""

import time
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Protocol

import trio

from ..words import reasons
from .look import SESSIONS, Look

NOTES: Final = 3
"""The number of notes that are shown, the latest ones."""

FIXED_LINES: Final = 18 + NOTES
"""Lines of the screen besides the rows of the table: introduction, headings, counts, notes, cursor."""


class View(Protocol):
    """An output of the demo."""

    seconds: float
    """The time between two calls of `show`."""

    def open(self) -> AbstractContextManager[object]:
        """Show until the context ends."""

    def note(self, text: str) -> None:
        """Show an event, together with the next `show`."""

    def show(self, look: Look, answered: int, speed: str) -> None:
        """Show the edge, the number of requests that the upstream answered, and a speed in words."""


class Lines:
    """A line for each state and each note."""

    seconds = 1.0

    def __init__(self) -> None:
        self._since = 0.0
        self._notes = ""

    def open(self) -> AbstractContextManager[object]:
        self._since = trio.current_time()
        return nullcontext()

    def note(self, text: str) -> None:
        self._notes += f"{text}\n"

    def show(self, look: Look, answered: int, speed: str) -> None:
        notes, self._notes = self._notes, ""
        counts = look.statistics
        print(
            f"{notes}{trio.current_time() - self._since:.0f} s: {counts['live']} live, {counts['accepted']} accepted, "
            f"{answered} answered, {speed}; refused: {reasons(counts['refused'])}; ended: {reasons(counts['ended'])}; "
            f"{_control(look.state)[0]}",
            flush=True,
        )


class LiveTable:
    """The table of sessions, redrawn in place, with the latest notes below it."""

    seconds = 0.25

    def __init__(self) -> None:
        from rich.live import Live  # imported here, so that a pipe need not wait for rich

        self._live = Live(auto_refresh=False)
        self._notes = deque([" "] * NOTES, maxlen=NOTES)  # spaces, because rich shows no empty last line

    def open(self) -> AbstractContextManager[object]:
        return self._live

    def note(self, text: str) -> None:
        self._notes.append(text)

    def show(self, look: Look, answered: int, speed: str) -> None:  # noqa: ARG002 - the summary has the number
        from rich.console import Group
        from rich.text import Text

        from .session_table import render

        rows = max(3, self._live.console.height - FIXED_LINES)
        table = render(look, rows=min(rows, SESSIONS))
        control = Text(*_control(look.state), no_wrap=True, overflow="ellipsis")
        notes = Text("\n".join(self._notes), "yellow", no_wrap=True, overflow="ellipsis")
        self._live.update(
            Group(table, notes, Text(speed, "cyan"), control), refresh=True
        )  # the last line is short: ^C stands behind it


def _control(state: Mapping[str, Any]) -> tuple[str, str]:
    """Give the state of the connection to the control plane in words, and a style."""
    if state["failing_since"] is not None:
        age = max(0.0, time.time() - state["failing_since"])
        return f"services as they were {age:.0f} s ago: {state['error']}", "red"
    reported = f", report {state['reported']} acknowledged" if state["reported"] else ""
    version = f"at version {state['version']}" if state["version"] else "without a version"
    return f"services {version}{reported}", "dim"
