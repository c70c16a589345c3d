from collections.abc import Iterator

from tests.support.steps import run_steps
from trioedge.telemetry.meters import Meters, Table


class Parts:
    """A table that is counted in parts."""

    def __len__(self) -> int:
        raise AssertionError("it takes too long")

    def counted(self) -> Iterator[int]:
        yield from (3, 0, 4)


def test_tables_of_one_kind_have_numbers_from_the_second_on() -> None:
    meters, keys = Meters(), {"a": 1}
    meters.add_table("gate", keys, 10)
    meters.add_table("counter", {}, 20)
    meters.add_table("gate", {}, 30, shared=True)
    keys["b"] = 2
    assert [(each.name, run_steps(each.size()), each.capacity, each.shared) for each in meters.tables] == [
        ("gate", 2, 10, False), ("counter", 0, 20, False), ("gate 2", 0, 30, True),
    ]  # fmt: skip


def test_a_table_that_is_counted_in_parts_has_a_step_for_each() -> None:
    steps = Table("gate", Parts(), 10).size()
    assert [next(steps) for _ in range(3)] == [None] * 3
    assert run_steps(Table("gate", Parts(), 10).size()) == 7


def test_meters_that_no_part_uses_are_0() -> None:
    meters = Meters()
    assert (meters.paced, meters.names.asked, meters.connects.connects, len(meters.pools)) == ((), 0, 0, 0)
