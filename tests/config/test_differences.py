from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioedge.config.differences import LIVE, differences
from trioedge.config.process_table import ProcessTable

VALUES = st.recursive(
    st.integers() | st.booleans() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
)


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [("a",)]),
        ({"a": 1}, {"a": 1.0}, [("a",)]),
        ({"a": True}, {"a": 1}, [("a",)]),
        ({"a": 1}, {"b": 1}, [("a",), ("b",)]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, [("a", "b", 1)]),
        ({"a": [1]}, {"a": [1, 2]}, [("a",)]),
        ({"a": [{"use": "x", "n": 1}]}, {"a": [{"use": "x", "n": 2}]}, [("a", 0, "n")]),
        ({}, {"edge": {"a": {}}}, [("edge",)]),
    ],
)
def test_each_key_that_differs_is_named(before: Any, after: Any, paths: list[tuple[str | int, ...]]) -> None:
    assert list(differences(before, after)) == paths


@given(VALUES, VALUES)
def test_there_is_a_difference_exactly_where_two_documents_differ(one: Any, other: Any) -> None:
    assert list(differences(one, one)) == []
    assert bool(list(differences(one, other))) >= (one != other)


def test_every_live_key_is_a_key_of_the_process() -> None:
    assert all(hasattr(ProcessTable(), path[1]) for path in LIVE)
