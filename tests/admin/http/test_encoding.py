"""JSON of long answers, in steps."""

import json
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.steps import longest_step
from trioedge.admin.http.encoding import ITEMS, encoded

VALUES = st.recursive(
    st.none() | st.integers() | st.text(), lambda each: st.lists(each) | st.dictionaries(st.text(), each)
)


@given(VALUES | st.dictionaries(st.text(), st.lists(VALUES, max_size=30)))
def test_it_is_the_json_of_the_value(value: object) -> None:
    _, _, found = longest_step(encoded(value))
    assert json.loads(found) == value


def test_a_long_list_takes_many_steps() -> None:
    steps, _, found = longest_step(encoded({"items": [{"id": number} for number in range(1_000)], "next": None}))
    assert steps >= 1_000 // ITEMS
    assert json.loads(found)["items"][-1] == {"id": 999}


@pytest.mark.parametrize("value", [inf, nan])
def test_a_number_that_json_has_not_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        longest_step(encoded({"a": value}))
