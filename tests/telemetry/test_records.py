from hypothesis import given
from hypothesis import strategies as st

from trioedge.telemetry.records import CAPACITY, RecordReader, Records


def ignore() -> None: ...


def put(records: Records[int], count: int = 1) -> None:
    for number in range(count):
        records.put(number)


def take(reader: RecordReader[int], limit: int = 10 * CAPACITY) -> int:
    return len(reader.take(limit))


def test_there_is_nothing_to_record_without_a_reader() -> None:
    records = Records[int](int)
    assert not records.read
    first, second = records.open(ignore), records.open(ignore)
    assert records.read
    first.close()
    first.close()
    assert records.read
    second.close()
    assert not records.read


def test_a_new_reader_gets_no_record_of_before() -> None:
    records = Records[int](int)
    old = records.open(ignore)
    put(records, 3)
    new = records.open(ignore)
    put(records)
    assert (take(old), take(new)) == (4, 1)
    old.close()
    new.close()
    assert take(records.open(ignore)) == 0


def test_a_record_is_made_when_it_is_taken_and_a_lost_one_is_not_made() -> None:
    made: list[tuple[int, str]] = []

    def make(number: int, text: str) -> int:
        made.append((number, text))
        return number

    records = Records[int](make)
    reader = records.open(ignore)
    for number in range(CAPACITY + 1):
        records.put(number, "x")
    assert made == []
    assert reader.take(2) == [1, 2]
    assert made == [(1, "x"), (2, "x")]


def test_a_slow_reader_loses_the_oldest_and_knows_how_many_and_a_quick_one_loses_none() -> None:
    records = Records[int](int)
    slow, quick = records.open(ignore), records.open(ignore)
    for number in range(CAPACITY + 7):
        records.put(number)
        assert quick.take(5) == [number]
    assert (slow.lost, slow.left) == (7, CAPACITY)  # known before it looks
    assert slow.take(3) == [7, 8, 9]
    assert (slow.lost, quick.lost) == (7, 0)
    assert slow.left == CAPACITY - 3
    assert take(slow) == CAPACITY - 3
    assert slow.left == 0


def test_what_is_recorded_after_a_reader_was_closed_is_no_loss_of_it() -> None:
    records = Records[int](int)
    closed, kept = records.open(ignore), records.open(ignore)
    put(records, CAPACITY + 2)
    closed.close()
    put(records, 2 * CAPACITY)
    assert (closed.lost, kept.lost) == (2, 2 * CAPACITY + 2)
    assert (closed.left, kept.left) == (0, CAPACITY)
    kept.close()
    put(records)
    assert (closed.lost, kept.lost) == (2, 2 * CAPACITY + 2)


def test_a_reader_is_woken_once_by_the_first_record_after_it_has_taken_all() -> None:
    records = Records[int](int)
    woken: list[str] = []
    first, second = records.open(lambda: woken.append("first")), records.open(lambda: woken.append("second"))
    put(records)
    assert woken == []  # they have not looked yet
    take(first)
    put(records, 3)
    assert woken == ["first"]
    take(first, limit=2)
    put(records)
    assert woken == ["first"]  # it has left some
    take(first)
    take(second)
    put(records)
    assert sorted(woken) == ["first", "first", "second"]
    take(first)
    first.close()
    put(records)
    assert sorted(woken) == ["first", "first", "second"]


@given(st.lists(st.one_of(st.integers(1, 400), st.tuples(st.integers(0, 1), st.integers(1, 900))), max_size=30))
def test_every_record_is_taken_in_order_or_counted_as_lost(steps: list[int | tuple[int, int]]) -> None:
    records = Records[int](int)
    readers = [records.open(ignore), records.open(ignore)]
    got: list[list[int]] = [[], []]
    number = 0
    for step in [*steps, (0, 10**6), (1, 10**6)]:
        if isinstance(step, int):
            for _ in range(step):
                records.put(number)
                number += 1
        else:
            got[step[0]] += readers[step[0]].take(step[1])
    for reader, numbers in zip(readers, got, strict=True):
        assert numbers == sorted(set(numbers))
        assert len(numbers) + reader.lost == number
        assert not numbers or numbers[-1] == number - 1
