from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.strategies import examples, keys
from trioedge.upstreams.pool.quota import Quota

TOTAL = 10


def test_a_late_key_gets_the_units_that_are_left_and_then_returned_ones() -> None:
    quota: Quota[str] = Quota(10)
    assert list(quota.ask("a", 8)) == ["a"]
    assert list(quota.ask("b", 5)) == ["b"]
    assert list(quota.ask("c", 1)) == []
    assert [quota.granted(each) for each in "abc"] == [8, 2, 0]
    assert len(quota) == 2
    assert list(quota.ask("a", 4)) == ["a", "b", "c"]
    assert [quota.granted(each) for each in "abc"] == [4, 5, 1]
    assert len(quota) == 0


def test_a_key_that_repeats_its_request_keeps_its_units_and_its_place() -> None:
    quota: Quota[str] = Quota(3)
    assert list(quota.ask("a", 2)) == ["a"]
    assert list(quota.ask("b", 2)) == ["b"]
    assert list(quota.ask("c", 2)) == []
    assert list(quota.ask("b", 2)) == []
    assert list(quota.ask("a", 0)) == ["a", "b", "c"]
    assert [quota.granted(each) for each in "abc"] == [0, 2, 1]


@examples(100)
@given(wanted=st.integers(0, 30))
def test_a_single_key_gets_its_request_up_to_the_total(wanted: int) -> None:
    quota: Quota[str] = Quota(TOTAL)
    list(quota.ask("a", wanted))
    assert quota.granted("a") == min(wanted, TOTAL)


class QuotaMachine(RuleBasedStateMachine):
    """Any requests in any order: no unit is lost, and none is idle while a key is short."""

    def __init__(self) -> None:
        super().__init__()
        self.quota: Quota[str] = Quota(TOTAL)
        self.wanted: dict[str, int] = {}

    @rule(key=keys, wanted=st.integers(0, 2 * TOTAL))
    def ask(self, key: str, wanted: int) -> None:
        before = {each: self.quota.granted(each) for each in "abc"}
        self.wanted[key] = wanted
        told = list(self.quota.ask(key, wanted))
        assert len(told) == len(set(told))
        changed = {each for each in "abc" if self.quota.granted(each) != before[each]}
        assert changed == set(told)
        assert all(self.quota.granted(each) > before[each] for each in changed - {key})

    @invariant()
    def as_many_units_are_granted_as_possible(self) -> None:
        granted = {each: self.quota.granted(each) for each in "abc"}
        assert sum(granted.values()) == min(TOTAL, sum(self.wanted.values()))
        assert all(0 <= granted[each] <= self.wanted.get(each, 0) for each in granted)
        assert len(self.quota) == sum(granted[each] < wanted for each, wanted in self.wanted.items())


QuotaMachine.TestCase.settings = examples(60)
TestQuota = QuotaMachine.TestCase
