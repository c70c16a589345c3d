"""Places that one group of keys cannot take all: a model, and floods."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.structures.places import WEIGHTS, FairPlaces, no_groups

Key = tuple[int, int, int]
"""A key of three levels; its groups are its first two numbers, its first, and all keys."""


def groups(key: object) -> tuple[object, ...]:
    assert isinstance(key, tuple)
    return ("narrow", *key[:2]), ("middle", key[0]), ("wide",)


class Table:
    def __init__(self, capacity: int, groups_of=groups) -> None:  # type: ignore[no-untyped-def]
        self.places = FairPlaces(capacity, groups_of)
        self.keys: list[object] = []

    def take(self, key: object) -> bool:
        taken = self.places.take(key, len(self.keys))
        if taken:
            self.keys.append(key)
        return taken

    def give_back(self, key: object) -> None:
        self.keys.remove(key)
        self.places.give_back(key)


small = st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 9))


@examples(200)
@given(st.integers(1, 12), st.lists(st.tuples(st.booleans(), small), max_size=60))
def test_a_place_is_refused_exactly_at_capacity_or_when_a_group_has_its_share(
    capacity: int, events: list[tuple[bool, Key]]
) -> None:
    table, upper = Table(capacity), Counter[object]()
    counted: set[object] = set()
    for comes, key in events:
        if not comes:
            if key in table.keys:
                table.give_back(key)
                upper.subtract(groups(key) if key in counted else ())
                counted.discard(key)
            continue
        if key in table.keys:
            continue
        size = len(table.keys)
        free = capacity - size
        calm = size < capacity // 2
        shares = all(upper[group] < weight * free for group, weight in zip(groups(key), WEIGHTS, strict=True))
        assert table.take(key) is (calm or (free > 0 and shares))
        if key in table.keys and not calm:
            upper.update(groups(key))
            counted.add(key)
        assert len(table.keys) <= capacity
    for taken in list(table.keys):
        table.give_back(taken)
    assert not table.places._groups
    assert not table.places._taken


@pytest.mark.parametrize(
    ("flood", "filled"),
    [
        ([(0, 0, number) for number in range(2_000)], 750),
        ([(0, number, 0) for number in range(2_000)], 834),
        ([(number, 0, 0) for number in range(2_000)], 900),
    ],
    ids=["a narrow group", "a middle group", "a wide group"],
)
def test_a_flood_of_one_group_leaves_places_to_strangers(flood: list[Key], filled: int) -> None:
    table = Table(1_000)
    assert sum(map(table.take, flood)) == filled
    strangers = [("stranger", number) for number in range(1_000 - filled)]
    table.places._groups_of = no_groups
    assert all(map(table.take, strangers))
    assert not table.take(("stranger", "late"))


def test_keys_without_groups_may_fill_the_table() -> None:
    table = Table(10, no_groups)
    assert sum(map(table.take, range(20))) == 10


def test_the_groups_may_be_those_of_another_object() -> None:
    places = FairPlaces(4, groups)
    assert all(places.take(name, size, (0, 0, 0)) for size, name in enumerate("abc"))
    assert not places.take("d", 3, (0, 0, 1))
    assert places.take("d", 3, (0, 0, 1)) is places.take("e", 4, (1, 1, 1)) is False
    places.give_back("c")
    assert places.take("d", 2, (0, 0, 1))
