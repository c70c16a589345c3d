"""A command in a pseudo terminal, with keys that are typed and sizes that change."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .command_line import COMMAND, PATIENCE

UNWANTED = ("NO_COLOR", "COLUMNS", "LINES")

_SEQUENCE = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>])")


class PseudoTerminal:
    """A running command and its terminal."""

    def __init__(self, process: subprocess.Popen[bytes], master: int, slave: int) -> None:
        self.process = process
        self._master, self._slave = master, slave
        self.before: list[Any] = []
        self.raw = b""

    def attributes(self) -> list[Any]:
        return termios.tcgetattr(self._slave)

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def shows(self, text: str) -> str:
        """Wait until the command writes a text; give what it wrote until then, without the terminal's sequences."""
        end = time.monotonic() + PATIENCE
        seen = ""
        while text not in (seen := _SEQUENCE.sub("", self.raw.decode(errors="replace"))):
            assert time.monotonic() < end, f"{text!r} was not shown:\n{seen[-3000:]}"
            self._read(0.05)
        self.raw = b""
        return seen

    def ends(self) -> int:
        """Wait for the exit code; what the command wrote last is in `raw`."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end, "it does not end"
            self._read(0.02)
        self._read(0.05)
        return self.process.returncode

    def _read(self, seconds: float) -> None:
        while select.select([self._master], [], [], seconds)[0]:
            self.raw += os.read(self._master, 65_536)
            seconds = 0


@contextmanager
def on_terminal(*arguments: str, columns: int = 80, rows: int = 24) -> Iterator[PseudoTerminal]:
    """Run `trioedge` with a terminal of its own until the block ends."""
    master, slave = pty.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name not in UNWANTED}
        with subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**environment, "TERM": "xterm-256color"},
        ) as process:
            terminal = PseudoTerminal(process, master, slave)
            terminal.before = terminal.attributes()
            try:
                yield terminal
            finally:
                if process.poll() is None:
                    process.kill()
    finally:
        os.close(master)
        os.close(slave)
