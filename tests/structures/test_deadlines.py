import sys
from itertools import count
from math import ceil, inf, nextafter
from typing import TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.strategies import examples
from trioedge.structures.deadlines import Deadlines

T = TypeVar("T")

TICK = 0.25
moments = st.integers(0, 64).map(lambda sixteenths: sixteenths / 16)
"""Exact in binary, so that no rounding makes a deadline early or late."""


def in_ticks(due: float) -> float:
    return ceil(due / TICK) * TICK


def expired(deadlines: Deadlines[T], now: float) -> list[T]:
    """Take all that is due."""
    due = []
    while (item := deadlines.take(now)) is not None:
        due.append(item)
    return due


class DeadlinesMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.deadlines: Deadlines[int] = Deadlines(TICK)
        self.numbers = count()
        self.now = 0.0
        self.due: dict[int, float] = {}
        self.ticks: dict[int, int] = {}

    @rule(delay=moments)
    def add(self, delay: float) -> None:
        item = next(self.numbers)
        self.due[item] = self.now + delay
        self.ticks[item] = self.deadlines.add(item, self.now + delay)

    @precondition(lambda self: self.due)
    @rule(data=st.data(), delay=moments)
    def put_off(self, data: st.DataObject, delay: float) -> None:
        item = data.draw(st.sampled_from(list(self.due)))
        self.deadlines.discard(item, self.ticks[item])
        self.due[item] = self.now + delay
        self.ticks[item] = self.deadlines.add(item, self.now + delay)

    @precondition(lambda self: self.ticks)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        """Cancel the deadline of any item there ever was; one that is not set any more is ignored."""
        item = data.draw(st.sampled_from(list(self.ticks)))
        self.deadlines.discard(item, self.ticks[item])
        self.due.pop(item, None)

    @rule(delay=moments)
    def expire(self, delay: float) -> None:
        self.now += delay
        given = expired(self.deadlines, self.now)
        expected = {item for item, due in self.due.items() if in_ticks(due) <= self.now}
        assert sorted(given) == sorted(expected)
        assert all(self.due[item] <= self.now for item in given)
        for item in given:
            del self.due[item]
        assert all(self.now < due + TICK for due in self.due.values())
        assert self.deadlines.next_due() > self.now

    @rule(delay=moments)
    def take(self, delay: float) -> None:
        self.now += delay
        expected = {item for item, due in self.due.items() if in_ticks(due) <= self.now}
        for left in range(len(expected), 0, -1):
            assert self.deadlines.next_due() <= self.now
            item = self.deadlines.take(self.now)
            assert item in expected
            del self.due[item]
            expected.remove(item)
            assert len(expected) == left - 1
        assert self.deadlines.take(self.now) is None
        assert self.deadlines.next_due() > self.now

    @rule(delay=moments)
    def take_one(self, delay: float) -> None:
        """The other items stay due, and can still be cancelled."""
        self.now += delay
        item = self.deadlines.take(self.now)
        assert (item is None) == (min(map(in_ticks, self.due.values()), default=inf) > self.now)
        self.due.pop(item, None)  # type: ignore[arg-type]

    @invariant()
    def next_due_is_never_too_late(self) -> None:
        assert self.deadlines.next_due() <= min(map(in_ticks, self.due.values()), default=inf)


TestDeadlines = DeadlinesMachine.TestCase
TestDeadlines.settings = examples(60, steps=30)


def test_without_deadlines_nothing_is_ever_due() -> None:
    deadlines: Deadlines[str] = Deadlines(TICK)
    assert deadlines.next_due() == inf
    assert expired(deadlines, 1e9) == []


def test_an_item_that_is_due_at_infinity_is_never_given() -> None:
    deadlines: Deadlines[str] = Deadlines(TICK)
    tick = deadlines.add("never", inf)
    assert expired(deadlines, 1e12) == []
    deadlines.discard("never", tick)
    assert deadlines.next_due() == inf


@pytest.mark.parametrize("tick", [0.01, 0.05, 10.0])
@pytest.mark.parametrize("due", [1e300, 1e308, sys.float_info.max])
def test_an_item_that_is_due_at_a_very_large_number_of_seconds_is_not_given_before(due: float, tick: float) -> None:
    deadlines: Deadlines[str] = Deadlines(tick)
    number = deadlines.add("late", due)
    deadlines.add("soon", 1.0)
    assert expired(deadlines, 1e12) == ["soon"]
    assert deadlines.next_due() >= due
    deadlines.discard("late", number)
    assert expired(deadlines, 1e12) == []


@pytest.mark.parametrize("tick", [0.01, 0.05, 0.1, TICK])
def test_take_at_next_due_gives_the_item_that_is_due(tick: float) -> None:
    """Otherwise a loop that sleeps until `next_due` would spin."""
    for number in range(1000):
        deadlines: Deadlines[int] = Deadlines(tick)
        deadlines.add(number, number * tick)
        assert expired(deadlines, deadlines.next_due()) == [number]


@pytest.mark.parametrize("tick", [0.01, 0.05, 0.1, TICK])
def test_rounding_makes_no_item_early_and_none_later_than_a_tick(tick: float) -> None:
    for number in range(1, 1000):
        for due in (number * tick, nextafter(number * tick, inf)):
            deadlines: Deadlines[int] = Deadlines(tick)
            deadlines.add(number, due)
            assert expired(deadlines, nextafter(due, 0)) == []
            assert expired(deadlines, due + 1.001 * tick) == [number]


def test_deadlines_that_are_set_far_away_and_cancelled_leave_no_memory() -> None:
    deadlines: Deadlines[str] = Deadlines(0.05)
    kept = [deadlines.add(f"kept {number}", 1e6 + number) for number in range(10)]
    for number in range(10_000):
        deadlines.discard("gone", deadlines.add("gone", 60_000.0 + number))
        assert len(deadlines._buckets) == len(deadlines._heap) <= 65
    assert [deadlines.take(2e6) for _ in range(11)] == [*(f"kept {number}" for number in range(10)), None]
    assert len(set(kept)) == 10


def test_deadlines_that_stay_are_given_in_order_however_many_were_cancelled_between() -> None:
    deadlines: Deadlines[int] = Deadlines(1.0)
    ticks = {number: deadlines.add(number, 3.0 * number) for number in range(1_000)}
    for number in range(0, 1_000, 2):
        deadlines.discard(number, ticks[number])
    for number in range(1_000, 2_000):
        deadlines.add(number, 3.0 * number)
    assert [deadlines.take(1e9) for _ in range(1_501)] == [*range(1, 1_000, 2), *range(1_000, 2_000), None]
