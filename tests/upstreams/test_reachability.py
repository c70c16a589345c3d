import socket
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.upstreams import reachability
from trioedge.upstreams.reachability import DEAD_SECONDS, Reachability

Where = tuple[int, object]
V4, V6 = socket.AF_INET, socket.AF_INET6


def four(number: int) -> Where:
    return V4, (f"192.0.2.{number}", 80)


def six(number: int) -> Where:
    return V6, (f"2001:db8::{number}", 80)


PAIR = (four(1), four(2))


def test_sessions_spread_over_two_good_addresses() -> None:
    reach = Reachability()
    assert Counter(reach.order(PAIR, 0.0)[0] for _ in range(10)) == {four(1): 5, four(2): 5}


def test_two_destinations_in_turn_spread_each_over_its_own_addresses() -> None:
    reach, firsts = Reachability(), Counter[Where]()
    for _ in range(10):
        for addresses in (PAIR, (four(3), four(4))):
            firsts[reach.order(addresses, 0.0)[0]] += 1
    assert set(firsts.values()) == {5}


def test_two_destinations_with_an_address_in_common_spread_each_over_its_own() -> None:
    reach, firsts = Reachability(), Counter[Where]()
    for _ in range(10):
        for own in (four(1), four(3)):
            firsts[reach.order((own, four(9)), 0.0)[0]] += 1
    assert firsts == {four(1): 5, four(3): 5, four(9): 10}


def test_the_first_session_goes_to_the_first_address_of_the_resolver() -> None:
    addresses = (four(2), four(1), four(3))
    reach = Reachability()
    assert [next(iter(reach.order(addresses, 0.0))) for _ in range(4)] == [*addresses, four(2)]


def test_a_dead_address_is_tried_last_for_a_while() -> None:
    reach = Reachability()
    reach.failed(four(1), 100.0)
    for now in (100.0, 100.0 + DEAD_SECONDS - 0.1):
        for _ in range(2):
            assert list(reach.order(PAIR, now)) == [four(2), four(1)]
    assert Counter(reach.order(PAIR, 100.0 + DEAD_SECONDS)[0] for _ in range(10)) == {four(1): 5, four(2): 5}


def test_an_address_that_answers_is_live_again_at_once() -> None:
    reach = Reachability()
    reach.failed(four(1), 100.0)
    reach.answered("x", four(1))
    assert {reach.order(PAIR, 100.0)[0] for _ in range(2)} == set(PAIR)


def test_the_live_ones_of_three_share_the_sessions_of_the_dead_one() -> None:
    reach = Reachability()
    reach.failed(four(2), 0.0)
    firsts = Counter(reach.order((four(1), four(2), four(3)), 1.0)[0] for _ in range(10))
    assert firsts == {four(1): 5, four(3): 5}


@pytest.mark.parametrize(
    ("addresses", "dead", "order"),
    [
        ([six(1), four(1)], [], [six(1), four(1)]),
        ([six(1), four(1)], [six(1)], [four(1), six(1)]),
        ([four(1), six(1)], [six(1)], [four(1), six(1)]),
        ([six(1), four(1)], [six(1), four(1)], [six(1), four(1)]),
        ([six(1), four(1), six(2), four(2)], [], [six(1), four(1), six(2), four(2)]),
        ([six(1), four(1), six(2), four(2)], [six(1)], [six(2), four(1), four(2), six(1)]),
        ([six(1), four(1), four(2)], [], [six(1), four(1), four(2)]),
        ([four(1)], [four(1)], [four(1)]),
    ],
)
def test_families_keep_their_order_unless_one_has_no_live_address(
    addresses: list[Where], dead: list[Where], order: list[Where]
) -> None:
    reach = Reachability()
    for each in dead:
        reach.failed(each, 0.0)
    assert list(reach.order(addresses, 1.0)) == order


@examples(200)
@given(
    st.lists(st.builds(four, st.integers(1, 9)) | st.builds(six, st.integers(1, 9)), min_size=1, unique=True),
    st.lists(st.builds(four, st.integers(1, 9)) | st.builds(six, st.integers(1, 9))),
    st.integers(1, 4),
)
def test_an_order_has_every_address_once_and_the_dead_ones_last(
    addresses: list[Where], dead: list[Where], turns: int
) -> None:
    reach = Reachability()
    for each in dead:
        reach.failed(each, 0.0)
    for _ in range(turns):
        order = list(reach.order(addresses, 1.0))
    assert sorted(map(repr, order)) == sorted(map(repr, addresses))
    if len(order) > 1:
        assert [each in dead for each in order] == sorted(each in dead for each in order)


def test_a_destination_that_refused_every_retry_is_down_until_it_answers_or_the_time_is_over() -> None:
    reach = Reachability()
    assert not reach.is_down("x", 0.0)
    reach.exhausted("x", 0.0)
    assert reach.is_down("x", DEAD_SECONDS - 0.1)
    assert not reach.is_down("y", 1.0)
    assert not reach.is_down("x", DEAD_SECONDS)
    reach.answered("x", four(1))
    assert not reach.is_down("x", 1.0)


def test_beyond_its_capacity_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "CAPACITY", 3)
    reach = Reachability()
    for number in (1, 2, 1, 3, 4):
        reach.failed(four(number), 0.0)
        reach.exhausted(number, 0.0)
        reach.order((four(number), six(number)), 0.0)
    assert list(reach._turns) == [four(1), four(3), four(4)]
    assert reach.order((four(2), four(1)), 1.0)[0] == four(2)  # the address that failed longest ago
    assert [reach.is_down(number, 1.0) for number in (1, 2, 3, 4)] == [True, False, True, True]
