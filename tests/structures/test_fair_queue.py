from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples, keys
from trioedge.structures.fair_queue import FairQueue


def drained(turns: FairQueue[str]) -> list[str]:
    return list(iter(turns.take, None))


def test_sources_take_turns_and_items_of_one_keep_their_order() -> None:
    turns: FairQueue[str] = FairQueue(10)
    for item in ("a1", "a2", "a3", "b1", "c1", "c2"):
        assert turns.put(item[0], item) is None
    assert drained(turns) == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert len(turns) == 0


def test_a_full_queue_drops_the_latest_item_of_the_largest_source_and_none_for_that_source() -> None:
    turns: FairQueue[str] = FairQueue(3)
    for item in ("a1", "a2", "a3"):
        turns.put("a", item)
    assert turns.put("a", "a4") == "a4"
    assert turns.put("b", "b1") == "a3"
    assert turns.put("b", "b2") == "b2", "both would have two"
    assert drained(turns) == ["a1", "b1", "a2"]


def test_a_removed_item_is_not_taken_and_a_second_removal_does_nothing() -> None:
    turns: FairQueue[str] = FairQueue(3)
    turns.put("a", "a1")
    turns.put("a", "a2")
    for _ in range(2):
        turns.remove("a", "a1")
        assert len(turns) == 1
    turns.remove("b", "b1")
    assert drained(turns) == ["a2"]


@examples(100)
@given(st.integers(1, 6), st.lists(st.tuples(st.booleans(), keys), max_size=40))
def test_no_item_is_lost_and_none_waits_for_more_than_one_turn_of_each_other_source(
    capacity: int, events: list[tuple[bool, str]]
) -> None:
    turns: FairQueue[tuple[str, int]] = FairQueue(capacity)
    waiting: list[tuple[str, int]] = []
    for number, (comes, source) in enumerate(events):
        if comes:
            item = source, number
            waiting.append(item)
            dropped = turns.put(source, item)
            if dropped is not None:
                assert len(waiting) == capacity + 1
                counts = Counter(each for each, _ in waiting)
                assert counts[dropped[0]] == max(counts.values())
                waiting.remove(dropped)
        else:
            taken = turns.take()
            assert (taken is None) is (not waiting)
            if taken is not None:
                assert taken == next(each for each in waiting if each[0] == taken[0])
                waiting.remove(taken)
        assert len(turns) == len(waiting) <= capacity
