from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples, keys
from tests.support.shared_memory import SALT, ScriptedLock, scripted_locks, stripes
from trioedge.errors import ConfigurationError
from trioedge.structures.live_counts import ENTERED, FULL, TOO_MANY
from trioedge.structures.shared.keys import digest_of
from trioedge.structures.shared.rows import WAYS
from trioedge.structures.shared.shared_counts import SharedCounts, row_bytes, zero_column

COLUMNS = 4


def make_memory(rows: int = 64) -> memoryview:
    return memoryview(bytearray(row_bytes(COLUMNS) * rows))


def make_counts(
    memory: memoryview, column: int, capacity: int = 32, locks: list[ScriptedLock] | None = None
) -> SharedCounts:
    return SharedCounts(
        memory, capacity=capacity, columns=COLUMNS, column=column, digest=digest_of("counts", SALT),
        stripes=stripes(locks or scripted_locks(), column),
    )  # fmt: skip


moves = st.one_of(
    st.tuples(st.just("enter"), st.integers(0, COLUMNS - 1), keys, st.integers(1, 4)),
    st.tuples(st.just("leave"), st.integers(0, COLUMNS - 1), keys, st.just(0)),
    st.tuples(st.just("die"), st.integers(0, COLUMNS - 1), st.just(""), st.just(0)),
)


@examples(300)
@given(st.lists(moves, max_size=80), st.booleans())
def test_several_processes_count_as_one_and_a_dead_one_counts_nothing(
    schedule: list[tuple[str, int, str, int]], unlocked: bool
) -> None:
    locks, memory = scripted_locks(), make_memory()
    counts = [make_counts(memory, column, locks=locks) for column in range(COLUMNS)]
    live: Counter[tuple[int, str]] = Counter()
    for what, column, key, limit in schedule:
        for lock in locks:
            lock.held = unlocked
        if what == "die":
            zero_column(memory, COLUMNS, column)
            counts[column] = make_counts(memory, column, locks=locks)
            for gone in [one for one in live if one[0] == column]:
                del live[gone]
        elif what == "leave":
            if live[column, key]:
                live[column, key] -= 1
                counts[column].leave(key)
            else:
                with pytest.raises(KeyError):
                    counts[column].leave(key)
        else:
            total = sum(live[other, key] for other in range(COLUMNS))
            answer = counts[column].enter(key, limit)
            assert answer is (TOO_MANY if total >= limit else ENTERED)
            live[column, key] += answer is ENTERED
        for each in "abc":
            assert {one.total(each) for one in counts} == {sum(live[other, each] for other in range(COLUMNS))}
        for other in range(COLUMNS):
            assert len(counts[other]) == sum(live[other, each] > 0 for each in "abc")


def test_a_bucket_of_live_keys_is_full_for_a_new_one_until_one_has_no_session() -> None:
    memory = make_memory(WAYS)
    one, other = make_counts(memory, 0, 1), make_counts(memory, 3, 1)
    for key in range(WAYS):
        assert (one if key % 2 else other).enter(key, 5) is ENTERED
    assert one.enter("new", 5) is FULL
    assert one.put("whole", 7) == 7, "only its own"
    assert other.enter(1, 5) is ENTERED
    one.leave(1)
    assert one.enter("new", 5) is FULL
    other.leave(1)
    assert one.enter("new", 5) is ENTERED
    assert one.total("whole") == 0


def test_a_key_without_a_number_as_its_limit_is_counted_all_the_same() -> None:
    memory = make_memory()
    one, other = make_counts(memory, 0), make_counts(memory, 1)
    assert one.enter("a", float("inf")) is one.enter("a", 1 << 62) is ENTERED
    assert other.enter("a", 2) is TOO_MANY


def test_a_process_puts_how_many_sessions_it_has_and_gets_those_of_all() -> None:
    memory = make_memory()
    one, other = make_counts(memory, 0), make_counts(memory, 1)
    assert [one.put("edge", 5), other.put("edge", 2), one.put("edge", 1), one.put("edge", 0)] == [5, 7, 3, 2]
    assert one.total("edge") == other.total("edge") == 2


def test_a_process_puts_its_sessions_once_though_more_keys_come_than_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trioedge.structures.shared.rows.KNOWN", 4)
    counts = make_counts(make_memory(), 0)
    found = []
    for number in (5, 5, 9, 0):
        found.append(counts.put(None, number))
        for key in range(6):
            counts.add(key)
            counts.remove(key)
    assert found == [5, 5, 9, 0]
    assert len(counts) == 0


def test_a_key_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="means nothing to other workers"):
        make_counts(make_memory(), 0).enter(object(), 1)


class Overlapping:
    """The counts as a process reads them that is stopped behind each look at a sum, while `meanwhile` runs."""

    def __init__(self, counts: memoryview, meanwhile: Callable[[], object]) -> None:
        self._counts, self._meanwhile = counts, meanwhile

    def __getitem__(self, at: Any) -> Any:
        found = self._counts[at]
        if isinstance(at, slice):
            found = memoryview(bytes(found)).cast("i")  # as it is now
            self._meanwhile()
        return found

    def __setitem__(self, at: int, count: int) -> None:
        self._counts[at] = count


@examples(50)
@given(st.integers(1, 6))
def test_sessions_that_enter_at_once_without_a_lock_are_over_the_limit_by_one_for_each_further_process(
    limit: int,
) -> None:
    locks, memory = scripted_locks(), make_memory()
    counts = [make_counts(memory, column, locks=locks) for column in range(COLUMNS)]
    counts[0].enter("a", limit)
    for lock in locks:
        lock.held = True  # a process was killed
    for number in range(COLUMNS - 1, 0, -1):  # process 0 is stopped while 1 enters, which is stopped while 2 …

        def meanwhile(behind: int = number) -> None:
            counts[behind].enter("a", limit)

        counts[number - 1]._numbers = Overlapping(counts[number - 1]._numbers, meanwhile)  # type: ignore[assignment]
    for _ in range(2 * limit):
        counts[0].enter("a", limit)
    total = make_counts(memory, 0).total("a")
    assert limit <= total <= limit + COLUMNS - 1


def test_a_row_that_another_key_has_taken_without_a_lock_gives_back_what_it_counted() -> None:
    memory = make_memory(WAYS)
    one, other = make_counts(memory, 0, 1), make_counts(memory, 1, 1)
    one.enter("slow", 5)
    one._digests[one._rows.place("slow").row] = other._rows.place("fast").digest
    assert other.enter("fast", 5) is ENTERED
    assert other.total("fast") == 2, "slow's session is counted for fast"
    assert one.enter("slow", 5) is ENTERED, "and takes a row of its own with the next session"
    assert (one.total("slow"), other.total("fast")) == (2, 1)
    one.leave("slow")
    one.leave("slow")
    other.leave("fast")
    assert (one.total("slow"), other.total("fast")) == (0, 0)


def test_a_session_whose_row_another_key_has_taken_leaves_that_row() -> None:
    memory = make_memory(WAYS)
    one, other = make_counts(memory, 0, 1), make_counts(memory, 1, 1)
    one.enter("slow", 5)
    one._digests[one._rows.place("slow").row] = other._rows.place("fast").digest
    other.enter("fast", 5)
    one.leave("slow")
    assert other.total("fast") == 1


def test_a_key_that_is_added_takes_no_lock_while_it_has_sessions_of_this_process() -> None:
    locks, memory = scripted_locks(), make_memory()
    one, other = make_counts(memory, 0, locks=locks), make_counts(memory, 1, locks=locks)
    one.add("a")
    for lock in locks:
        lock.acquire(False)
    one.add("a")
    other.remove("a")
    assert (one.total("a"), other.total("a")) == (2, 2)
    one.remove("a")
    one.remove("a")
    one.remove("a")
    assert other.total("a") == 0


def test_a_key_that_is_added_again_leaves_the_row_that_another_key_has_taken() -> None:
    memory = make_memory()
    one = make_counts(memory, 0)
    one.add("a")
    row = one._rows.find(one._rows.place("a"))
    one._digests[row] = 7
    one.add("a")
    assert one.total("a") == 2
    assert one._numbers[row * COLUMNS] == 0
