"""Numbers over time as a line of blocks."""

from collections.abc import Sequence
from typing import Final

BLOCKS: Final = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw the last values from left to right; the highest one is a full block, and 0 the lowest.

    Args:
        values: none below 0, in order; neighbours are put together by their highest if there are more than `width`.
        width: the most letters.
    """
    if not values or width < 1:
        return ""
    step = -(-len(values) // width)
    first = len(values) % step
    groups = [values[:first]] if first else []
    groups += [values[at : at + step] for at in range(first, len(values), step)]
    highest = max(values)
    return "".join(BLOCKS[round(max(group) / highest * (len(BLOCKS) - 1)) if highest else 0] for group in groups)
