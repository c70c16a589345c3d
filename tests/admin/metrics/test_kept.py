"""The sums of all processes never fall, whichever of them end."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.steps import longest_step
from trioedge.admin.metrics.catalogue import ACCEPTED, CPU, LIVE, SERVICE_BYTES
from trioedge.admin.metrics.families import Collection, Families, merged
from trioedge.admin.metrics.kept import LATELY, KeptCounters

DOES = st.sampled_from(["answers", "is silent", "ends"])


def of(accepted: int, live: int = 0) -> Families:
    found = Collection()
    found.add(ACCEPTED, accepted)
    found.add(LIVE, live, "0")
    found.add(SERVICE_BYTES, accepted, "shop", "up")
    return found.families


def sums(kept: KeptCounters, given: dict[int, Families], silent: frozenset[int] = frozenset()) -> dict[str, float]:
    whole = longest_step(merged(longest_step(kept.complete(given, silent))[2]))[2]
    return {name: sum(family["samples"].values()) for name, family in whole.items()}


def test_the_counters_of_a_process_that_has_ended_stay_and_its_gauges_go() -> None:
    kept = KeptCounters()
    assert sums(kept, {1: of(10, 5), 2: of(20, 6)})[ACCEPTED.name] == 30
    after = sums(kept, {2: of(21, 6), 3: of(1, 1)})
    assert (after[ACCEPTED.name], after[LIVE.name]) == (32, 7)
    assert sums(kept, {2: of(21, 6), 3: of(2, 1)})[ACCEPTED.name] == 33, "they are kept once"


def test_a_process_that_does_not_answer_has_its_last_counters_until_it_answers() -> None:
    kept = KeptCounters()
    sums(kept, {1: of(10, 5), 2: of(20, 6)})
    assert sums(kept, {2: of(25, 6)}, frozenset({1}))[ACCEPTED.name] == 35
    assert sums(kept, {1: of(11), 2: of(25)})[ACCEPTED.name] == 36


def test_a_process_that_has_never_answered_counts_nothing() -> None:
    assert sums(KeptCounters(), {1: of(10)}, frozenset({7}))[ACCEPTED.name] == 10


def test_the_bytes_of_services_are_not_kept_because_their_labels_change() -> None:
    kept = KeptCounters()
    sums(kept, {1: of(10), 2: of(20)})
    assert sums(kept, {2: of(20)})[SERVICE_BYTES.name] == 20


def test_a_process_that_answers_after_all_is_counted_once() -> None:
    kept = KeptCounters()
    sums(kept, {1: of(10), 2: of(20)})
    sums(kept, {2: of(20)})
    assert sums(kept, {1: of(11), 2: of(20)})[ACCEPTED.name] == 31


def test_of_many_that_have_ended_every_count_is_kept() -> None:
    kept = KeptCounters()
    for process in range(5 * LATELY):
        found = sums(kept, {process: of(1)})
    assert found[ACCEPTED.name] == 5 * LATELY


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(["answers", "is silent", "ends"]), st.integers(0, 9)), min_size=3, max_size=3
        ),
        max_size=20,
    )
)
def test_whatever_processes_do_no_sum_falls(story: list[list[tuple[str, int]]]) -> None:
    kept, counts, pids, last = KeptCounters(), [0, 0, 0], [1, 2, 3], 0.0
    for turn in story:
        given, silent = {}, set()
        for place, (does, more) in enumerate(turn):
            if does == "ends":
                counts[place], pids[place] = 0, pids[place] + 3
            counts[place] += more
            if does == "is silent":
                silent.add(pids[place])
            else:
                given[pids[place]] = of(counts[place])
        now = sums(kept, given, frozenset(silent)).get(ACCEPTED.name, 0.0)
        assert now >= last
        last = now


def test_what_is_closed_before_its_end_loses_nothing() -> None:
    kept = KeptCounters()
    many = Collection()
    for number in range(100):
        many.add(CPU, 1, str(number))
    sums(kept, {1: many.families, 2: of(20)})
    for process in range(3, 3 + LATELY):
        sums(kept, {2: of(20), process: of(0)})
    for steps in range(4):
        completing = kept.complete({2: of(20)}, frozenset())
        for _ in range(steps):
            next(completing)
        completing.close()
    sums(kept, {2: of(20), 99: of(0)})
    assert sums(kept, {2: of(20)})[CPU.name] == 100
