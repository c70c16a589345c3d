from collections import Counter
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.upstreams.query_queue import PLACE_SECONDS, PLACES, QueryQueue


def drain(queue: QueryQueue, now: float = 0.0) -> list[str]:
    """Give the names whose queries begin now."""
    begun: list[str] = []
    while (host := queue.next(now)) is not None:
        begun.append(host)
    return begun


def filled(max_queries: int, *names: tuple[str, str, bool]) -> QueryQueue:
    queue = QueryQueue(max_queries)
    for host, asker, failed in names:
        queue.add(host, asker, failed=failed)
    return queue


def several(asker: str, count: int, *, failed: bool = False) -> list[tuple[str, str, bool]]:
    return [(f"{asker}{number}", asker, failed) for number in range(count)]


def test_names_of_one_asker_are_queried_in_order() -> None:
    assert drain(filled(8, *several("a", 4))) == ["a0", "a1", "a2", "a3"]


def test_askers_take_turns() -> None:
    queue = filled(16, *several("a", 4), *several("b", 2), *several("c", 1))
    assert drain(queue) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_an_asker_without_a_query_under_way_comes_first() -> None:
    queue = filled(16, *several("a", 4), *several("b", 4))
    assert [queue.next(0.0), queue.next(0.0), queue.next(0.0)] == ["a0", "b0", "a1"]
    queue.add("c0", "c", failed=False)
    assert queue.next(0.0) == "c0"
    queue.ended("b0")
    assert queue.next(0.0) == "b1"


def test_one_asker_has_at_most_half_of_all_queries() -> None:
    queue = filled(16, *several("a", 20))
    assert len(drain(queue)) == 8
    queue.ended("a3")
    assert drain(queue) == ["a8"]


def test_a_quarter_is_left_to_askers_without_a_query() -> None:
    queue = filled(16, *several("a", 20), *several("b", 20))
    assert len(drain(queue)) == 12
    for number in range(6):
        queue.add(f"c{number}", f"c{number}", failed=False)
    assert drain(queue) == ["c0", "c1", "c2", "c3"]
    assert len(queue) == 16
    queue.ended("a0")
    assert drain(queue) == ["c4"]


def test_names_that_failed_have_every_fourth_turn_and_a_quarter_of_all_queries() -> None:
    fresh = [(f"f{number}", f"f{number}", False) for number in range(40)]
    failed = [(f"x{number}", f"x{number}", True) for number in range(40)]
    begun = drain(filled(32, *fresh, *failed))
    assert len(begun) == 32
    assert [host[0] for host in begun[:8]] == ["x", "f", "f", "f", "x", "f", "f", "f"]
    assert Counter(host[0] for host in begun) == {"f": 24, "x": 8}
    queue = filled(32, *failed)
    assert len(drain(queue)) == 8
    queue.ended("x3")
    assert drain(queue) == ["x8"]


def test_a_query_gives_its_place_back_when_it_ends_or_after_a_quarter_of_a_second() -> None:
    names = [(f"n{number}", f"n{number}", False) for number in range(3 * PLACES)]
    queue = filled(512, *names)
    assert queue.due() == inf
    assert len(drain(queue, 10.0)) == PLACES
    assert queue.due() == 10.0 + PLACE_SECONDS
    queue.ended("n7")
    assert drain(queue, 10.1) == [f"n{PLACES}"]
    assert drain(queue, 10.0 + PLACE_SECONDS - 0.01) == []
    assert len(drain(queue, 10.0 + PLACE_SECONDS)) == PLACES - 1
    assert queue.due() == 10.1 + PLACE_SECONDS


@pytest.mark.parametrize("max_queries", [1, 2, 3, 4, 5])
def test_one_asker_and_names_that_failed_have_at_least_one_query_and_no_more_than_their_part(max_queries: int) -> None:
    assert len(drain(filled(max_queries, *several("a", 9)))) == max(1, max_queries // 2)
    failed = [(f"x{number}", f"x{number}", True) for number in range(9)]
    assert len(drain(filled(max_queries, *failed))) == max(1, max_queries // 4)


def test_an_asker_keeps_its_turn_when_one_of_its_queries_ends() -> None:
    queue = filled(32, *several("a", 6), *several("b", 6))
    assert [queue.next(0.0) for _ in range(6)] == ["a0", "b0", "a1", "b1", "a2", "b2"]
    queue.ended("a1")
    assert queue.next(0.0) == "a3"


def test_nothing_is_due_while_every_place_is_taken_and_no_name_waits() -> None:
    queue = filled(512, *[(f"n{number}", f"n{number}", False) for number in range(PLACES)])
    assert len(drain(queue)) == PLACES
    assert queue.due() == inf


def test_nothing_is_due_while_every_query_is_under_way() -> None:
    queue = filled(4, *[(f"n{number}", f"n{number}", False) for number in range(5)])
    assert len(drain(queue)) == 4
    assert queue.due() == inf


@pytest.mark.parametrize("max_queries", [1, 2, 3])
def test_even_the_smallest_queue_queries_every_name(max_queries: int) -> None:
    queue = filled(max_queries, *several("a", 3), *several("x", 3, failed=True))
    begun = []
    while hosts := drain(queue):
        assert len(queue) <= max_queries
        begun += hosts
        queue.ended(hosts[0])
        for host in hosts[1:]:
            queue.ended(host)
    assert len(begun) == 6


@examples(300)
@given(
    st.integers(1, 12),
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()) | st.integers(0, 11) | st.floats(0, 0.5), max_size=60),
)
def test_every_name_is_queried_once_and_within_the_bounds(max_queries: int, steps: list[object]) -> None:
    queue, now, added, begun = QueryQueue(max_queries), 0.0, 0, list[str]()
    under_way: list[str] = []

    def begin() -> None:
        hosts = drain(queue, now)
        begun.extend(hosts)
        under_way.extend(hosts)
        assert len(queue) == len(under_way) <= max_queries
        assert queue.due() > now

    for step in steps:
        if isinstance(step, tuple):
            asker, failed = step
            queue.add(f"{asker}{added}", asker, failed=failed)
            added += 1
        elif isinstance(step, float):
            now += step
        elif under_way:
            queue.ended(under_way.pop(int(str(step)) % len(under_way)))
        begin()
    for _ in range(2 * added):
        if under_way:
            queue.ended(under_way.pop(0))
        now += 1
        begin()
    assert len(begun) == len(set(begun)) == added
    while under_way:
        queue.ended(under_way.pop())
    assert not queue._fresh.under_way
    assert not queue._failed.under_way
