from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioedge.structures.times import BUCKETS
from trioedge.telemetry.histogram import Histogram, quantile

times = st.lists(st.floats(0, 1e6), max_size=50)


def of(*seconds: float) -> Histogram:
    made = Histogram()
    for each in seconds:
        made.add(each)
    return made


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0, 0), (1e-9, 1), (2e-9, 2), (3e-9, 2), (1e-6, 10), (1.0, 30), (292 * 365 * 86_400.0, 63)]
)
def test_a_time_is_in_the_bucket_of_its_power_of_two(seconds: float, bucket: int) -> None:
    assert [place for place, count in enumerate(of(seconds).counts) if count] == [bucket]


def test_a_histogram_without_times_has_quantiles_of_0() -> None:
    assert (of().quantile(0.5), of().count, of().seconds, of().max) == (0, 0, 0, 0)


def test_the_longest_time_bounds_every_quantile() -> None:
    found = of(0.001, 0.0011)
    assert found.quantile(1) == found.max == pytest.approx(0.0011)


def test_times_that_are_spread_evenly_have_quantiles_within_a_tenth() -> None:
    found = of(*(each / 1000 for each in range(1, 1001)))
    assert [found.quantile(part) for part in (0.5, 0.9, 0.99)] == pytest.approx([0.5, 0.9, 0.99], rel=0.1)


def test_the_median_of_equal_counts_in_one_bucket_is_its_middle() -> None:
    assert quantile([0, 0, 0, 10], 0.5) == 6


@given(times, times)
def test_merged_histograms_have_the_times_of_both(some: list[float], others: list[float]) -> None:
    merged = of(*some)
    merged.merge(of(*others))
    assert merged == of(*some, *others)


@given(times.filter(bool), st.floats(0, 1))
def test_a_quantile_is_off_by_less_than_a_factor_of_two(seconds: list[float], part: float) -> None:
    exact = sorted(seconds)[max(0, -int(-part * len(seconds) // 1) - 1)]
    found = of(*seconds).quantile(part)
    assert exact / 2.0001 - 2e-9 <= found <= min(exact * 2.0001 + 2e-9, max(seconds))


@given(times)
def test_a_histogram_is_made_again_of_its_numbers(seconds: list[float]) -> None:
    found = of(*seconds)
    assert Histogram(found.counts, found.nanoseconds, found.longest) == found
    assert len(found.counts) == BUCKETS
    assert found.seconds < inf
    assert found != seconds
