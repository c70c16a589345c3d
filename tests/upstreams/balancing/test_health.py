from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.upstreams.balancing.health import MAX_PAUSE_SECONDS, Health


def health(max_failures: int = 2, slow_seconds: float = 10.0, *, checked: bool = False) -> Health:
    """Make a health whose pauses are 1, 2, 4, ... s."""
    return Health(max_failures, slow_seconds, lambda: 1.0, checked=checked)


def ejected(*, checked: bool = False) -> Health:
    """Make one that is ejected from 0 to 1 s."""
    made = health(1, checked=checked)
    assert made.connect_failed(0)
    return made


def test_it_begins_well_with_its_whole_share() -> None:
    new = health()
    assert (new.state(0), new.share(0), new.changes_at(0)) == ("well", 1.0, inf)


def test_failures_in_a_row_eject_it_for_a_pause() -> None:
    member = health(3)
    assert [member.connect_failed(0) for _ in range(3)] == [False, False, True]
    assert (member.state(0.9), member.share(0.9), member.changes_at(0.9)) == ("ejected", 0.0, 1.0)


def test_a_connect_between_two_failures_keeps_it_well() -> None:
    member = health(2)
    for _ in range(3):
        assert not member.connect_failed(0)
        assert not member.connected(0)
    assert member.state(0) == "well"


def test_connects_and_checks_are_counted_apart() -> None:
    member = health(2, checked=True)
    assert not member.check_failed(0)
    assert not member.connect_failed(0)
    assert not member.connected(0)  # a server that accepts and does not answer
    assert member.check_failed(1)


@pytest.mark.parametrize(("now", "share"), [(1.0, 0.1), (1.5, 0.1), (3.0, 0.2), (6.0, 0.5), (10.9, 0.99), (11.0, 1.0)])
def test_behind_its_pause_its_share_grows_from_a_tenth_to_all(now: float, share: float) -> None:
    assert ejected().share(now) == pytest.approx(share)


def test_behind_its_pause_it_is_returning_and_then_well() -> None:
    member = ejected()
    assert [member.state(now) for now in (0.99, 1.0, 10.9, 11.0)] == ["ejected", "returning", "returning", "well"]
    assert member.changes_at(11.0) == inf


def test_while_its_share_grows_the_next_change_is_a_twentieth_of_the_time_away() -> None:
    assert ejected().changes_at(2.0) == 2.5


def test_one_failure_while_it_returns_ejects_it_for_twice_as_long() -> None:
    member, now = ejected(), 0.0
    for pause in (1, 2, 4, 8, 16, 32, 60, 60):
        assert member.changes_at(now) == pytest.approx(now + pause)
        now += pause
        assert member.connect_failed(now)


def test_a_failure_long_after_its_return_begins_with_a_short_pause() -> None:
    member = ejected()
    assert member.connect_failed(1)  # 2 s more
    assert member.connect_failed(14)
    assert member.changes_at(14) == 15


def test_without_slow_seconds_it_returns_at_once_and_its_pauses_still_grow() -> None:
    member = health(1, 0.0)
    member.connect_failed(0)
    assert (member.share(1), member.state(1), member.state(2)) == (1.0, "returning", "well")
    assert member.connect_failed(1.5)
    assert member.changes_at(1.5) == 3.5


def test_failures_during_its_pause_do_not_make_it_longer() -> None:
    member = ejected()
    assert not any(member.connect_failed(0.5) for _ in range(20))
    assert member.share(1.0) > 0


def test_a_connect_during_its_pause_brings_it_back() -> None:
    member = ejected()
    assert member.connected(0.5)
    assert (member.state(0.5), member.share(0.5)) == ("returning", 0.1)


def test_where_checks_are_made_it_returns_with_a_check_and_not_before() -> None:
    member = ejected(checked=True)
    assert not member.connected(0.5)
    assert (member.state(100), member.changes_at(100)) == ("ejected", inf)
    assert member.check_passed(100)
    assert (member.state(100), member.share(100)) == ("returning", 0.1)


def test_a_check_that_fails_behind_the_pause_doubles_it() -> None:
    member = ejected(checked=True)
    assert member.check_at(0, 5) == 1
    assert not member.check_failed(1)
    assert member.check_at(1, 5) == 3
    assert not member.check_failed(2)  # during the pause
    assert member.check_at(2, 5) == 3


def test_a_member_that_is_well_is_checked_after_the_interval() -> None:
    assert health(checked=True).check_at(7, 5) == 12


@examples(200)
@given(
    st.integers(1, 4),
    st.sampled_from([0.0, 0.5, 10.0]),
    st.booleans(),
    st.lists(st.tuples(st.floats(0, 70), st.sampled_from(["connected", "connect_failed", "check_passed",
                                                          "check_failed"])), max_size=40),
)  # fmt: skip
def test_whatever_happens_its_share_follows_its_state_and_it_comes_back(
    max_failures: int, slow_seconds: float, checked: bool, events: list[tuple[float, str]]
) -> None:
    member, now = health(max_failures, slow_seconds, checked=checked), 0.0
    for pause, event in events:
        now += pause
        before = member.state(now)
        turned = getattr(member, event)(now)
        after, share = member.state(now), member.share(now)
        assert (after == "ejected") == (share == 0)
        assert after != "well" or share == 1
        assert share == 0 or 0.1 <= share <= 1
        assert turned == ((before == "ejected") != (after == "ejected"))
        assert member.changes_at(now) > now
        if after == "ejected":
            assert member.check_at(now, 1) <= now + MAX_PAUSE_SECONDS
    if checked:
        member.check_passed(now)
    assert member.share(now + MAX_PAUSE_SECONDS + slow_seconds) == 1
