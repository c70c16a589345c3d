import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioedge_nft.refusals import Refusals

A, B, C = b"aaaa", b"bbbb", b"cccc"


@pytest.mark.parametrize(
    ("refused", "due"),
    [
        ([(A, 0), (A, 1)], []),
        ([(A, 0), (A, 1), (A, 2)], [(A, 2)]),
        ([(A, 0), (A, 1), (A, 10)], [(A, 10)]),  # at the end of the window
        ([(A, 0), (A, 1), (A, 10.1), (A, 11), (A, 12)], [(A, 12)]),  # another window
        ([(A, 0), (B, 1), (A, 2), (B, 3), (B, 4)], [(B, 4)]),
        ([(A, 0), (A, 1), (A, 2), (A, 3)], [(A, 2), (A, 3)]),  # due until it is forgotten
    ],
)
def test_a_source_is_due_with_three_refusals_in_ten_seconds(
    refused: list[tuple[bytes, float]], due: list[tuple[bytes, float]]
) -> None:
    refusals = Refusals(3, 10, 100)
    assert [(source, now) for source, now in refused if refusals.count(source, now)] == due


def test_a_limit_of_one_is_due_at_once() -> None:
    assert Refusals(1, 10, 100).count(A, 0)


def test_a_source_that_is_forgotten_begins_anew() -> None:
    refusals = Refusals(2, 10, 100)
    assert [refusals.count(A, 0), refusals.count(A, 1)] == [False, True]
    refusals.forget([A, B])
    assert [refusals.count(A, 2), refusals.count(A, 3)] == [False, True]


def test_beyond_the_capacity_the_oldest_window_is_forgotten() -> None:
    refusals = Refusals(2, 10, 2)
    for source in (A, B, C):
        refusals.count(source, 0)
    assert len(refusals) == 2
    assert [refusals.count(source, 1) for source in (B, C, A)] == [True, True, False]


def test_a_window_that_begins_anew_is_the_youngest() -> None:
    refusals = Refusals(2, 10, 2)
    for source, now in ((A, 0), (B, 1), (A, 20), (C, 21)):
        refusals.count(source, now)
    assert refusals.count(A, 22)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8))), st.integers(1, 4), st.integers(1, 3))
def test_a_source_is_due_only_if_it_was_refused_so_often(
    steps: list[tuple[int, int]], limit: int, capacity: int
) -> None:
    refusals, now = Refusals(limit, 10, capacity), 0
    times: dict[int, list[int]] = {}
    for number, later in steps:
        now += later
        times.setdefault(number, []).append(now)
        if refusals.count(bytes([number]), now):
            assert len([at for at in times[number] if now - at <= 10]) >= limit
        assert len(refusals) <= capacity


@given(st.lists(st.integers(1, 30), min_size=7, max_size=30))
def test_a_source_with_twice_the_limit_in_half_a_window_is_always_due(waits: list[int]) -> None:
    refusals, now = Refusals(4, 10, 1), 0.0
    for wait in waits:
        now += wait
        found = [refusals.count(A, now + number / 2) for number in range(8)]
        now += 4
        assert any(found)
