"""A question on a real terminal, and its answers."""

import os
import pty
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from trioedge.cli.confirm import confirmed


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal in the place of stdin and stderr. All that is written to this descriptor is typed."""
    master, slave = pty.openpty()
    with os.fdopen(slave) as stdin, os.fdopen(os.dup(slave), "w") as stderr:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stderr", stderr)
        yield master
    os.close(master)


@pytest.mark.parametrize(
    ("answer", "yes"), [(b"y\n", True), (b" YES \n", True), (b"n\n", False), (b"\n", False), (b"\x04", False)]
)
async def test_only_yes_is_a_yes(answer: bytes, yes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as typed:
        os.write(typed, answer)
        assert await confirmed("Cut 3 sessions?", yes=False) is yes
        shown = b""
        while b"[y/N]" not in shown:
            shown += os.read(typed, 1000)
        assert b"Cut 3 sessions? [y/N]" in shown


async def test_nothing_is_asked_with_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch):
        assert await confirmed("Cut?", yes=True)


async def test_nothing_is_asked_without_a_terminal() -> None:
    assert await confirmed("Cut?", yes=False)
