"""The terminal while `top` draws on it: keys without Enter, another screen, and all as it was afterwards."""

import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import trio
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from .keys import keys

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

AT_ONCE: Final = 1024
"""Bytes of keys in one read."""


class Terminal:
    """The terminal of this process; use :func:`opened`."""

    def __init__(self, live: Live) -> None:
        self._live = live

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows, as they are now."""
        width, height = os.get_terminal_size(sys.stdout.fileno())
        return (width or 80, height or 24)  # a terminal of unknown size says 0

    def draw(self, lines: Sequence[Text]) -> None:
        """Replace what the screen shows."""
        self._live.update(Group(*lines), refresh=True)

    async def read(self) -> list[str] | None:
        """Wait for keys, of which those that mean nothing are left out; None at the end of the input."""
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
        data = os.read(sys.stdin.fileno(), AT_ONCE)
        return list(keys(data)) if data else None


@contextmanager
def opened() -> Iterator[Terminal]:
    """Take the terminal; when the block ends, however it does, the terminal is as it was."""
    stdin = sys.stdin.fileno()
    before = termios.tcgetattr(stdin)
    console = Console(highlight=False, no_color=None if not os.environ.get("NO_COLOR") else True)
    try:
        tty.setcbreak(stdin, termios.TCSANOW)
        changed = termios.tcgetattr(stdin)
        changed[6][termios.VSUSP] = b"\x00"  # Ctrl-Z would leave the shell on our screen
        termios.tcsetattr(stdin, termios.TCSANOW, changed)
        with Live(console=console, screen=True, auto_refresh=False) as live:
            yield Terminal(live)
    finally:
        termios.tcsetattr(stdin, termios.TCSAFLUSH, before)
