"""The log level of the process."""

import logging
from typing import Any, Final, Literal, TypeAlias, get_args

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

LEVELS: Final[tuple[str, ...]] = get_args(LogLevel)


def log_level() -> str:
    """Give the lowest level that is written; ``debug`` for a logger of a program that knows no level."""
    import structlog  # takes as long as a third of the package

    if not structlog.is_configured():
        return "info"
    wrapper: Any = structlog.get_config()["wrapper_class"]
    for level in LEVELS:
        if wrapper is structlog.make_filtering_bound_logger(_number(level)):
            return level
    if issubclass(wrapper, structlog.stdlib.BoundLogger):
        written = logging.getLogger().getEffectiveLevel()
        return next((level for level in LEVELS if written <= _number(level)), LEVELS[-1])
    return LEVELS[0]


def set_log_level(level: str) -> None:
    """Write this level and those above it from now on; an edge's log looks again after `relevel`.

    A logger that a program has set up, and that is none of structlog's filtering ones, stays.

    Args:
        level: one of :data:`LEVELS`.
    """
    import structlog

    wrapper: Any = structlog.get_config()["wrapper_class"]
    if wrapper.__module__ == structlog.make_filtering_bound_logger(logging.INFO).__module__:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_number(level)))
    logging.getLogger().setLevel(_number(level))


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]
