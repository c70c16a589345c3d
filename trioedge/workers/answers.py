"""The answers of several workers to one question."""

from collections.abc import Iterable
from typing import Any


class WorkerAnswers(list[Any]):
    """The answers, in the order of the workers' numbers.

    Attributes:
        numbers: the numbers of the workers that answered, in the same order.
        missing: the numbers of those that did not answer in time, or could not.
    """

    def __init__(self, answered: Iterable[tuple[int, Any]] = (), missing: Iterable[int] = ()) -> None:
        """Sort the answers.

        Args:
            answered: numbers of workers and their answers; the same number may come twice while an old worker drains.
            missing: numbers of the others.
        """
        ordered = sorted(answered, key=lambda each: each[0])
        super().__init__(answer for _, answer in ordered)
        self.numbers = tuple(number for number, _ in ordered)
        self.missing = tuple(sorted(missing))
