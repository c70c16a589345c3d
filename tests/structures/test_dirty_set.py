import time

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.strategies import examples, keys
from trioedge.structures.dirty_set import DirtySet


class DirtySetMachine(RuleBasedStateMachine):
    """A model in lists, with versions: a worker sees the version that a key had when it was taken."""

    def __init__(self) -> None:
        super().__init__()
        self.dirty: DirtySet[str] = DirtySet()
        self.waiting: list[str] = []
        self.taken: dict[str, int] = {}
        self.again_after: set[str] = set()
        self.version = dict.fromkeys("abc", 0)
        self.seen = dict.fromkeys("abc", 0)

    @rule(key=keys)
    def mark(self, key: str) -> None:
        self.version[key] += 1
        self.dirty.mark(key)
        if key in self.taken:
            self.again_after.add(key)
        elif key not in self.waiting:
            self.waiting.append(key)

    @rule(max_keys=st.integers(0, 4))
    def take(self, max_keys: int) -> None:
        expected, self.waiting = self.waiting[:max_keys], self.waiting[max_keys:]
        given = self.dirty.take(max_keys)
        assert given == expected
        assert not self.taken.keys() & set(given), "no key is taken twice at the same time"
        self.taken |= {key: self.version[key] for key in given}

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), works=st.booleans())
    def finish(self, data: st.DataObject, works: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.taken)))
        version = self.taken.pop(key)
        marked = key in self.again_after
        self.again_after.discard(key)
        if works:
            self.seen[key] = version
            self.dirty.done(key)
        else:
            self.dirty.again(key)
        if marked or not works:
            self.waiting.append(key)

    @rule(key=keys)
    def drop(self, key: str) -> None:
        waits = key in self.waiting
        assert self.dirty.drop(key) is waits
        if waits:
            self.waiting.remove(key)
            self.seen[key] = self.version[key]

    @invariant()
    def it_contains_the_keys_that_are_waiting_or_taken(self) -> None:
        assert [key in self.dirty for key in "abc"] == [key in self.waiting or key in self.taken for key in "abc"]

    @invariant()
    def its_length_is_the_number_of_waiting_keys(self) -> None:
        assert len(self.dirty) == len(self.waiting)
        assert bool(self.dirty) == bool(self.waiting)

    def teardown(self) -> None:
        """A worker that goes on until no key waits has seen the last version of every key."""
        for key in self.taken:
            self.dirty.done(key)
            self.seen[key] = self.taken[key]
        while self.dirty:
            for key in self.dirty.take(2):
                self.seen[key] = self.version[key]
                self.dirty.done(key)
        assert self.seen == self.version


TestDirtySet = DirtySetMachine.TestCase
TestDirtySet.settings = examples(30, steps=25)


@pytest.mark.parametrize("finish", [DirtySet.done, DirtySet.again])
def test_finishing_a_key_that_was_not_taken_raises(finish: object) -> None:
    dirty: DirtySet[str] = DirtySet()
    dirty.mark("a")
    for key in ("a", "b"):
        with pytest.raises(KeyError):
            finish(dirty, key)  # type: ignore[operator]
    assert dirty.take(9) == ["a"]


def test_a_key_that_failed_waits_behind_the_others() -> None:
    dirty: DirtySet[str] = DirtySet()
    for key in "abc":
        dirty.mark(key)
    dirty.take(1)
    dirty.mark("a")
    dirty.again("a")
    assert dirty.take(9) == ["b", "c", "a"]
    for key in "abc":
        dirty.done(key)
    assert dirty.take(9) == []


def test_a_key_costs_no_more_in_a_long_queue() -> None:
    """In a plain dict the search for the first key passes all deleted ones: ten times as slow with so many keys."""
    dirty: DirtySet[int] = DirtySet()
    for key in range(100_000):
        dirty.mark(key)
    begun = time.process_time()
    while dirty:
        dirty.done(*dirty.take(1))
    assert time.process_time() - begun < 1
