"""Keep full passes of Python's garbage collector short, although an edge has very many services.

A full pass looks at every object: with 100,000 services it blocks the loop for a tenth of a second. The objects of a
snapshot are no garbage, and those that are dropped later are freed by their reference counts.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MANY: Final = 1_000
"""Services added or changed since the last :func:`settle`; with fewer a full pass takes some milliseconds at most."""

_NEVER: Final = 1 << 30

# While `_spared` contexts are open, the threshold of the oldest generation is _NEVER, and `_threshold` is the value
# from before.
_spared = 0
_threshold = 0


@contextmanager
def no_full_pass() -> Iterator[None]:
    """Postpone full passes. Younger garbage, which is most of it, is collected as before. Contexts may overlap.

    Thresholds that other code sets meanwhile are left as they are.
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


def collect_young() -> None:
    """Look at the young objects only, which takes a tenth of a millisecond if it is done for every 500 services.

    Python counts the objects that are made and not freed. Work that frees as many objects as it makes is not counted,
    and the next pass would have to look at all of them.
    """
    gc.collect(1)


def settle() -> None:
    """Move all live objects to the permanent generation (:func:`gc.freeze`). Takes some milliseconds for any number.

    Cycles in the oldest generation that are garbage already are never freed.
    """
    gc.collect(1)
    gc.freeze()
    gc.collect()  # nothing is left to look at; a pass that was postponed is not due any more
