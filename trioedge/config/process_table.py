"""The table ``[process]`` of an ``edge.toml``."""

from typing import Literal, TypeAlias

import attrs

Level: TypeAlias = Literal["debug", "info", "warning", "error"]


@attrs.frozen
class ProcessTable:
    """What holds for the process, and not for one of its edges. Options of the command line go before it.

    Attributes:
        log_format: ``console`` for people, or ``json``.
        log_level: the lowest level that is logged; a change of the file applies it at once.
    """

    log_format: Literal["console", "json"] = "console"
    log_level: Level = "info"
