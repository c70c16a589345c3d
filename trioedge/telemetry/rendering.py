"""How a log line looks: for people or as JSON.

No line has local variables, because these may hold secrets, and no value ends a line or moves a terminal's cursor.
"""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol, TypeAlias

import structlog
from structlog.typing import EventDict, Processor

from .line_writer import descriptor_of, writer_of

LogFormat: TypeAlias = Literal["console", "json"]

STAMPED: Final[list[Processor]] = [
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
"""The processors that give an event its level and its time."""


def rendering(form: LogFormat) -> list[Processor]:
    """Give the processors that write an event as a line.

    Args:
        form: ``console`` is coloured where stderr is a terminal, unless ``NO_COLOR`` is set.
    """
    exception: list[Processor] = [_traceback_first, structlog.processors.format_exc_info]
    if form == "json":
        return [*exception, structlog.processors.JSONRenderer()]
    colors = sys.stderr is not None and sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    console = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
    return [*exception, _printable, console]


def _printable(_: object, __: str, event: EventDict) -> EventDict:
    """Escape letters that a terminal obeys, or that end a line: a client may choose a device's name, for example."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            kept = "\n" if name == "exception" else ""
            event[name] = "".join(each if each.isprintable() or each == kept else repr(each)[1:-1] for each in value)
    return event


def _traceback_first(_: object, __: str, event: EventDict) -> EventDict:
    """Show the traceback that a line has as text, rather than an exception without one."""
    if "traceback" in event:
        event["exception"] = event.pop("traceback")
        event.pop("exc_info", None)
    return event


class Stderr:
    """Stderr as a stream whose `write` never waits, for structlog and for handlers of `logging`.

    A stderr that is closed takes nothing. One that is no file, such as a stream in memory, is written to at once.
    """

    def __init__(self, form: LogFormat) -> None:
        """Take the stderr of this moment.

        Args:
            form: of the line that tells how many lines were lost.
        """
        stream = sys.stderr
        fd = descriptor_of(stream)
        self._writer = None if fd is None else writer_of(fd)
        self._stream = stream if fd is None else None
        if self._writer is not None:
            processors = [*STAMPED, *rendering(form)]
            self._writer.says_lost = lambda count: _line(processors, count).encode()

    def write(self, text: str) -> None:
        """Write whole lines, or count them as lost."""
        if self._writer is not None:
            self._writer.write(text.encode(errors="backslashreplace"), text.count("\n"))
        elif self._stream is not None:
            self._stream.write(text)
            self._stream.flush()

    def flush(self) -> None:
        """Do nothing: the thread writes as soon as it can."""


class LineStream(Protocol):
    """Takes whole lines."""

    def write(self, text: str, /) -> object: ...


class LineLogger:
    """The logger below structlog's processors: writes each rendered event as a line."""

    def __init__(self, stream: LineStream) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        """Write a line."""
        self._stream.write(f"{message}\n")

    debug = info = warning = error = critical = msg


def logger_factory(form: LogFormat) -> Callable[..., LineLogger]:
    """Make the function that makes structlog's loggers, which write to stderr and never wait."""
    logger = LineLogger(Stderr(form))
    return lambda *_: logger


def plain_logger() -> Any:
    """Make the logger of a program that has not set structlog up: level info, to stderr, for people."""
    return structlog.wrap_logger(
        LineLogger(Stderr("console")),
        processors=[structlog.contextvars.merge_contextvars, *STAMPED, *rendering("console")],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


def _line(processors: list[Processor], count: int) -> str:
    event: Any = {"event": "log lines dropped", "count": count}
    for processor in processors:
        event = processor(None, "warning", event)
    return f"{event}\n"
