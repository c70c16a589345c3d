from time import thread_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.errors import (
    MAX_FAULT_LETTERS,
    MAX_FAULTS,
    MAX_QUOTED_LETTERS,
    ConfigurationError,
    EdgeError,
    Faults,
    ListenError,
    message_of,
    quote,
    quote_fault,
)
from trioedge.upstreams.errors import UpstreamError


@pytest.mark.parametrize(
    ("error", "parent"),
    [
        (ConfigurationError, EdgeError),
        (ListenError, ConfigurationError),
        (UpstreamError, EdgeError),
    ],
)
def test_every_fault_is_caught_by_whoever_catches_its_kind(error: type[EdgeError], parent: type[EdgeError]) -> None:
    assert error.__base__ is parent


def test_there_are_none_at_first() -> None:
    faults = Faults()
    assert not faults
    assert list(faults) == []
    assert str(faults) == ""


def test_they_are_told_in_order() -> None:
    faults = Faults()
    faults.note("a is wrong")
    faults.extend(["b is wrong"])
    assert faults
    assert list(faults) == ["a is wrong", "b is wrong"]
    assert str(faults) == "a is wrong; b is wrong"


@examples(30)
@given(st.integers(0, 3 * MAX_FAULTS), st.integers(0, 100_000))
def test_the_first_are_kept_and_the_others_counted(count: int, more: int) -> None:
    faults = Faults()
    faults.extend((str(number) for number in range(count)), more)
    more += max(0, count - MAX_FAULTS)
    kept = [str(number) for number in range(min(count, MAX_FAULTS))]
    assert faults.more == more
    assert list(faults) == [*kept, *([f"and {more:,} more"] if more else [])]
    assert bool(faults) is bool(count or more)


def test_of_a_long_one_the_middle_is_left_out() -> None:
    faults = Faults()
    faults.note("x" * MAX_FAULT_LETTERS)
    faults.note(f"services.shop.outbound = '{'x' * 10_000}' is wrong")
    whole, cut = faults
    assert whole == "x" * MAX_FAULT_LETTERS
    assert cut.startswith("services.shop.outbound = 'xxx")
    assert "xxx...xxx" in cut
    assert cut.endswith("xxx' is wrong")
    assert len(cut) == MAX_FAULT_LETTERS + 3


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@examples(80)
@given(json_values)
def test_a_value_is_quoted_as_python_writes_it_and_a_long_one_as_it_begins(value: object) -> None:
    whole = repr(value)
    assert quote(value) == (whole if len(whole) <= MAX_QUOTED_LETTERS else f"{whole[:MAX_QUOTED_LETTERS]}...")


@pytest.mark.parametrize(
    "value",
    ["x" * 500_000, "\x7f" * 500_000, [0] * 250_000, {str(number): 0 for number in range(50_000)}, [["x" * 500_000]]],
)
def test_what_is_not_told_of_a_value_is_not_looked_at(value: object) -> None:
    began = thread_time()
    quoted = quote(value)
    assert thread_time() - began < 0.001, "and some milliseconds to write all of it"
    assert quoted.endswith("...")


def test_a_value_may_be_as_deep_as_it_likes() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert quote(deep) == f"{'[' * MAX_QUOTED_LETTERS}..."
    while deep:  # a recursion would free it
        deep = deep.pop()  # type: ignore[assignment]


class WordlessError(Exception):
    """Its text raises."""

    def __init__(self, raised: BaseException) -> None:
        self.raised = raised

    def __repr__(self) -> str:
        raise self.raised

    __str__ = __repr__


class NotAnException(BaseException):
    pass


@pytest.mark.parametrize("raised", [LookupError("no"), RecursionError(), NotAnException()], ids=repr)
def test_an_object_whose_text_raises_is_quoted_by_its_class(raised: BaseException) -> None:
    said = f"<WordlessError, whose repr raised {type(raised).__name__}>"
    assert quote(WordlessError(raised)) == said
    assert quote_fault(WordlessError(raised)) == said
    assert message_of(WordlessError(raised)) == said


def test_a_key_interrupt_during_a_quote_goes_on() -> None:
    for write in (quote, quote_fault, message_of):
        with pytest.raises(KeyboardInterrupt):
            write(WordlessError(KeyboardInterrupt()))


def test_an_exception_is_quoted_with_room_for_its_message() -> None:
    assert quote_fault(LookupError("x" * 200)) == f"LookupError('{'x' * 200}')"
    assert len(quote_fault(LookupError("x" * 2_000_000))) == MAX_FAULT_LETTERS + 3
    assert message_of(LookupError("no such thing")) == "no such thing"


def test_a_text_is_quoted_to_the_letters_that_the_caller_allows() -> None:
    assert quote("x" * 150, 200) == repr("x" * 150)
    assert quote(["x" * 300], 200) == f"['{'x' * 198}..."
