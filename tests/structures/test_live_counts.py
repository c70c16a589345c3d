from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.strategies import examples, keys
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
    def counts_are_the_models(self) -> None:
        assert {key: self.counts[key] for key in "abc"} == {key: self.live[key] for key in "abc"}

    @invariant()
    def a_key_without_sessions_is_not_remembered(self) -> None:
        assert len(self.counts) == len(+self.live)


TestLiveCounts = LiveCountsMachine.TestCase
TestLiveCounts.settings = examples(50, steps=30)


def test_leaving_without_having_entered_is_a_fault_not_a_gift() -> None:
    counts = LiveCounts(1)
    with pytest.raises(KeyError):
        counts.leave("a")
    assert counts["a"] == 0
