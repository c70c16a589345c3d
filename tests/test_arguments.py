from collections.abc import Callable
from math import nan

import pytest

from trioedge.arguments import check_choice, check_count, check_number
from trioedge.errors import ConfigurationError


@pytest.mark.parametrize(
    "check",
    [
        lambda: check_number("Edge", "drain_seconds", 0),
        lambda: check_number("SessionGate", "rate", 0.001, above=0),
        lambda: check_count("Forward", "preconnect", 0, least=0, most=9),
        lambda: check_count("Forward", "preconnect", 9, least=0, most=9),
        lambda: check_choice("SessionGate", "per", "source", ("service", "source")),
    ],
)
def test_what_is_within_its_bounds_passes(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize("value", [0, -1, nan, "1", None, True])
def test_a_number_out_of_bounds_is_quoted(value: object) -> None:
    with pytest.raises(ConfigurationError) as raised:
        check_number("SessionGate", "rate", value, above=0)
    assert str(raised.value) == f"SessionGate(rate={value!r}) must be a number above 0"


def test_a_least_number_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"Edge\(drain_seconds=-1\) must be a number of at least 0"):
        check_number("Edge", "drain_seconds", -1)


@pytest.mark.parametrize("value", [-1, 10, 1.0, "1", None, True])
def test_a_count_out_of_bounds_is_quoted(value: object) -> None:
    with pytest.raises(ConfigurationError) as raised:
        check_count("Forward", "preconnect", value, least=0, most=9)
    assert str(raised.value) == f"Forward(preconnect={value!r}) must be a whole number from 0 to 9"


def test_a_choice_that_is_none_is_quoted_with_the_choices() -> None:
    with pytest.raises(ConfigurationError, match="Edge\\(refuse='no'\\) must be 'reset' or 'close'"):
        check_choice("Edge", "refuse", "no", ("reset", "close"))
