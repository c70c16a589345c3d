"""The rows of quotas; what processes make of them is in tests/services/terms/test_shared_quota.py."""

import pytest

from tests.support.shared_memory import SALT, scripted_locks, stripes
from trioedge.structures.shared.keys import digest_of
from trioedge.structures.shared.quota_rows import (
    ACKNOWLEDGED,
    AHEAD,
    MOST,
    RING,
    SAID,
    SENT,
    QuotaRow,
    QuotaRows,
    news_bytes,
    quota_row_bytes,
    retire_column,
)

COLUMNS = 4


class World:
    """A table and the processes that look at it."""

    def __init__(self, rows: int = 16) -> None:
        self.memory = memoryview(bytearray(rows * quota_row_bytes(COLUMNS)))
        self.news = memoryview(bytearray(news_bytes(COLUMNS)))
        self.locks = scripted_locks()

    def of(self, column: int) -> QuotaRows:
        return QuotaRows(
            self.memory, self.news, columns=COLUMNS, column=column, digest=digest_of("edge", SALT),
            stripes=stripes(self.locks, column),
        )  # fmt: skip


def opened(rows: QuotaRows, service: str = "shop", used: int = 0) -> QuotaRow:
    row = rows.open(service, used)
    assert row is not None
    return row


def count(row: QuotaRow, moved: int) -> None:
    cells, at = row.cell
    cells[at] = moved


def test_the_bytes_of_a_service_are_the_sum_over_the_processes_and_each_has_told_its_own() -> None:
    world = World()
    one, other = opened(world.of(0), used=7), opened(world.of(2), used=99)
    one.join()
    other.join()
    count(one, 10)
    one.tell()
    count(one, 15)
    count(other, 100)
    assert (one.number, one.moved, one.told, one.joined) == (other.number, other.moved, other.told, other.joined)
    assert (one.moved, one.told, one.joined) == (115, 10, 2)
    assert (other.get(AHEAD), other.get(SAID), other.get(SENT)) == (7, 7, 0), "the first one has begun it"


@pytest.mark.parametrize("way", ["leave", "retire", "join again"])
def test_the_bytes_of_a_process_that_has_ended_stay_and_count_as_told(way: str) -> None:
    world = World()
    one, other = opened(world.of(0)), opened(world.of(1))
    for row in (one, other):
        row.join()
        count(row, 10)
    if way == "leave":
        one.leave()
    elif way == "retire":
        retire_column(world.memory, COLUMNS, 0)
    else:
        one.join()
    assert (other.moved, other.told, other.joined) == (20, 10, 2 if way == "join again" else 1)
    retire_column(world.memory, COLUMNS, 1)
    assert (other.moved, other.told) == (20, 20)


def test_a_forgotten_service_begins_anew_in_another_row_while_processes_still_count_in_the_former_one() -> None:
    world = World()
    before = opened(world.of(1), used=5)
    before.join()
    world.of(0).forget("shop")
    after = opened(world.of(0), used=6)
    after.join()
    count(before, 1_000)
    assert after.number != before.number
    assert (after.moved, after.get(AHEAD)) == (0, 6)
    before.leave()
    assert after.moved == 0
    world.of(0).forget("unknown")


def test_a_row_that_processes_are_joined_to_is_never_taken_and_forgotten_ones_are_taken_first() -> None:
    world = World()
    rows = [opened(world.of(0), f"service{number}", number) for number in range(16)]
    for row in rows[:15]:
        row.join()
    rows[3].leave()
    world.of(0).forget("service3")
    assert opened(world.of(1), "new").number == rows[3].number
    opened(world.of(1), "new").join()
    assert opened(world.of(1), "newer").number == rows[15].number, "no process counts service15"
    opened(world.of(1), "newer").join()
    assert world.of(1).open("newest", 0) is None
    assert opened(world.of(1), "service4").get(AHEAD) == 4


def test_a_number_that_is_too_large_is_the_largest() -> None:
    row = opened(World().of(0))
    row.put(ACKNOWLEDGED, 10**30)
    assert row.get(ACKNOWLEDGED) == MOST
    row.put(ACKNOWLEDGED, -(10**30))
    assert row.get(ACKNOWLEDGED) == -MOST


def test_each_process_hears_once_what_the_others_have_announced_since_it_began() -> None:
    world = World()
    early = world.of(3)
    early.announce(8)
    one, other, late = world.of(0), world.of(1), None
    one.announce(1)
    one.announce(2)
    other.announce(3)
    late = world.of(2)
    assert one.heard() == [3]
    assert sorted(other.heard() or ()) == [1, 2]
    assert late.heard() == []
    assert early.heard() == [1, 2, 3]
    assert early.heard() == []


@pytest.mark.parametrize(("count_", "all_of_them"), [(RING - 1, True), (RING, False), (10 * RING, False)])
def test_a_process_that_is_far_behind_learns_that_it_has_missed_some(count_: int, all_of_them: bool) -> None:
    world = World()
    one, other = world.of(0), world.of(1)
    for row in range(count_):
        one.announce(row)
    assert other.heard() == (list(range(count_)) if all_of_them else None)
    one.announce(5)
    assert other.heard() == [5]


def test_without_the_lock_a_row_is_found_all_the_same() -> None:
    world = World()
    for lock in world.locks:
        lock.held = True
    row = opened(world.of(0), used=3)
    assert opened(world.of(1)).number == row.number
    world.of(0).forget("shop")
    assert opened(world.of(1), used=4).get(AHEAD) == 4
