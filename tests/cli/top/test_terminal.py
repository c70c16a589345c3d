"""The terminal is taken and given back; `test_command.py` does so with a whole command."""

import os
import pty
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rich.text import Text

from trioedge.cli.top.terminal import opened


@contextmanager
def pseudo_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    with os.fdopen(slave, closefd=False) as stdin, os.fdopen(os.dup(slave), "w") as stdout:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setenv("TERM", "xterm")
        yield master, slave
    os.close(master)
    os.close(slave)


async def test_keys_come_without_enter_and_what_is_drawn_stands_on_another_screen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pseudo_terminal(monkeypatch) as (master, slave):
        before = termios.tcgetattr(slave)
        with opened() as terminal:
            assert not termios.tcgetattr(slave)[3] & (termios.ICANON | termios.ECHO)
            os.write(master, b"\x1b[Ae")
            assert await terminal.read() == ["up", "e"]
            termios.tcsetwinsize(slave, (10, 30))
            assert terminal.size == (30, 10)
            termios.tcsetwinsize(slave, (0, 0))
            assert terminal.size == (80, 24)
            terminal.draw([Text("first"), Text("second")])
        assert termios.tcgetattr(slave) == before
        written = b""
        while b"\x1b[?1049l" not in written:
            written += os.read(master, 65_536)
        assert written.index(b"\x1b[?1049h") < written.index(b"first") < written.index(b"\x1b[?1049l")
        assert written.rindex(b"\x1b[?25h") > written.rindex(b"\x1b[?25l"), "the cursor is shown again"


async def test_an_exception_gives_the_terminal_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with pseudo_terminal(monkeypatch) as (master, slave):
        before = termios.tcgetattr(slave)
        with pytest.raises(RuntimeError), opened():
            raise RuntimeError("a fault")
        assert termios.tcgetattr(slave) == before
        written = b""
        while b"\x1b[?1049l" not in written:
            written += os.read(master, 65_536)
