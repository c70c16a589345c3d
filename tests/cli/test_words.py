"""Counts and amounts in words."""

import pytest

import trioedge as te
from trioedge.cli.words import amount, count, micros, reasons, span, whole


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (1, "1 B"), (9.6, "10 B"), (999, "999 B"), (999.4, "999 B"),
        (999.5, "1.0 kB"), (1000, "1.0 kB"), (9_949, "9.9 kB"), (9_950, "10 kB"), (999_499, "999 kB"),
        (999_500, "1.0 MB"), (345_000_000, "345 MB"), (999_500_000, "1.0 GB"), (30_000_000_000, "30 GB"),
        (999_500_000_000, "1.0 TB"), (10**13, "10.0 TB"), (10**16, "10000.0 TB"),
    ],
)  # fmt: skip
def test_an_amount_has_about_three_digits_and_the_unit_that_fits(size: float, text: str) -> None:
    assert amount(size) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 sessions"), (1, "1 session"), (2, "2 sessions"), (11, "11 sessions")]
)
def test_only_one_thing_is_singular(number: int, text: str) -> None:
    assert count(number, "session") == text


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({}, "none"),
        ({te.Reason.RATE: 0}, "none"),
        ({te.Reason.RATE: 12}, "rate 12"),
        ({te.Reason.SOURCE: 3, te.Reason.RATE: 12}, "rate 12, source 3"),
        ({te.Reason.SOURCE: 3, te.Reason.DEVICE: 0, te.Reason.IDLE: 1}, "source 3, idle 1"),
    ],
)
def test_reasons_stand_in_the_order_of_reason_without_zeros(counts: dict[str, int], text: str) -> None:
    assert reasons(counts) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"), (-0.1, "0.0 s"), (0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 m"),
        (200, "3 m 20 s"), (3_599.6, "1 h"), (7_500, "2 h 5 m"), (86_400, "1 d"), (273_600, "3 d 4 h"),
    ],
)  # fmt: skip
def test_a_length_of_time_has_two_units_at_most(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (0, "0.0 µs"), (9.94, "9.9 µs"), (9.95, "10 µs"), (999.4, "999 µs"), (999.5, "1.0 ms"),
        (12_300, "12 ms"), (2e6, "2.0 s"), (9e7, "90.0 s"),
    ],
)  # fmt: skip
def test_microseconds_have_the_unit_that_fits(value: float | None, text: str) -> None:
    assert micros(value) == text


def test_a_count_has_commas() -> None:
    assert [whole(number) for number in (None, 0, 1_234_567)] == [None, "0", "1,234,567"]
