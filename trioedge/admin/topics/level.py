"""The log level of every process of the edge."""

from typing import Any, Final

from ...loop.slices import Stepwise
from ...telemetry.level import LEVELS, log_level, set_log_level
from ..asking import Answers, Parameters
from ..local import Local
from ..shapes import table

LEVEL: Final = table(level={"type": "string", "enum": [*LEVELS]})


def level_here(local: Local, parameters: Parameters) -> Stepwise[str]:
    """Give the level of this process."""
    yield
    return log_level()


def set_level_here(local: Local, parameters: Parameters) -> Stepwise[str]:
    """Set the level of this process, until it is set again or the process ends."""
    yield
    set_log_level(parameters["level"])
    local.run.relevel()
    local.run.log.say("log level changed", to=parameters["level"])
    return log_level()


def merge_level(answers: Answers, parameters: Parameters) -> dict[str, Any]:
    """Give the lowest level of all processes."""
    return {"level": next((level for level in LEVELS if level in answers.values), LEVELS[1])}
