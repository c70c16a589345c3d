"""Keep Python's garbage collector from holding the loop for long over services, which are there to stay.

A full pass looks at everything that there is: with 100,000 services a tenth of a second. What was made for a snapshot
is not garbage, and whatever of it goes later is freed by its reference counts.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MANY: Final = 1_000
"""Services that came or changed; with fewer a full pass takes some milliseconds at most."""

_NEVER: Final = 1 << 30

_spared = 0
_threshold = 0


@contextmanager
def no_full_pass() -> Iterator[None]:
    """Put full passes off; younger garbage, which is most of it, is collected as ever. Contexts may overlap.

    Whoever sets the collector's thresholds meanwhile has the last word.
    """
    global _spared, _threshold
    young, middle, old = gc.get_threshold()
    if not _spared:
        _threshold = old
        gc.set_threshold(young, middle, _NEVER)
    _spared += 1
    try:
        yield
    finally:
        _spared -= 1
        young, middle, old = gc.get_threshold()
        if not _spared and old == _NEVER:
            gc.set_threshold(young, middle, _threshold)


def settle() -> None:
    """Take all that there is out of the collector's sight, and begin anew; some milliseconds, however much there is.

    Cycles that are garbage already, and have not been found by then, stay for good.
    """
    gc.collect(1)
    gc.freeze()
    gc.collect()  # of nothing: a pass that was put off is due no more
