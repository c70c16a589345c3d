from trioedge.telemetry.meters import Meters


def test_tables_of_one_kind_have_numbers_from_the_second_on() -> None:
    meters, keys = Meters(), {"a": 1}
    meters.add_table("gate", keys, 10)
    meters.add_table("counter", {}, 20)
    meters.add_table("gate", {}, 30, shared=True)
    keys["b"] = 2
    assert [(each.name, each.size(), each.capacity, each.shared) for each in meters.tables] == [
        ("gate", 2, 10, False), ("counter", 0, 20, False), ("gate 2", 0, 30, True),
    ]  # fmt: skip


def test_meters_that_no_part_uses_are_0() -> None:
    meters = Meters()
    assert (meters.paced, meters.names.asked, meters.connects.connects, len(meters.pools)) == ((), 0, 0, 0)
