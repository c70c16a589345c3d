from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.structures.backoff import Backoff

seconds = st.floats(0.001, 1000)


def delays(
    count: int, *, first: float = 1, longest: float = 5, chance: Callable[[], float] = lambda: 1.0
) -> list[float]:
    backoff = Backoff(first, longest, chance)
    return [backoff.failed() for _ in range(count)]


@pytest.mark.parametrize(
    ("chance", "expected"),
    [
        (0.0, [0.5, 1, 2, 2.5, 2.5]),
        (0.5, [0.75, 1.5, 3, 3.75, 3.75]),
        (1.0, [1, 2, 4, 5, 5]),
    ],
)
def test_delays_double_up_to_the_longest_and_half_of_each_is_random(chance: float, expected: list[float]) -> None:
    assert delays(5, chance=lambda: chance) == expected


@examples(100)
@given(seconds, seconds, st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20))
def test_a_delay_is_between_half_its_ceiling_and_its_ceiling(
    first: float, longest: float, chances: list[float]
) -> None:
    for failure, delay in enumerate(delays(len(chances), first=first, longest=longest, chance=iter(chances).__next__)):
        ceiling = min(first * 2**failure, longest)
        assert ceiling / 2 <= delay <= ceiling


def test_after_thousands_of_failures_the_delay_is_still_the_longest() -> None:
    assert delays(5000)[-1] == 5


def test_after_a_success_the_delays_begin_anew() -> None:
    backoff = Backoff(1, 60, lambda: 1.0)
    assert [backoff.failed() for _ in range(4)] == [1, 2, 4, 8]
    backoff.succeeded()
    assert [backoff.failed() for _ in range(2)] == [1, 2]
