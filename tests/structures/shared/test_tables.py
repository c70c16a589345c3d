import pytest

from tests.support.shared_memory import scripted_locks, stripes
from trioedge.errors import ConfigurationError
from trioedge.structures.shared.tables import DIRECTORY_BYTES, PATIENCE, TABLES, Tables


def make_tables(directory: memoryview | None = None, memory: memoryview | None = None, locks: object = None) -> Tables:
    return Tables(
        "gates",
        memoryview(bytearray(DIRECTORY_BYTES)) if directory is None else directory,
        memoryview(bytearray(8 * TABLES)) if memory is None else memory,
        stripes(locks or scripted_locks())[0],  # type: ignore[arg-type]
    )


def test_each_edge_number_and_capacity_has_a_table_of_its_own() -> None:
    tables = make_tables()
    owners = [(1 << 63, 1, 10), (1 << 63, 2, 10), (1 << 63, 1, 11), ((1 << 63) + 1, 1, 10), (1 << 63, 1, 1 << 40)]
    for number, owner in enumerate(owners):
        tables.open(*owner)[0] = number + 1
    assert [tables.open(*owner)[0] for owner in owners] == [1, 2, 3, 4, 5]
    assert list(tables.of(1 << 63)) == [(1, 10), (2, 10), (1, 11), (1, (1 << 32) - 1)]
    assert [memory[0] for memory in tables.taken()] == [1, 2, 3, 4, 5]


def test_another_process_finds_the_same_tables() -> None:
    directory, memory = memoryview(bytearray(DIRECTORY_BYTES)), memoryview(bytearray(8 * TABLES))
    make_tables(directory, memory).open(5, 1, 10)[3] = 9
    other = make_tables(directory, memory)
    assert other.open(5, 2, 10)[3] == 0
    assert other.open(5, 1, 10)[3] == 9


def test_the_table_beyond_the_last_one_is_refused_with_the_remedy() -> None:
    tables = make_tables()
    for number in range(TABLES):
        tables.open(1, number, 1)
    with pytest.raises(ConfigurationError, match="have had 64 shared gates, and no more fit: stop and start"):
        tables.open(1, TABLES, 1)
    assert len(tables.open(1, 0, 1)) == 8


def test_a_lock_that_cannot_be_had_delays_a_new_table_and_no_more() -> None:
    locks = scripted_locks()
    locks[0].held = True
    assert make_tables(locks=locks).open(1, 1, 1)[0] == 0
    assert locks[0].tries == 20 * PATIENCE
