"""The smallest items of many."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.steps import longest_step
from trioedge.admin.smallest import LOOKS, smallest


@given(st.lists(st.integers(-50, 50), max_size=1_000), st.integers(1, 400))
def test_they_are_those_of_a_sort(items: list[int], limit: int) -> None:
    _, _, found = longest_step(smallest(items, limit, abs))
    assert [abs(each) for each in found] == sorted(map(abs, items))[:limit]


def test_many_items_are_looked_at_in_many_steps() -> None:
    steps, _, found = longest_step(smallest(range(10_000, 0, -1), 100, int))
    assert found == [*range(1, 101)]
    assert steps >= 10_000 // LOOKS


def test_items_that_are_not_wanted_are_steps_too() -> None:
    steps, _, found = longest_step(smallest(range(10_000), 100, int, lambda item: item % 2_500 == 1))
    assert found == [1, 2501, 5001, 7501]
    assert steps >= 10_000 // LOOKS
