import time

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.strategies import examples, keys
from trioedge.structures.dirty_set import DirtySet


class DirtySetMachine(RuleBasedStateMachine):
    """A model in lists, and versions: whoever finishes a key has seen it as it was when it was taken."""

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

    @rule(most=st.integers(0, 4))
    def take(self, most: int) -> None:
        expected, self.waiting = self.waiting[:most], self.waiting[most:]
        given = self.dirty.take(most)
        assert given == expected
        assert not self.taken.keys() & set(given), "one key, taken twice at once"
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
    def who_is_in_it(self) -> None:
        assert [key in self.dirty for key in "abc"] == [key in self.waiting or key in self.taken for key in "abc"]

    @invariant()
    def as_many_wait_as_in_the_model(self) -> None:
        assert len(self.dirty) == len(self.waiting)
        assert bool(self.dirty) == bool(self.waiting)

    def teardown(self) -> None:
        """Whoever goes on until nothing waits has seen the last change of every key."""
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
def test_finishing_what_was_not_taken_is_a_fault(finish: object) -> None:
    dirty: DirtySet[str] = DirtySet()
    dirty.mark("a")
    for key in ("a", "b"):
        with pytest.raises(KeyError):
            finish(dirty, key)  # type: ignore[operator]
    assert dirty.take(9) == ["a"]


def test_what_fails_lets_the_others_go_first() -> None:
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


def test_a_long_queue_is_no_slower_for_each_key() -> None:
    """A plain dict finds its first key past all that were deleted before it: ten times as slow, for this many."""
    dirty: DirtySet[int] = DirtySet()
    for key in range(100_000):
        dirty.mark(key)
    begun = time.process_time()
    while dirty:
        dirty.done(*dirty.take(1))
    assert time.process_time() - begun < 1
