"""The log level of the process."""

import logging
from typing import Any, Final

LEVELS: Final = ("debug", "info", "warning", "error")


def log_level() -> str:
    """Give the lowest level that is written."""
    import structlog  # takes as long as a third of the package

    if not structlog.is_configured():
        return "info"
    logger: Any = structlog.get_logger("trioedge").bind()
    writes = getattr(logger, "is_enabled_for", None) or getattr(logger, "isEnabledFor", None)
    if writes is None:
        return LEVELS[0]
    return next((level for level in LEVELS if writes(_number(level))), LEVELS[-1])


def set_log_level(level: str) -> None:
    """Write this level and those above it from now on; an edge's log looks again after `relevel`.

    Args:
        level: one of :data:`LEVELS`.
    """
    import structlog

    wrapper: Any = structlog.get_config()["wrapper_class"]
    if hasattr(wrapper, "is_enabled_for"):
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_number(level)))
    logging.getLogger().setLevel(_number(level))


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]
