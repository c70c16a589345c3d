"""Logs of a process: one line for each event on stderr, for people or as JSON."""

import logging
import os
import sys
from typing import Final, Literal, TypeAlias

import structlog
from structlog.typing import Processor

LogFormat: TypeAlias = Literal["console", "json"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

CHATTY: Final = ("httpx", "httpcore", "hypercorn")
"""Libraries that log every request at level info; of these only warnings and errors are written."""

_STAMPED: Final[list[Processor]] = [
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure_structlog(form: LogFormat = "console", level: LogLevel = "info") -> None:
    """Set up structlog, which trioedge logs with; the standard library's `logging` stays as it is.

    Args:
        form: ``console`` is coloured on a terminal unless ``NO_COLOR`` is set; ``json`` is one object a line.
        level: the lowest level that is written.
    """
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *_STAMPED, *_rendering(form)],
        wrapper_class=structlog.make_filtering_bound_logger(_threshold(level)),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )


def configure(form: LogFormat = "console", level: LogLevel = "info") -> None:
    """Set up structlog and the standard library's `logging`, so that libraries log in the same form.

    Call it before anything logs. It replaces the handlers of the root logger.

    Args:
        form: as in :func:`configure_structlog`.
        level: the same.
    """
    configure_structlog(form, level)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *_STAMPED],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(form)],
        )
    )
    logging.basicConfig(handlers=[handler], level=_threshold(level), force=True)
    for library in CHATTY:
        logging.getLogger(library).setLevel(logging.WARNING)


def _threshold(level: LogLevel) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _rendering(form: LogFormat) -> list[Processor]:
    """Give the processors that write an event as a line, without local variables: these may hold secrets."""
    if form == "json":
        transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        return [structlog.processors.ExceptionRenderer(transformer), structlog.processors.JSONRenderer()]
    colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]
