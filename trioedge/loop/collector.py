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

DUE: Final = 10
"""A full pass is due after more passes over the middle generation than this, which is Python's default."""

_NEVER: Final = 1 << 30

# While `_spared` contexts are open, the threshold of the oldest generation is _NEVER, and `_threshold` is the value
# from before.
_spared = 0
_threshold = 0


@contextmanager
def no_full_pass() -> Iterator[None]:
    """Postpone full passes. Younger garbage, which is most of it, is collected as before. Contexts may overlap.

    A full pass that is due already takes place at the start, before there are more objects to look at. Thresholds that
    other code sets meanwhile are left as they are.
    """
    global _spared, _threshold
    young, middle, old = gc.get_threshold()
    if not _spared:
        _threshold = old
        if gc.get_count()[2] > DUE:
            gc.collect()
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
    """Collect garbage, then move all live objects to the permanent generation (:func:`gc.freeze`).

    Within :func:`no_full_pass` only younger garbage is collected, because a full pass over a large snapshot would take
    a tenth of a second; so it takes some milliseconds for any number. Cycles that became garbage in that context, and
    were old by then, are never freed. Sessions leave none.
    """
    gc.collect(1 if _spared else 2)
    gc.freeze()
    gc.collect()  # nothing is left to look at; a pass that was postponed is not due any more
