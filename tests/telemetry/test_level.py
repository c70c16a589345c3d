"""The log level of the process."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from tests.support.logging_state import logging_restored
from trioedge.process.logs import configure_structlog
from trioedge.telemetry.level import LEVELS, log_level, set_log_level


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with logging_restored():
        yield


@pytest.mark.parametrize("level", LEVELS)
def test_the_level_that_is_set_is_told_and_written(level: str) -> None:
    configure_structlog(level="error")
    set_log_level(level)
    assert log_level() == level
    assert structlog.get_logger().bind().is_enabled_for(logging.getLevelNamesMapping()[level.upper()])
    assert logging.root.level == logging.getLevelNamesMapping()[level.upper()]


def test_a_program_that_has_set_nothing_up_writes_info() -> None:
    structlog.reset_defaults()
    assert log_level() == "info"


def test_a_logger_of_the_standard_library_is_asked_and_kept() -> None:
    structlog.configure(wrapper_class=structlog.stdlib.BoundLogger, logger_factory=structlog.stdlib.LoggerFactory())
    set_log_level("warning")
    assert log_level() == "warning"
    assert structlog.get_config()["wrapper_class"] is structlog.stdlib.BoundLogger


def test_a_logger_that_knows_no_level_writes_all() -> None:
    structlog.configure(wrapper_class=structlog.BoundLogger)
    set_log_level("error")
    assert log_level() == "debug"
