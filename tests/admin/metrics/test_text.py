"""The text of metrics, which the parser of Prometheus's own client reads."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric as Read
from prometheus_client.parser import text_string_to_metric_families

from tests.support.steps import longest_step
from trioedge.admin.metrics.families import COUNTER, GAUGE, HISTOGRAM, SAMPLES_A_STEP, Collection, Metric
from trioedge.admin.metrics.text import text_of
from trioedge.telemetry.histogram import Histogram

TOTAL = Metric("a_total", COUNTER, "Text with \\ and\nlines.", ("one", "other"))
NOW = Metric("b", GAUGE, "B.")
TIMES = Metric("c_seconds", HISTOGRAM, "C.", ("stage",), buckets=(8, 30))


def text(found: Collection) -> str:
    return b"".join(longest_step(text_of(found.families))[2]).decode()


def read(found: Collection) -> dict[str, Read]:
    return {each.name: each for each in text_string_to_metric_families(text(found))}


def test_families_have_their_help_and_their_type() -> None:
    found = Collection()
    found.add(NOW, 1.5)
    found.add(TOTAL, 3, "x", "y")
    assert text(found).splitlines() == [
        "# HELP a_total Text with \\\\ and\\nlines.",
        "# TYPE a_total counter",
        'a_total{one="x",other="y"} 3',
        "# HELP b B.",
        "# TYPE b gauge",
        "b 1.5",
    ]


@given(st.lists(st.tuples(st.text(), st.text()), unique=True, max_size=5))
def test_any_text_of_a_label_is_read_as_it_was(labels: list[tuple[str, str]]) -> None:
    found = Collection()
    for number, (one, other) in enumerate(labels):
        found.add(TOTAL, number, one, other)
    if not labels:
        return
    samples = [(each.labels["one"], each.labels["other"], each.value) for each in read(found)["a"].samples]
    assert samples == [(one, other, number) for number, (one, other) in enumerate(labels)]


def test_a_lone_surrogate_does_not_keep_the_text_from_being_sent() -> None:
    found = Collection()
    found.add(TOTAL, 1, "\ud800", "")
    assert "ud800" in text(found)


@given(st.lists(st.floats(0, 1e6), max_size=50))
def test_the_buckets_of_a_histogram_rise_to_its_count(seconds: list[float]) -> None:
    times, found = Histogram(), Collection()
    for each in seconds:
        times.add(each)
    found.add_times(TIMES, times, "gate")
    samples = read(found)["c_seconds"].samples
    assert all(each.labels["stage"] == "gate" for each in samples)
    buckets = [(float(each.labels["le"]), each.value) for each in samples if each.name == "c_seconds_bucket"]
    (total,) = [each.value for each in samples if each.name == "c_seconds_sum"]
    (count,) = [each.value for each in samples if each.name == "c_seconds_count"]
    assert buckets == sorted(buckets)
    assert [bound for bound, _ in buckets] == [2.0**place / 1e9 for place in range(8, 31)] + [inf]
    assert buckets[-1][1] == count == len(seconds)
    assert abs(total - sum(seconds)) < 1e-6 + 1e-9 * sum(seconds)
    for bound, value in buckets:
        assert value == sum(int(each * 1e9) < bound * 1e9 for each in seconds)


def test_six_thousand_series_are_written_in_steps() -> None:
    found = Collection()
    for number in range(6_000):
        found.add(TOTAL, number, f"service {number}", "up")
    steps, _, parts = longest_step(text_of(found.families))
    assert steps >= 6_000 // SAMPLES_A_STEP
    assert max(part.count(b"\n") for part in parts) <= SAMPLES_A_STEP + 2


def test_a_step_of_histograms_has_no_more_lines_than_one_of_counters() -> None:
    found = Collection()
    for number in range(100):
        found.add_times(TIMES, Histogram(), f"stage {number}")
    _, _, parts = longest_step(text_of(found.families))
    assert max(part.count(b"\n") for part in parts) <= SAMPLES_A_STEP + 2
