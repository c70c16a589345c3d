from trioedge.telemetry.meters import Meters


def test_tables_of_one_kind_have_numbers_from_the_second_on() -> None:
    meters, keys = Meters(), {"a": 1}
    meters.add_table("gate", keys.__len__, 10)
    meters.add_table("counter", int, 20)
    meters.add_table("gate", int, 30)
    keys["b"] = 2
    assert [(each.name, each.size(), each.capacity) for each in meters.tables] == [
        ("gate", 2, 10), ("counter", 0, 20), ("gate 2", 0, 30),
    ]  # fmt: skip


def test_meters_that_no_part_uses_are_0() -> None:
    meters = Meters()
    assert (meters.paced, meters.names.asked, meters.connects.connects, len(meters.pools)) == ((), 0, 0, 0)
