"""How many workers serve."""

from typing import Literal, TypeAlias

from ...addresses.steering import MAX_WORKERS
from ...arguments import count_fault
from ...errors import ConfigurationError, quote
from ..cores import cores

Workers: TypeAlias = int | Literal["auto"]


def count_workers(workers: Workers) -> int:
    """Give the number of workers; ``"auto"`` is one for each core that this process and its control groups may use.

    Raises:
        ConfigurationError: ``workers=0 must be a whole number from 1 to 64, or "auto"``.
    """
    if workers == "auto":
        return min(MAX_WORKERS, cores().workers)
    if count_fault(workers, maximum=MAX_WORKERS):
        raise ConfigurationError(
            f'workers={quote(workers)} must be a whole number from 1 to {MAX_WORKERS}, or "auto", which is one on '
            "each core"
        )
    return workers
