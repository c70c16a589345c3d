"""How long to wait before trying again."""

from collections.abc import Callable


class Backoff:
    """Doubling delays with equal jitter, from `first` up to `most` seconds.

    Equal jitter (Brooker, "Exponential Backoff And Jitter", 2015) spreads edges that lost the same upstream.
    """

    __slots__ = ("_ceiling", "_first", "_most", "_random")

    def __init__(self, first: float, most: float, random: Callable[[], float]) -> None:
        """Start with no failure.

        Args:
            first: the longest first delay, in seconds.
            most: the longest delay ever, in seconds.
            random: gives floats in [0, 1).
        """
        self._first, self._most, self._random = first, most, random
        self._ceiling = 0.0

    def failed(self) -> float:
        """Note a failure and give the seconds to wait: half of the ceiling for sure, the rest by chance."""
        self._ceiling = min(max(self._ceiling * 2, self._first), self._most)
        return self._ceiling * (0.5 + 0.5 * self._random())

    def succeeded(self) -> None:
        """Forget the failures."""
        self._ceiling = 0.0
