from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.errors import ConfigurationError
from trioedge.services.terms.moment import LATEST, format_moment, moment_fault, parse_moment

NEW_YEAR = 1_798_761_600


@pytest.mark.parametrize(
    "said",
    [
        "2027-01-01T00:00:00Z",
        "2027-01-01t00:00:00z",
        "2027-01-01 00:00:00+00:00",
        "2027-01-01T02:00:00+02:00",
        "2026-12-31T16:30:00-07:30",
        datetime(2027, 1, 1, tzinfo=UTC),
        datetime(2027, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_a_moment_with_its_zone_is_read(said: object) -> None:
    assert parse_moment(said) == NEW_YEAR


@pytest.mark.parametrize(("fraction", "seconds"), [(".5", 0.5), (".25", 0.25), (".123456789", 0.123456)])
def test_a_fraction_of_a_second_counts_to_the_microsecond(fraction: str, seconds: float) -> None:
    assert parse_moment(f"2027-01-01T00:00:00{fraction}Z") == pytest.approx(NEW_YEAR + seconds, abs=1e-6)


@pytest.mark.parametrize(
    ("said", "mend"),
    [
        ("2027-01-01", "2027-01-01T00:00:00Z"),
        ("2027-01-01 12:30:00", "2027-01-01T12:30:00Z"),
        ("2027-01-01T12:30:00.5", "2027-01-01T12:30:00Z"),
        (datetime(2027, 1, 1, 12, 30), "2027-01-01T12:30:00Z"),
    ],
)
def test_a_moment_without_a_zone_is_refused_with_the_whole_text_to_write(said: object, mend: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_moment(said)
    assert str(raised.value).endswith(f"says no time zone: write it whole, as in {mend!r}")
    parse_moment(mend)


@pytest.mark.parametrize(
    "said",
    ["", "soon", "2027-1-1T00:00:00Z", "2027-W01-1T00:00:00Z", "20270101T000000Z", "1798761600", "2027-01-01T00:00Z",
     "2027-01-01T00:00:00Z ", "2027-01-01T00:00:001Z", "x" * 2_000, None, 3, b"2027-01-01T00:00:00Z"],
)  # fmt: skip
def test_what_is_no_moment_is_refused_with_an_example(said: object) -> None:
    with pytest.raises(ConfigurationError, match=r"must be seconds since 1970, up to 253402300799, or text such as"):
        parse_moment(said)


@pytest.mark.parametrize("said", ["2027-13-01T00:00:00Z", "2027-02-29T00:00:00Z", "2027-01-01T25:00:00Z"])
def test_a_day_or_a_time_that_there_is_not_is_refused(said: str) -> None:
    with pytest.raises(ConfigurationError, match="is no time: "):
        parse_moment(said)


@pytest.mark.parametrize("seconds", [0.1, 1, NEW_YEAR + 0.5, LATEST])
def test_seconds_up_to_the_year_9999_have_no_fault(seconds: float) -> None:
    assert moment_fault(seconds) == ""


@examples(100)
@given(st.integers(1, LATEST))
def test_a_formatted_moment_is_parsed_to_the_same_second(seconds: int) -> None:
    text = format_moment(seconds)
    assert text.endswith("Z")
    assert parse_moment(text) == seconds
