from collections.abc import Callable
from functools import partial
from math import inf, nan
from typing import Any

import pytest

import trioedge as te
from trioedge.arguments import (
    MAX_NUMBER,
    MAX_TEXT_LETTERS,
    check_choice,
    check_count,
    check_flag,
    check_number,
    check_text,
    choice_fault,
    count_fault,
    flag_fault,
    is_async,
    is_number,
    is_whole_number,
    number_fault,
    size_fault,
    unknown_keys,
)
from trioedge.errors import ConfigurationError


@pytest.mark.parametrize(
    "check",
    [
        lambda: check_number("Edge", "drain_seconds", 0),
        lambda: check_number("Edge", "drain_seconds", inf),
        lambda: check_number("SessionGate", "rate", 0.001, above=0),
        lambda: check_count("Forward", "preconnect", 0, minimum=0, maximum=9),
        lambda: check_count("Forward", "preconnect", 9, minimum=0, maximum=9),
        lambda: check_choice("SessionGate", "per", "source", ("service", "source")),
        lambda: check_flag("Via", "remote_names", False),
        lambda: check_text("Greeting", "line", "hello", maximum=5),
    ],
)
def test_an_argument_within_its_bounds_passes(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize("value", [0, -1, nan, "1", None, True])
def test_a_number_out_of_bounds_is_quoted(value: object) -> None:
    with pytest.raises(ConfigurationError) as raised:
        check_number("SessionGate", "rate", value, above=0)
    assert str(raised.value) == f"SessionGate(rate={value!r}) must be a number above 0"


@pytest.mark.parametrize("value", [0, 1, "true", None, []])
def test_a_flag_that_is_none_is_quoted(value: object) -> None:
    with pytest.raises(ConfigurationError) as raised:
        check_flag("Via", "remote_names", value)
    assert str(raised.value) == f"Via(remote_names={value!r}) must be true or false"


@pytest.mark.parametrize("value", ["", "hellos", b"hi", 3, None, []])
def test_text_that_is_none_or_has_no_right_length_is_quoted(value: object) -> None:
    with pytest.raises(ConfigurationError) as raised:
        check_text("Greeting", "line", value, maximum=5)
    assert str(raised.value) == f"Greeting(line={value!r}) must be text of 1 to 5 letters"


def test_the_minimum_of_a_number_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"Edge\(drain_seconds=-1\) must be a number of at least 0"):
        check_number("Edge", "drain_seconds", -1)


@pytest.mark.parametrize("value", [-1, 10, 1.0, "1", None, True])
def test_a_count_out_of_bounds_is_quoted(value: object) -> None:
    with pytest.raises(ConfigurationError) as raised:
        check_count("Forward", "preconnect", value, minimum=0, maximum=9)
    assert str(raised.value) == f"Forward(preconnect={value!r}) must be a whole number from 0 to 9"


def test_a_wrong_choice_is_quoted_with_the_choices() -> None:
    with pytest.raises(ConfigurationError, match="Edge\\(refuse='no'\\) must be 'reset' or 'close'"):
        check_choice("Edge", "refuse", "no", ("reset", "close"))


@pytest.mark.parametrize(
    ("value", "number", "whole"),
    [(1, True, True), (1.5, True, False), (nan, True, False), (True, False, False), ("1", False, False)],
)
def test_an_integer_and_a_float_are_numbers_and_a_bool_is_none(value: object, number: bool, whole: bool) -> None:
    assert (is_number(value), is_whole_number(value)) == (number, whole)


@pytest.mark.parametrize(
    ("fault", "good", "bad", "message"),
    [
        (number_fault, [0, 0.5, MAX_NUMBER], [-1, nan, inf, 2**63, 10**400, True, "1"], "a number of at least 0"),
        (lambda value: number_fault(value, above=0, maximum=60), [0.1, 60], [0, 61], "a number above 0 and at most 60"),
        (count_fault, [1, MAX_NUMBER], [0, 2**63, 1.0, True, None], "a whole number of at least 1"),
        (lambda value: count_fault(value, minimum=2, maximum=3), [2, 3], [1, 4], "a whole number from 2 to 3"),
        (flag_fault, [True, False], [0, 1, "true", None], "true or false"),
        (lambda value: choice_fault(value, ("a", "b")), ["a", "b"], ["c", ["a"], None], "'a' or 'b'"),
    ],
)
def test_a_fault_says_what_a_value_must_be(
    fault: Callable[[Any], str], good: list[object], bad: list[object], message: str
) -> None:
    assert [fault(value) for value in good] == [""] * len(good)
    assert [fault(value) for value in bad] == [f"must be {message}"] * len(bad)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("x" * MAX_TEXT_LETTERS, ""),
        ("x" * (MAX_TEXT_LETTERS + 1), "has more than 1,000 letters"),
        (-MAX_NUMBER, ""),
        (2**63, "has more than 64 bits"),
        (-(10**400), "has more than 64 bits"),
        (1e300, ""),
        (["x" * 5_000], ""),
    ],
)
def test_a_text_or_a_number_that_is_too_large_is_a_fault(value: object, fault: str) -> None:
    assert size_fault(value) == fault


@pytest.mark.parametrize(
    ("unknown", "text"),
    [
        (["sinse"], "'sinse' (did you mean since?)"),
        (["until", "sinse"], "'until', 'sinse'"),
        (["x" * 200], f"'{'x' * 99}..."),
        (["a", "b", "c", "d", "e"], "'a', 'b', 'c' and 2 more"),
        ([3], "3"),
    ],
)
def test_the_first_unknown_keys_are_named_and_the_others_counted(unknown: list[object], text: str) -> None:
    assert unknown_keys(unknown, iter(("since", "open"))) == text


def test_no_key_is_meant_where_there_are_none() -> None:
    assert unknown_keys(["a"], ()) == "'a'"


async def ask(word: str, number: int) -> None: ...


class Asks:
    async def __call__(self, word: str, number: int) -> None: ...

    async def ask(self, word: str, number: int) -> None: ...

    def answer(self, word: str, number: int) -> None: ...


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (ask, True),
        (Asks().ask, True),
        (Asks(), True),
        (partial(ask, number=1), True),
        (partial(partial(Asks(), "x")), True),
        (Asks().answer, False),
        (lambda word, number: None, False),
        (partial(Asks().answer, "x"), False),
        (Asks, False),
        ("ask", False),
        (None, False),
    ],
)
def test_a_function_object_or_partial_is_async_if_a_call_of_it_is(value: object, expected: bool) -> None:
    assert is_async(value) is expected


async def late(session: object) -> str:
    return "shop"


class Late:
    async def __call__(self, session: object) -> str:
        return "shop"


@pytest.mark.parametrize("function", [late, Late(), partial(late)])
def test_an_async_function_that_a_decision_would_call_is_refused(function: Any) -> None:
    for make in (te.Identify, lambda key: te.DeviceLimit(3, key)):
        with pytest.raises(ConfigurationError, match=r"\) is async, and a decision cannot wait: make it a plain def"):
            make(function)


class Unprintable:
    def __repr__(self) -> str:
        raise LookupError("no text")


@pytest.mark.parametrize(
    "make",
    [
        lambda value: te.SessionGate(rate=value),
        lambda value: te.SessionGate(1, per=value),
        lambda value: te.ConcurrencyLimit(value),
        lambda value: te.DeviceLimit(2, handover=value),
        lambda value: te.SourceMatch(accept=value),
        lambda value: te.SourceMatch(reject=[value]),
        lambda value: te.IdleTimeout(value),
        lambda value: te.Pacing(value),
        lambda value: te.Identify(value),
        lambda value: te.Forward(value),
        lambda value: te.Forward("tcp://a:1", preconnect=value),
        lambda value: te.Forward(allow=[value]),
        lambda value: te.Edge(value, [], te.Forward("tcp://a:1")),
        lambda value: te.Edge([value], [], te.Forward("tcp://a:1")),
        lambda value: te.Edge("tcp://a:1", [], te.Forward("tcp://a:1"), admin=value),
        lambda value: te.Edge("tcp://a:1", [], te.Forward("tcp://a:1"), refuse=value),
        lambda value: te.AccessLog("-", sample=value),
        lambda value: te.HttpControl(value),
        lambda value: te.HttpControl("http://127.0.0.1:1", wait_seconds=value),
        lambda value: te.MemoryControl(value),
        lambda value: te.RateSpec(value, 1),
    ],
)
@pytest.mark.parametrize("value", [Unprintable(), "x" * 100_000, f"tcp://{'x' * 100_000}", -(10**4_000)], ids=range(4))
def test_a_wrong_argument_is_refused_in_one_short_line_whatever_it_is(make: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(value)
    assert len(str(caught.value)) < 1_500
    assert str(caught.value).isprintable()
