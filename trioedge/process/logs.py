"""Logs of a process: one line for each event on stderr, for people or as JSON. No line makes the event loop wait."""

import logging
from typing import Final

import structlog

from ..telemetry.level import LogLevel as LogLevel
from ..telemetry.rendering import STAMPED, Stderr, logger_factory, rendering
from ..telemetry.rendering import LogFormat as LogFormat

CHATTY: Final = ("httpx", "httpcore", "hypercorn")
"""Libraries that log every request at level info; of these only warnings and errors are written."""


def configure_structlog(form: LogFormat = "console", level: LogLevel = "info") -> None:
    """Set up structlog, which trioedge logs with; the standard library's `logging` stays as it is.

    Args:
        form: ``console`` is coloured on a terminal unless ``NO_COLOR`` is set; ``json`` is one object a line.
        level: the lowest level that is written.
    """
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *STAMPED, *rendering(form)],
        wrapper_class=structlog.make_filtering_bound_logger(_threshold(level)),
        logger_factory=logger_factory(form),
    )


def configure(form: LogFormat = "console", level: LogLevel = "info") -> None:
    """Set up structlog and the standard library's `logging`, so that libraries log in the same form.

    Call it before anything logs. It replaces the handlers of the root logger.

    Args:
        form: as in :func:`configure_structlog`.
        level: the same.
    """
    configure_structlog(form, level)
    handler = logging.StreamHandler(Stderr(form))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *STAMPED],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering(form)],
        )
    )
    logging.basicConfig(handlers=[handler], level=_threshold(level), force=True)
    for library in CHATTY:
        logging.getLogger(library).setLevel(logging.WARNING)


def _threshold(level: LogLevel) -> int:
    return logging.getLevelNamesMapping()[level.upper()]
