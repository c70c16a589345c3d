"""How many workers serve."""

import os
from typing import Literal, TypeAlias

from ...addresses.steering import MAX_WORKERS
from ...arguments import count_fault
from ...errors import ConfigurationError, quote

Workers: TypeAlias = int | Literal["auto"]


def count_workers(workers: Workers) -> int:
    """Give the number of workers; ``"auto"`` is one for each core that this process may use.

    Raises:
        ConfigurationError: ``workers=0 must be a whole number from 1 to 64, or "auto"``.
    """
    if workers == "auto":
        return max(1, min(MAX_WORKERS, len(os.sched_getaffinity(0))))
    if count_fault(workers, maximum=MAX_WORKERS):
        raise ConfigurationError(
            f'workers={quote(workers)} must be a whole number from 1 to {MAX_WORKERS}, or "auto", which is one on '
            "each core"
        )
    return workers
