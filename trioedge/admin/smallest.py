"""The smallest items of many, in steps."""

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from ..loop.slices import Stepwise

T = TypeVar("T")

BATCH: Final = 256
"""Items between two sorts."""

LOOKS: Final = 128
"""Items that are looked at in one step."""


def smallest(
    items: Iterable[T], limit: int, key: Callable[[T], Any], wanted: Callable[[T], bool] = lambda _: True
) -> Stepwise[list[T]]:
    """Give the `limit` smallest of some items, in order.

    Args:
        items: any number; they are read in steps, so a generator must bear changes between two.
        limit: at least 1.
        key: of an item; it costs little.
        wanted: whether an item counts. Not a filter of `items`, which would skip any number of them in one step.
    """
    best: list[T] = []
    batch: list[T] = []
    last: Any = None  # the key of the last of the best, once there are enough
    for number, item in enumerate(items):
        if (last is None or key(item) < last) and wanted(item):
            batch.append(item)
            if len(batch) >= BATCH:
                best, last = _merged(best, batch, limit, key)
                batch = []
                yield
        if not number % LOOKS:
            yield
    if batch:
        best, _ = _merged(best, batch, limit, key)
    return best


def _merged(best: list[T], batch: list[T], limit: int, key: Callable[[T], Any]) -> tuple[list[T], Any]:
    best = sorted(best + batch, key=key)[:limit]
    return best, key(best[-1]) if len(best) == limit else None
