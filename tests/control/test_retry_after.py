import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.control.retry_after import MAX_WAIT_SECONDS, wait_seconds

NOW = 784_111_777.0
"""The moment of the dates below: Sun, 06 Nov 1994 08:49:37 GMT."""


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5", 5),
        (" 120 ", 120),
        ("0", 0),
        ("301", MAX_WAIT_SECONDS),
        ("9" * 5_000, MAX_WAIT_SECONDS),
        ("Sun, 06 Nov 1994 08:49:42 GMT", 5),
        ("Sunday, 06-Nov-94 08:49:42 GMT", 5),
        ("Sun Nov  6 08:49:42 1994", 5),
        ("Sun, 06 Nov 1994 08:49:32 GMT", 0),
        ("Sun, 06 Nov 1995 08:49:37 GMT", MAX_WAIT_SECONDS),
        ("", 0),
        ("-5", 0),
        ("1.5", 0),
        ("5 s", 0),
        ("soon", 0),
        ("\u0665", 0),
        ("Sun, 99 Nov 1994 99:49:42 GMT", 0),
        ("Sun, 06 Nov 99999999999 08:49:42 GMT", 0),
    ],
)
def test_each_form_of_the_header_is_read_and_any_other_asks_for_nothing(value: str, seconds: float) -> None:
    assert wait_seconds(value, "", NOW) == seconds


@pytest.mark.parametrize(
    ("date", "seconds"),
    [("Sun, 06 Nov 1994 08:00:00 GMT", 10), ("", MAX_WAIT_SECONDS), ("yesterday", MAX_WAIT_SECONDS)],
)
def test_a_date_counts_from_the_date_of_the_answer_because_the_clock_here_may_be_wrong(
    date: str, seconds: float
) -> None:
    wrong_clock = NOW - 86_400
    assert wait_seconds("Sun, 06 Nov 1994 08:00:10 GMT", date, wrong_clock) == seconds


@examples(200)
@given(st.text(max_size=40), st.text(max_size=40), st.floats(0, 1e11))
def test_no_text_is_a_fault_or_an_endless_wait(value: str, date: str, now: float) -> None:
    assert 0 <= wait_seconds(value, date, now) <= MAX_WAIT_SECONDS
