"""The table ``[process]`` of an ``edge.toml``."""

from typing import Final, Literal

import attrs

from ..addresses.steering import MAX_WORKERS
from ..arguments import check_count, check_number
from ..telemetry.level import LogLevel

MIN_STALL_SECONDS: Final = 0.5
"""A worker notes twice as often that its event loop runs."""


@attrs.frozen
class ProcessTable:
    """What holds for the process, and not for one of its edges. Options of the command line go before it.

    Attributes:
        log_format: ``console`` for people, or ``json``.
        log_level: the lowest level that is logged; a change of the file applies it at once.
        workers: processes that serve the edges, 1 to 64; ``auto`` for one on each core.
        stall_seconds: how long the event loop of a worker may be blocked, at least 0.5; then it gets no client, and
            after as long again it is replaced.
    """

    log_format: Literal["console", "json"] = "console"
    log_level: LogLevel = "info"
    workers: int | Literal["auto"] = 1
    stall_seconds: float = 5.0

    def __attrs_post_init__(self) -> None:
        if self.workers != "auto":
            check_count("process", "workers", self.workers, maximum=MAX_WORKERS)
        check_number("process", "stall_seconds", self.stall_seconds, minimum=MIN_STALL_SECONDS)
