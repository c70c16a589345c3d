from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.relay.timeline import MAX_WAIT_SECONDS, Timeline, read_size

rates = st.floats(1, 1e9)
parts = st.floats(0, 1)
"""The part of a read's size that arrives."""


@pytest.mark.parametrize(
    ("rate", "size"),
    [
        (1e-3, 1),
        (1, 1),
        (700, 700),
        (1_460, 1_460),
        (14_600, 1_460),
        (100_000, 10_000),
        (655_360, 65_536),
        (1e9, 65_536),
        (inf, 65_536),
    ],
)
def test_the_size_of_a_read_is_a_tenth_of_a_second_within_bounds(rate: float, size: int) -> None:
    assert read_size(rate) == size


@examples(100)
@given(rates, st.lists(st.tuples(parts, st.just(0.0) | st.floats(0, 5)), max_size=30))
def test_no_interval_has_more_bytes_than_the_rate_and_one_chunk(rate: float, reads: list[tuple[float, float]]) -> None:
    """The reader waits as it should, and at times longer, as when there is nothing to read."""
    timeline, now, size = Timeline(), 1000.0, read_size(rate)
    times, totals = [now], [0]
    for part, pause in reads:
        count = max(1, round(size * part))
        times.append(now)
        totals.append(totals[-1] + count)
        now += timeline.charge(count, rate, now) + pause
    for first, since in enumerate(times):
        for until, total in zip(times[first:], totals[first:], strict=True):
            assert total - totals[first] <= (rate * (until - since) + 2 * size) * (1 + 1e-6)
            if first:
                assert total - totals[first - 1] <= (rate * (until - since) + size) * (1 + 1e-6)


@pytest.mark.parametrize("rate", [100, 1_460, 50_000, 1e6, 1e9])
def test_a_reader_that_always_has_bytes_gets_the_rate(rate: float) -> None:
    timeline, now, total = Timeline(), 5.0, 0
    while total < 100 * read_size(rate):
        now += timeline.charge(read_size(rate), rate, now)
        total += read_size(rate)
    assert total / (now - 5.0) == pytest.approx(rate, rel=1e-6)


@examples(100)
@given(st.lists(st.tuples(st.integers(0, 10**9), st.floats(1e-6, 1e9) | st.just(inf), st.floats(0, 2)), max_size=30))
def test_no_wait_is_longer_than_the_bound_whatever_the_debt(charges: list[tuple[int, float, float]]) -> None:
    timeline, now = Timeline(), 0.0
    for count, rate, pause in charges:
        assert 0 <= timeline.charge(count, rate, now) <= MAX_WAIT_SECONDS
        now += pause


def test_a_debt_beyond_the_bound_is_forgiven() -> None:
    timeline = Timeline()
    assert timeline.charge(1_000_000, 1.0, 0.0) == MAX_WAIT_SECONDS
    assert timeline.charge(0, 1.0, 0.25) == 0.75
    assert timeline.charge(100, 1000.0, 1.0) == pytest.approx(0.1)


def test_charges_without_a_wait_between_them_add_up() -> None:
    timeline = Timeline()
    assert [timeline.charge(100, 1000.0, 8.0) for _ in range(3)] == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize("rest", [0.2, 60.0, 1e6])
def test_a_pause_gives_no_credit(rest: float) -> None:
    timeline = Timeline()
    timeline.charge(100, 1000.0, 8.0)
    assert timeline.charge(100, 1000.0, 8.0 + rest) == pytest.approx(0.1)
    assert timeline.charge(100, 1000.0, 8.1 + rest) == pytest.approx(0.1)


def test_another_rate_applies_to_the_next_bytes() -> None:
    timeline = Timeline()
    assert timeline.charge(500, 1000.0, 0.0) == 0.5
    assert timeline.charge(500, 10_000.0, 0.5) == pytest.approx(0.05)
    assert timeline.charge(500, 1000.0, 0.55) == pytest.approx(0.5)
    assert timeline.charge(65_536, inf, 1.05) == pytest.approx(0)


@pytest.mark.parametrize(
    ("rate", "wait"), [(1000.0, 0.4), (4000.0, 0.1), (500.0, 0.8), (100.0, MAX_WAIT_SECONDS), (inf, 0.0)]
)
def test_a_debt_is_converted_to_the_new_rate(rate: float, wait: float) -> None:
    timeline = Timeline()
    timeline.charge(500, 1000.0, 0.0)
    assert timeline.retune(rate, 0.1) == pytest.approx(wait)
    assert timeline.charge(0, 1000.0, 0.1) == pytest.approx(wait)


def test_without_a_debt_there_is_no_wait_at_any_rate() -> None:
    timeline = Timeline()
    assert timeline.retune(1.0, 5.0) == 0
    timeline.charge(500, 1000.0, 5.0)
    assert timeline.retune(1.0, 6.0) == 0
    timeline.charge(500, inf, 7.0)
    assert timeline.retune(1.0, 7.0) == 0
