from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.strategies import examples, keys
from trioedge.upstreams.quota import Quota

MOST = 10


def test_who_comes_late_has_what_is_left_and_then_what_is_given_back() -> None:
    quota: Quota[str] = Quota(10)
    assert list(quota.ask("a", 8)) == ["a"]
    assert list(quota.ask("b", 5)) == ["b"]
    assert list(quota.ask("c", 1)) == []
    assert [quota.granted(each) for each in "abc"] == [8, 2, 0]
    assert len(quota) == 2
    assert list(quota.ask("a", 4)) == ["a", "b", "c"]
    assert [quota.granted(each) for each in "abc"] == [4, 5, 1]
    assert len(quota) == 0


def test_who_asks_again_for_the_same_keeps_it_and_its_place() -> None:
    quota: Quota[str] = Quota(3)
    assert list(quota.ask("a", 2)) == ["a"]
    assert list(quota.ask("b", 2)) == ["b"]
    assert list(quota.ask("c", 2)) == []
    assert list(quota.ask("b", 2)) == []
    assert list(quota.ask("a", 0)) == ["a", "b", "c"]
    assert [quota.granted(each) for each in "abc"] == [0, 2, 1]


@given(wanted=st.integers(0, 30))
def test_one_alone_has_all_that_there_is(wanted: int) -> None:
    quota: Quota[str] = Quota(MOST)
    list(quota.ask("a", wanted))
    assert quota.granted("a") == min(wanted, MOST)


class QuotaMachine(RuleBasedStateMachine):
    """Whatever is asked for in whatever order: nothing is lost, and nothing lies idle while somebody is short."""

    def __init__(self) -> None:
        super().__init__()
        self.quota: Quota[str] = Quota(MOST)
        self.wanted: dict[str, int] = {}

    @rule(key=keys, wanted=st.integers(0, 2 * MOST))
    def ask(self, key: str, wanted: int) -> None:
        before = {each: self.quota.granted(each) for each in "abc"}
        self.wanted[key] = wanted
        told = list(self.quota.ask(key, wanted))
        assert len(told) == len(set(told))
        changed = {each for each in "abc" if self.quota.granted(each) != before[each]}
        assert changed == set(told)
        assert all(self.quota.granted(each) > before[each] for each in changed - {key})

    @invariant()
    def it_is_all_shared_out(self) -> None:
        granted = {each: self.quota.granted(each) for each in "abc"}
        assert sum(granted.values()) == min(MOST, sum(self.wanted.values()))
        assert all(0 <= granted[each] <= self.wanted.get(each, 0) for each in granted)
        assert len(self.quota) == sum(granted[each] < wanted for each, wanted in self.wanted.items())


QuotaMachine.TestCase.settings = examples(60)
TestQuota = QuotaMachine.TestCase
