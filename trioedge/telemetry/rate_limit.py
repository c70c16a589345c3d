"""Which of many like lines are logged: one a second of each key, and the next one says how many were left out.

| a line comes, and its key is | action |
| --- | --- |
| new, or had no line for a second | log it, with the number of lines that were left out since the last one |
| logged within the last second | leave it out, and count it |
| new, and all 1,000 keys were logged within the last second | as if it were of one key for all others |
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

NOTICE_SECONDS: Final = 1.0
"""The shortest time between two lines of one key."""

MAX_KEYS: Final = 1_000
"""Keys that are remembered; while all of them are in use, new ones count as one key together."""


class LogRateLimit:
    """The keys of the lines that were logged lately, at most 1,000 of them and one for all others."""

    def __init__(self, capacity: int = MAX_KEYS) -> None:
        """Remember no key yet.

        Args:
            capacity: keys that are remembered, at least 1.
        """
        self._capacity = capacity
        # Key to the time of its last line, and how many lines were left out since; the longest silent key comes first.
        self._lines: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()
        self._others = -NOTICE_SECONDS, 0

    def left_out(self, key: Hashable, now: float) -> int | None:
        """Give how many lines of the key were left out since its last one, or None to leave this one out too.

        Args:
            key: of the line.
            now: in seconds; never less than in the call before.
        """
        lines = self._lines
        if key not in lines and len(lines) >= self._capacity:
            oldest, (last, _) = next(iter(lines.items()))
            if now - last < NOTICE_SECONDS:
                self._others, left_out = _next(self._others, now)
                return left_out
            del lines[oldest]
        entry, left_out = _next(lines.get(key, (-NOTICE_SECONDS, 0)), now)
        lines[key] = entry
        if left_out is not None:
            lines.move_to_end(key)
        return left_out


def _next(entry: tuple[float, int], now: float) -> tuple[tuple[float, int], int | None]:
    last, left_out = entry
    if now - last < NOTICE_SECONDS:
        return (last, left_out + 1), None
    return (now, 0), left_out
