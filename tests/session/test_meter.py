import pytest

from trioedge.session.meter import Meter, Total


def test_bytes_are_counted_for_the_service_and_for_the_edge() -> None:
    total = Total()
    one, other = Meter(total), Meter(total)
    for meter, count in ((one, 3), (other, 4), (one, 5)):
        meter.add(count)
    assert (one.bytes, other.bytes, total.bytes) == (8, 4, 12)


def test_the_first_bytes_after_each_listening_are_told_once_they_are_counted() -> None:
    told: list[int] = []
    meter = Meter(Total(), lambda: told.append(meter.bytes))
    meter.add(1)
    assert told == [], "nobody has listened"
    for _ in range(2):
        meter.listen()
        meter.listen()
        for _ in range(3):
            meter.add(1)
    assert told == [2, 5]


def test_who_listens_while_being_told_is_told_again() -> None:
    told = 0

    def wake() -> None:
        nonlocal told
        told += 1
        meter.listen()

    meter = Meter(Total(), wake)
    meter.listen()
    meter.add(1)
    meter.add(1)
    assert told == 2


@pytest.mark.parametrize("silent", ["nobody to tell", "let go"])
def test_a_meter_without_anybody_to_tell_never_wakes(silent: str) -> None:
    told: list[int] = []
    meter = Meter() if silent == "nobody to tell" else Meter(Total(), lambda: told.append(1))
    meter.listen()
    if silent == "let go":
        assert meter.quiet
        meter.let_go()
        assert not meter.quiet
        meter.listen()
    assert not meter.quiet
    meter.add(7)
    meter.wake()
    assert (meter.bytes, told) == (7, [])
