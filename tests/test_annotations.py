from collections.abc import Callable
from enum import StrEnum
from math import inf, nan
from time import thread_time
from types import GenericAlias
from typing import Any, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from tests.support.policies import anything
from trioedge.annotations import reader_of
from trioedge.arguments import MAX_NUMBER
from trioedge.errors import ConfigurationError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(
    ("annotation", "value", "read"),
    [
        (str, "x", "x"),
        (int, 3, 3),
        (int, -MAX_NUMBER, -MAX_NUMBER),
        (float, 0.5, 0.5),
        (float, 3, 3),
        (bool, True, True),
        (None, None, None),
        (Colour, "red", Colour.RED),
        (Colour, Colour.BLUE, Colour.BLUE),
        (tuple[str, ...], ["a", "b"], ("a", "b")),
        (tuple[Colour, ...], ["red"], (Colour.RED,)),
        (tuple[int, str], [1, "a"], (1, "a")),
        (list[float], (1, 2.5), [1, 2.5]),
        (tuple, [1, "a"], (1, "a")),
        (list, [], []),
        (tuple[tuple[str, int], ...], [["a", 1]], (("a", 1),)),
        (int | None, None, None),
        (Optional[int], 3, 3),  # noqa: UP045 - the other spelling
        (Union[str, int], 3, 3),  # noqa: UP007
        (tuple[str, ...] | None, ["a"], ("a",)),
        (int | str | tuple[int, ...], [1], (1,)),
        (Any, {"a": [1]}, {"a": [1]}),
        (dict[str, int], {"a": "1"}, {"a": "1"}),
        (Callable[[], int], 3, 3),
    ],
)
def test_a_value_is_read_as_the_annotation_has_it(annotation: object, value: object, read: object) -> None:
    found = reader_of(annotation).read(value)
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    ("annotation", "value", "fault"),
    [
        (str, 3, " = 3 must be text"),
        (str, None, " = None must be text"),
        (str, "x" * 1001, " has more than 1,000 letters"),
        (int, "8", " = '8' must be a whole number"),
        (int, True, " = True must be a whole number"),
        (int, 8.0, " = 8.0 must be a whole number"),
        (int, 2**63, " has more than 64 bits"),
        (float, "1.5", " = '1.5' must be a number"),
        (float, False, " = False must be a number"),
        (float, nan, " = nan must be a number"),
        (float, inf, " = inf must be a number"),
        (float, 10**400, " has more than 64 bits"),
        (bool, 1, " = 1 must be true or false"),
        (Colour, "green", " = 'green' must be 'red' or 'blue'"),
        (Colour, ["red"], " = ['red'] must be 'red' or 'blue'"),
        (tuple[str, ...], "abc", " = 'abc' must be a list"),
        (tuple[str, ...], ["a", 3], "[1] = 3 must be text"),
        (tuple[str, ...], ["x" * 1001], "[0] has more than 1,000 letters"),
        (tuple[int, str], [1], " = [1] must be a list of 2"),
        (tuple[int, str], ["a", "b"], "[0] = 'a' must be a whole number"),
        (list[tuple[int, ...]], [[1], [2, "x"]], "[1][1] = 'x' must be a whole number"),
        (int | None, "8", " = '8' must be a whole number"),
        (tuple[str, ...] | None, ["a", 3], "[1] = 3 must be text"),
        (int | str, 1.5, " = 1.5 must be a whole number or text"),
        (int | Colour | None, "green", " = 'green' must be a whole number or 'red' or 'blue'"),
        (Any, "x" * 1001, " has more than 1,000 letters"),
        (dict[str, int], 2**63, " has more than 64 bits"),
    ],
)
def test_a_value_of_another_type_is_a_fault(annotation: object, value: object, fault: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        reader_of(annotation).read(value)
    assert str(raised.value) == fault


scalars: st.SearchStrategy[Any] = st.sampled_from([str, int, float, bool, None, Colour, Any, dict])
annotations = st.recursive(
    scalars,
    lambda inner: (
        inner.map(lambda each: GenericAlias(tuple, (each, ...)))
        | inner.map(lambda each: GenericAlias(list, (each,)))
        | st.tuples(inner, inner).map(lambda both: Union[both])  # noqa: UP007
    ),
    max_leaves=3,
)


@examples(150)
@given(annotations, anything)
def test_any_value_is_read_or_is_one_fault(annotation: object, value: object) -> None:
    reader, fault = reader_of(annotation), ""
    try:
        read = reader.read(value)
    except ConfigurationError as error:
        fault = str(error)
    if fault:
        assert fault[0] in " ["
        assert "\n" not in fault
    else:
        assert repr(reader.read(read)) == repr(read), "what was read can be read again"


def test_a_list_as_long_as_a_line_may_be_is_read_in_some_milliseconds() -> None:
    value = [f"host-{number}.example" for number in range(25_000)]
    reader = reader_of(tuple[str, ...])
    began = thread_time()
    assert len(reader.read(value)) == 25_000
    assert thread_time() - began < 0.05
