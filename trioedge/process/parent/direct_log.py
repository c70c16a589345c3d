"""The parent's log: in the form of all others, and without the thread that writes theirs."""

import os
import select
from typing import Any

import structlog

from ...telemetry.rendering import LineLogger


class DirectStderr:
    """Stderr as a stream that never waits: a line that would have to is dropped."""

    def write(self, text: str) -> None:
        """Write whole lines."""
        poll = select.poll()
        try:
            poll.register(2, select.POLLOUT)
            if poll.poll(0):
                os.write(2, _short(text.encode(errors="backslashreplace")))
        except OSError:  # stderr is closed
            pass


def _short(line: bytes) -> bytes:
    """Cut a line to what a pipe takes without a wait if it takes anything."""
    return line if len(line) <= select.PIPE_BUF else line[: select.PIPE_BUF - 1] + b"\n"


def parent_logger() -> Any:
    """Make the parent's logger, with the processors and the level that structlog is set up with."""
    settings = structlog.get_config()
    return structlog.wrap_logger(
        LineLogger(DirectStderr()), processors=settings["processors"], wrapper_class=settings["wrapper_class"]
    )
