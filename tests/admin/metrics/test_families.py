"""Families: what one process adds, and the sums of several."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.steps import longest_step
from trioedge.admin.metrics.families import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    MAX,
    MIN,
    SAMPLES_A_STEP,
    Collection,
    Families,
    Metric,
    escaped,
    merged,
)
from trioedge.telemetry.histogram import Histogram

TOTAL = Metric("a_total", COUNTER, "A.", ("reason",))
OLDEST = Metric("b_seconds", GAUGE, "B.", (), MAX)
WELL = Metric("c", GAUGE, "C.", (), MIN)
TIMES = Metric("d_seconds", HISTOGRAM, "D.", (), buckets=(8, 30))

counts = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 1 << 40), max_size=4)


def of(metric: Metric, **samples: float) -> Families:
    found = Collection()
    for label, value in samples.items():
        found.add(metric, value, *([label] if metric.labels else []))
    return found.families


def whole(*each: Families) -> Families:
    return longest_step(merged(each))[2]


@pytest.mark.parametrize(
    ("text", "written"), [("plain", "plain"), ('"', '\\"'), ("\\", "\\\\"), ("\n", "\\n"), ("ü✓", "ü✓")]
)
def test_a_label_is_escaped_as_the_format_says(text: str, written: str) -> None:
    assert escaped(text) == written


def test_a_sample_needs_as_many_labels_as_its_metric_has() -> None:
    with pytest.raises(ValueError, match="zip"):
        Collection().add(TOTAL, 1)


def test_families_are_json() -> None:
    found = Collection()
    found.add(TOTAL, 3, "rate")
    times = Histogram()
    times.add(0.001)
    found.add_times(TIMES, times)
    assert json.loads(json.dumps(found.families)) == found.families
    assert len(found.families["d_seconds"]["samples"][""]["counts"]) == 21, "empty buckets at the end are left out"


@given(st.lists(counts, max_size=4))
def test_counters_of_processes_add_up_by_their_labels(each: list[dict[str, int]]) -> None:
    found = whole(*(of(TOTAL, **one) for one in each))
    labels = {label for one in each for label in one}
    samples = found["a_total"]["samples"] if labels else {}
    assert samples == {f'reason="{label}"': sum(one.get(label, 0) for one in each) for label in labels}


@pytest.mark.parametrize(("metric", "value"), [(OLDEST, 7), (WELL, 0)])
def test_gauges_are_merged_as_they_say(metric: Metric, value: float) -> None:
    assert whole(of(metric, x=0), of(metric, x=7))[metric.name]["samples"] == {"": value}


@given(st.lists(st.floats(0, 1e3), max_size=20), st.lists(st.floats(0, 1e3), max_size=20))
def test_merged_times_are_the_times_of_both(some: list[float], others: list[float]) -> None:
    def collected(seconds: list[float]) -> Families:
        times, found = Histogram(), Collection()
        for each in seconds:
            times.add(each)
        found.add_times(TIMES, times)
        return found.families

    assert whole(collected(some), collected(others)) == collected(some + others)


def test_a_family_and_a_sample_that_one_process_has_are_kept() -> None:
    found = whole(of(TOTAL, a=1), of(TOTAL, b=2), of(OLDEST, x=3))
    assert found["a_total"]["samples"] == {'reason="a"': 1, 'reason="b"': 2}
    assert found["b_seconds"]["samples"] == {"": 3}


def test_a_family_of_another_type_elsewhere_is_left_out_there() -> None:
    other = {"a_total": {**TIMES.empty(), "samples": {"": {"counts": [1], "nanoseconds": 1}}}}
    assert whole(of(TOTAL, a=1), other)["a_total"]["samples"] == {'reason="a"': 1}


def test_merging_changes_none_of_its_parts() -> None:
    one, other = of(TOTAL, a=1), of(TOTAL, a=2)
    whole(one, other)
    assert (one, other) == (of(TOTAL, a=1), of(TOTAL, a=2))


def test_six_thousand_samples_are_merged_in_steps() -> None:
    large = of(TOTAL, **{f"s{number}": number for number in range(3_000)})
    steps, _, found = longest_step(merged([large, large]))
    assert len(found["a_total"]["samples"]) == 3_000
    assert steps == 6_000 // SAMPLES_A_STEP
