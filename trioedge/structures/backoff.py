"""Exponential backoff with jitter: how long to wait before trying again."""

from collections.abc import Callable


class Backoff:
    """Doubling delays with equal jitter, up to a longest delay.

    Equal jitter (Brooker, "Exponential Backoff And Jitter", 2015) spreads the retries of edges that lost the same
    upstream at the same time.
    """

    __slots__ = ("_ceiling", "_first_seconds", "_max_seconds", "_random")

    def __init__(self, first_seconds: float, max_seconds: float, random: Callable[[], float]) -> None:
        """Start without a failure.

        Args:
            first_seconds: the ceiling of the first delay, above 0.
            max_seconds: the ceiling of every delay, above 0.
            random: gives floats in [0, 1), such as :func:`random.random`.
        """
        self._first_seconds, self._max_seconds, self._random = first_seconds, max_seconds, random
        self._ceiling = 0.0

    def failed(self) -> float:
        """Count a failure and give the delay before the next try: from half of the ceiling up to the ceiling."""
        self._ceiling = min(max(self._ceiling * 2, self._first_seconds), self._max_seconds)
        return self._ceiling * (0.5 + 0.5 * self._random())

    def succeeded(self) -> None:
        """Reset: the next delay is a first one again."""
        self._ceiling = 0.0
