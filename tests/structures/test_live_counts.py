from collections import Counter
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.strategies import examples, keys
from trioedge.addresses.source_prefix import flood_groups
from trioedge.errors import ConfigurationError
from trioedge.structures.live_counts import CountAnswer, LiveCounts

LIMIT, CAPACITY = 3, 2


class LiveCountsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.counts = LiveCounts(CAPACITY)
        self.live: Counter[str] = Counter()

    @rule(key=keys)
    def enter(self, key: str) -> None:
        if self.live[key] == LIMIT:
            expected = CountAnswer.TOO_MANY
        elif not self.live[key] and len(+self.live) == CAPACITY:
            expected = CountAnswer.FULL
        else:
            expected = CountAnswer.ENTERED
        assert self.counts.enter(key, LIMIT) is expected
        self.live[key] += expected is CountAnswer.ENTERED

    @precondition(lambda self: +self.live)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(+self.live)))
        self.counts.leave(key)
        self.live[key] -= 1

    @invariant()
    def each_key_has_the_count_of_the_model(self) -> None:
        for key in "abc":
            live = self.live[key]
            assert self.counts.enter(key, live) is CountAnswer.TOO_MANY, "no fewer"
            if live:
                assert self.counts.enter(key, live + 1) is CountAnswer.ENTERED, "no more"
                self.counts.leave(key)

    @invariant()
    def only_keys_with_a_live_session_are_remembered(self) -> None:
        assert len(self.counts) == len(+self.live)


TestLiveCounts = LiveCountsMachine.TestCase
TestLiveCounts.settings = examples(50, steps=30)


def test_a_leave_without_an_enter_raises_and_leaves_no_credit() -> None:
    counts = LiveCounts(1)
    with pytest.raises(KeyError):
        counts.leave("a")
    assert len(counts) == 0
    assert counts.enter("a", 1) is CountAnswer.ENTERED
    assert counts.enter("a", 1) is CountAnswer.TOO_MANY


def test_at_capacity_a_new_key_is_refused_until_another_has_no_session() -> None:
    counts = LiveCounts(1)
    assert counts.enter("a", 9) is CountAnswer.ENTERED
    assert counts.enter("b", 9) is CountAnswer.FULL
    assert counts.enter("a", 9) is CountAnswer.ENTERED
    counts.leave("a")
    assert counts.enter("b", 9) is CountAnswer.FULL, "one session of the other key is live still"
    counts.leave("a")
    assert counts.enter("b", 9) is CountAnswer.ENTERED


def test_a_key_over_its_limit_is_told_so_even_when_the_table_is_full() -> None:
    counts = LiveCounts(1)
    counts.enter("a", 1)
    assert counts.enter("a", 1) is CountAnswer.TOO_MANY


def test_a_lower_limit_refuses_the_next_session_and_keeps_those_that_live() -> None:
    counts = LiveCounts(1)
    for _ in range(3):
        counts.enter("a", 3)
    assert counts.enter("a", 1) is CountAnswer.TOO_MANY
    counts.leave("a")
    counts.leave("a")
    assert counts.enter("a", 1) is CountAnswer.TOO_MANY
    counts.leave("a")
    assert counts.enter("a", 1) is CountAnswer.ENTERED


@pytest.mark.parametrize("capacity", [0, 1.5, None])
def test_a_wrong_capacity_is_refused(capacity: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^LiveCounts\(capacity=.*\) must be a whole number of at least 1$"):
        LiveCounts(capacity)


def test_a_table_full_of_one_prefix_admits_strangers_until_the_prefix_has_left() -> None:
    counts = LiveCounts(1_000, flood_groups)
    flood = [bytes([10, number >> 8, number & 255, 1]) for number in range(2_000)]
    entered = [key for key in flood if counts.enter(key, 1) is CountAnswer.ENTERED]
    assert 800 <= len(entered) <= 900, "the free places are for other prefixes"
    strangers = [bytes([number, 1, 1, 1]) for number in range(11, 111)]
    assert {counts.enter(key, 1) for key in strangers} == {CountAnswer.ENTERED}
    for key in entered:
        counts.leave(key)
    assert len(counts) == 100
    assert counts.enter(flood[-1], 1) is CountAnswer.ENTERED
