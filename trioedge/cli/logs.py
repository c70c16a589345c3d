"""Logs of the process: one line each on stderr, for people or as JSON; also those of libraries that use `logging`."""

import logging
import os
import sys
from typing import Final, Literal, TypeAlias

import structlog
from structlog.typing import Processor

LogFormat: TypeAlias = Literal["console", "json"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

_STAMPED: Final[list[Processor]] = [
    structlog.stdlib.ExtraAdder(),
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


CHATTY: Final = ("httpx", "httpcore", "hypercorn", "watchfiles")
"""Libraries that say something for each request, or change of a directory; only their warnings are of interest."""


def configure(form: LogFormat = "console", level: LogLevel = "info") -> None:
    """Set up structlog and the standard library's logging, once, before anything logs.

    Args:
        form: ``console`` is coloured on a terminal unless ``NO_COLOR`` is set; ``json`` is one object a line.
        level: the least that is written.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    rendering = _rendering(form)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *_STAMPED[1:], *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_STAMPED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.basicConfig(handlers=[handler], level=threshold, force=True)
    for library in CHATTY:
        logging.getLogger(library).setLevel(logging.WARNING)


def _rendering(form: LogFormat) -> list[Processor]:
    """Give what turns an event into a line. Local variables stay out of it: they may hold secrets."""
    if form == "json":
        transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        return [structlog.processors.ExceptionRenderer(transformer), structlog.processors.JSONRenderer()]
    colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]
