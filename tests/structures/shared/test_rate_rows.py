"""The columns of processes in the row of a service; what they make of it is in tests/stages/pacing."""

from math import inf

from tests.support.shared_memory import SALT, ScriptedLock, scripted_locks, stripes
from trioedge.structures.shared.keys import digest_of
from trioedge.structures.shared.rate_rows import FIELDS, IDLE, Others, RateRows, Use, rate_row_bytes, zero_rates
from trioedge.structures.shared.rows import NO_KEY

COLUMNS = 4
DOWN, UP = Use(1, 2, 3, 4, 5), Use(6, 7, 8, 9, 10)


class World:
    """A table and the processes that look at it."""

    def __init__(self, rows: int = 16) -> None:
        self.rows = rows
        self.memory = memoryview(bytearray(rows * rate_row_bytes(COLUMNS)))
        self.locks: list[ScriptedLock] = scripted_locks()
        self.marks = memoryview(bytearray(COLUMNS))

    def of(self, column: int, offset: float = 0.0) -> RateRows:
        return RateRows(
            self.memory, columns=COLUMNS, column=column, digest=digest_of("edge", SALT),
            stripes=stripes(self.locks, column, self.marks), offset=offset,
        )  # fmt: skip

    @property
    def digests(self) -> memoryview:
        return self.memory[: 8 * self.rows].cast("Q")

    @property
    def zeros(self) -> bool:
        return not any(self.memory[8 * self.rows :])


def put(rows: RateRows, service: str, now: float, members: int = 2) -> None:
    with rows.row(service) as row:
        row.others(now, 1)
        row.write(now, members, DOWN, UP)


def seen(rows: RateRows, service: str, now: float, stale_after: float = 1.0) -> Others | None:
    with rows.row(service) as row:
        return row.others(now, stale_after)


def test_a_process_sees_the_columns_of_the_others_and_not_its_own() -> None:
    world = World()
    put(world.of(0), "shop", 5.0, 2)
    put(world.of(2), "shop", 5.0, 3)
    assert seen(world.of(1), "shop", 5.1) == ([DOWN, DOWN], [UP, UP], 5)
    assert seen(world.of(0), "shop", 5.1) == ([DOWN], [UP], 3)
    assert seen(world.of(0), "bank", 5.1) == ([], [], 0)


def test_of_an_old_column_only_the_sessions_are_seen() -> None:
    world = World()
    put(world.of(0), "shop", 5.0)
    assert seen(world.of(1), "shop", 5.9) == ([DOWN], [UP], 2)
    assert seen(world.of(1), "shop", 6.1) == ([], [], 2)


def test_processes_whose_clocks_are_apart_mean_the_same_time() -> None:
    world = World()
    put(world.of(0, offset=1000.0), "shop", 1005.0)
    assert seen(world.of(1, offset=-3.0), "shop", 2.5) == ([DOWN], [UP], 2)
    assert seen(world.of(1, offset=-3.0), "shop", 3.5) == ([], [], 2)


def test_a_process_that_leaves_has_zeros_and_a_row_of_zeros_is_for_another_service() -> None:
    world = World()
    for number in range(16):
        put(world.of(0), f"service{number}", 1.0)
    assert seen(world.of(1), "shop", 1.0) is None
    with world.of(1).row("shop") as row:
        row.others(1.0, 1)
        row.write(1.0, 1, DOWN, UP)
        row.leave()
    assert seen(world.of(1), "service3", 1.0) == ([DOWN], [UP], 2), "it has written nowhere else"
    with world.of(0).row("service3") as row:
        row.others(1.0, 1)
        row.leave()
    assert seen(world.of(1), "shop", 1.0) == ([], [], 0)


def test_the_column_of_a_dead_process_is_zeroed_in_every_row_and_the_others_stay() -> None:
    world = World()
    for service in ("shop", "bank"):
        put(world.of(0), service, 1.0)
        put(world.of(1), service, 1.0, 7)
    zero_rates(world.memory, COLUMNS, 0)
    assert seen(world.of(2), "shop", 1.0) == seen(world.of(2), "bank", 1.0) == ([DOWN], [UP], 7)
    zero_rates(world.memory, COLUMNS, 1)
    assert world.zeros


def test_the_lock_is_held_from_reading_to_writing_and_without_it_the_process_goes_on() -> None:
    world = World()
    row = world.of(0).row("shop")
    with row:
        held = [lock for lock in world.locks if lock.held]
    assert len(held) == 1
    assert not any(lock.held for lock in world.locks)
    held[0].held = True
    put(world.of(0), "shop", 1.0)
    assert held[0].held, "it is another process's"
    assert seen(world.of(1), "shop", 1.0) == ([DOWN], [UP], 2)


def test_a_second_row_of_a_service_is_given_up_and_what_a_process_has_written_there_too() -> None:
    """Two processes without the lock may each take a row at the same time."""
    world = World()
    rows = world.of(0)
    row = rows.row("shop")
    with row:
        row.others(1.0, 1)
        row.write(1.0, 2, DOWN, UP)
    (at,) = (number for number, digest in enumerate(world.digests) if digest)
    world.digests[at ^ 1] = world.digests[at]
    world.digests[at] = NO_KEY
    with row:
        assert row.others(1.0, 1) == ([], [], 0)
    assert world.zeros
    with row:
        row.write(1.0, 2, DOWN, UP)
    assert seen(world.of(1), "shop", 1.0, inf) == ([DOWN], [UP], 2)


def test_a_column_has_a_time_the_sessions_and_two_uses() -> None:
    assert 2 + len(DOWN) + len(UP) == FIELDS
    assert not any(IDLE)
