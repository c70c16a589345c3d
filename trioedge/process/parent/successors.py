"""Which children are to be forked, and when.

| a number | event | then |
| --- | --- | --- |
| - | the parent starts | due at once |
| due | it is forked | lives |
| lives | its process dies after a second or more | due at once |
| lives | its process dies younger | due after a pause: 0.1 s, twice as long each time, to 10 s |
"""

from typing import Final

YOUNG_SECONDS: Final = 1.0
"""A child that dies earlier has a successor after a pause."""

FIRST_PAUSE_SECONDS: Final = 0.1
MAX_PAUSE_SECONDS: Final = 10.0


class Successors:
    """The numbers of the children that do not live."""

    def __init__(self, numbers: range) -> None:
        """Have all of them due at once."""
        self._due = dict.fromkeys(numbers, 0.0)
        self._pauses: dict[int, float] = {}

    def due(self, now: float) -> list[int]:
        """Give the numbers that are due, the lowest first."""
        return sorted(number for number, due in self._due.items() if due <= now)

    def forked(self, number: int) -> None:
        """Note that a number lives."""
        del self._due[number]

    def put_off(self, number: int, now: float) -> None:
        """Try again after the longest pause, because the system has no process left."""
        self._due[number] = now + MAX_PAUSE_SECONDS

    def died(self, number: int, lived: float, now: float) -> float:
        """Note the death of a number, and give the pause before its successor.

        Args:
            number: of the child.
            lived: for how many seconds.
            now: seconds of the same clock at each call.
        """
        pause = 0.0
        if lived < YOUNG_SECONDS:
            pause = min(MAX_PAUSE_SECONDS, 2 * self._pauses.get(number, FIRST_PAUSE_SECONDS / 2))
        self._pauses[number] = pause or FIRST_PAUSE_SECONDS / 2
        self._due[number] = now + pause
        return pause
