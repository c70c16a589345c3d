"""The division of a rate among processes: examples, and a model of processes with flows that come and go."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from tests.support.parted_rate import ModelRate
from trioedge.stages.pacing.parts import STALE_SECONDS, UseCount, allot
from trioedge.stages.pacing.shares import DEBT_SECONDS as MOST_DEBT
from trioedge.stages.pacing.shares import GRAIN, IDLE_RATE, REPAY_SECONDS
from trioedge.structures.shared.rate_rows import Use

RATE = 1_000_000.0


def of(limited: float = 0, *light: float, taken: float = 0, members: float | None = None) -> Use:
    """A process with so many limited flows, and light ones."""
    return Use(limited, sum(light), len(light), taken, limited + len(light) if members is None else members)


@pytest.mark.parametrize(
    ("uses", "parts"),
    [
        ([of(1)], [12]),
        ([of(1), of()], [12, 0]),
        ([of(5), of(3)], [7.5, 4.5]),
        ([of(1), of(1, 2)], [5, 7]),
        ([of(0, 2), of(0, 4)], [5, 7]),
        ([of(0, 2), of(0, 4, members=8)], [2 + 2 / 3, 4 + 16 / 3]),
        ([of(0, 10, 10), of(2)], [6, 6]),
        ([of(2, 1, 1), of(0, 1), of(1)], [8, 1, 3]),
        ([of(), of()], [0, 0]),
    ],
)
def test_parts_of_a_rate_of_12(uses: list[Use], parts: list[float]) -> None:
    found = [allot(12, own, uses[:number] + uses[number + 1 :]).part for number, own in enumerate(uses)]
    assert found == pytest.approx(parts)


def test_a_part_grows_only_as_far_as_the_others_leave_and_shrinks_at_once() -> None:
    assert allot(12, of(4), [of(4, taken=12)]).part == 0
    assert allot(12, of(4, taken=12), [of(4)]).part == 6
    assert allot(12, of(4), [of(4, taken=7)]).part == 5
    assert allot(12, of(4), [of(4, taken=20)]).part == 0


def test_no_limit_is_no_limit_for_every_process() -> None:
    assert allot(inf, of(4), [of(4, taken=inf)]) == (inf, inf, False)


uses = st.builds(
    Use,
    st.integers(0, 9),
    st.floats(0, 1e7),
    st.integers(0, 9),
    st.floats(0, 1e6),
    st.integers(0, 30),
)


@examples(200)
@given(st.floats(1, 1e9), st.lists(uses, min_size=1, max_size=6))
def test_parts_add_up_to_the_rate_if_there_is_demand_for_it_and_never_to_more(rate: float, given_: list[Use]) -> None:
    asked = [use._replace(light=use.light if use.lights else 0.0, taken=0.0) for use in given_]
    parts = [allot(rate, own, asked[:number] + asked[number + 1 :]).part for number, own in enumerate(asked)]
    assert sum(parts) <= rate * (1 + 1e-9)
    if any(use.limited or use.members for use in asked):
        assert sum(parts) == pytest.approx(rate)


@examples(200)
@given(st.floats(1, 1e9), st.lists(uses, min_size=1, max_size=6), st.lists(st.integers(0, 5), max_size=30))
def test_in_whatever_order_processes_look_they_never_take_more_than_the_rate_together(
    rate: float, column: list[Use], order: list[int]
) -> None:
    column = [use._replace(taken=0.0) for use in column]
    for number in order:
        number %= len(column)
        part = allot(rate, column[number], column[:number] + column[number + 1 :]).part
        column[number] = column[number]._replace(taken=part)
        assert sum(use.taken for use in column) <= rate * (1 + 1e-9)


def test_flows_are_counted_by_the_level_of_the_last_look() -> None:
    count = UseCount(100.0)
    for demand in (inf, 150.0, 40.0, 0.0):
        count.add(demand)
    count.owe((50 - IDLE_RATE) * REPAY_SECONDS)
    count.owe(0.0)
    assert (count.limited, count.light, count.lights) == (2, 90.0, 2)


# Over time.


@pytest.mark.parametrize("flows", [(8, 0), (5, 3), (4, 4), (7, 1), (3, 3, 2)])
def test_saturated_flows_get_the_same_whichever_process_has_them_and_the_rate_together(flows: tuple[int, ...]) -> None:
    model = ModelRate(RATE, len(flows))
    opened = [model.start(number, inf) for number, count in enumerate(flows) for _ in range(count)]
    model.run(4)
    before = [flow.moved for flow in opened]
    model.run(4)
    assert model.rates(4) == pytest.approx(RATE, rel=0.01)
    for flow, moved in zip(opened, before, strict=True):
        assert (flow.moved - moved) / 4 == pytest.approx(RATE / sum(flows), rel=0.02)


def test_a_lone_flow_gets_the_whole_rate_within_three_ticks_of_the_end_of_the_others() -> None:
    model = ModelRate(RATE, 3)
    lone = model.start(0, inf)
    for number in (1, 1, 2):
        model.start(number, inf)
    model.run(4)
    for number in (1, 1, 2):
        model.end(number)
    model.run(0.3)
    assert lone.share == pytest.approx(RATE, rel=0.02)


def test_the_part_of_a_process_that_died_is_free_at_once_and_that_of_one_that_stands_still_after_a_second() -> None:
    model = ModelRate(RATE, 3)
    lone = model.start(0, inf)
    for number in (1, 2):
        model.start(number, inf)
    model.run(4)
    model.die(1)
    model.run(0.3)
    assert lone.share == pytest.approx(RATE / 2, rel=0.02)
    model.processes[2].stalled = 0.0
    model.run(0.5)
    assert lone.share == pytest.approx(RATE / 2, rel=0.02)
    model.run(STALE_SECONDS - 0.3)
    assert lone.share == pytest.approx(RATE, rel=0.02)


def test_a_light_flow_of_one_process_leaves_the_rest_to_a_flow_of_another() -> None:
    model = ModelRate(RATE, 2)
    light, greedy = model.start(0, RATE / 20), model.start(1, inf)
    model.run(3)
    before = light.moved, greedy.moved
    model.run(2)
    assert (light.moved - before[0]) / 2 == pytest.approx(RATE / 20, rel=0.02)
    assert 0.9 * RATE < (greedy.moved - before[1]) / 2 <= 0.96 * RATE


def test_a_flow_that_uses_more_than_the_level_of_another_process_is_brought_down_to_it() -> None:
    """Though beside a tiny one of its own process, the mean of the two is below the level."""
    model = ModelRate(RATE, 2)
    heavy, tiny = model.start(0, 0.6 * RATE), model.start(0, 0.01 * RATE)
    model.run(2)
    other = model.start(1, inf)
    model.run(4)
    before = [flow.moved for flow in (heavy, tiny, other)]
    model.run(4)
    moved = [(flow.moved - was) / 4 for flow, was in zip((heavy, tiny, other), before, strict=True)]
    assert moved == [
        pytest.approx(0.49 * RATE, rel=0.05), pytest.approx(0.01 * RATE, rel=0.05), pytest.approx(0.49 * RATE, rel=0.05)
    ]  # fmt: skip


@pytest.mark.parametrize("processes", [2, 4])
def test_flows_that_wake_together_in_every_process_are_repaid_within_some_seconds(processes: int) -> None:
    model = ModelRate(RATE, processes)
    for number in range(processes):
        model.start(number, inf)
    model.run(6)
    assert model.rates(6) <= RATE * 1.02
    assert model.excess() <= processes * GRAIN + 0.2 * RATE


BUFFER = RATE / 4
"""Bytes that the kernel of a process that stands still has."""

events = st.lists(
    st.tuples(
        st.sampled_from(["start", "start", "end", "change", "stall", "go on", "late", "die"]),
        st.integers(0, 2),
        st.just(inf) | st.floats(0, 2 * RATE),
        st.floats(0, 1.5),
    ),
    max_size=25,
)


@examples(50)
@given(events)
def test_over_any_time_processes_move_the_rate_and_what_each_may_owe_at_most(
    happens: list[tuple[str, int, float, float]],
) -> None:
    model, lost, held = ModelRate(RATE, 3), 0, 0.0
    for event, number, wants, seconds in happens:
        process = model.processes[number]
        match event:
            case "start":
                if process.stalled is None and len(process.flows) < 8:
                    model.start(number, wants)
            case "end":
                model.end(number)
            case "change":
                for flow in process.flows:
                    flow.wants = wants
            case "stall" if process.stalled is None:
                process.stalled = BUFFER
                held += BUFFER
            case "go on":
                process.stalled = None
            case "late":
                process.late = 1 + int(seconds * 10)
            case "die":
                model.die(number)
                lost += 1
        model.run(seconds)
    assert model.excess() <= (3 + lost) * (GRAIN + MOST_DEBT * RATE) + held
    for process in model.processes:
        process.stalled, process.late = None, 0
    flows = [flow for process in model.processes for flow in process.flows]
    for flow in flows:
        flow.wants = flow.wants if flow.wants == inf else 0.0  # the headroom of light flows is of no use
    if any(flow.wants for flow in flows):
        model.run(6)
        assert model.rates(1) == pytest.approx(RATE, rel=0.05)
