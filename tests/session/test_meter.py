import pytest

from trioedge.session.meter import Meter, Total


def test_bytes_are_counted_for_the_service_and_for_the_edge() -> None:
    total = Total()
    one, other = Meter(total), Meter(total)
    for meter, count in ((one, 3), (other, 4), (one, 5)):
        meter.add(count)
    assert (one.bytes, other.bytes, total.bytes) == (8, 4, 12)


def test_the_first_bytes_after_each_listen_are_reported_once_they_are_counted() -> None:
    reported: list[int] = []
    meter = Meter(Total(), lambda: reported.append(meter.bytes))
    meter.add(1)
    assert reported == [], "there was no listen yet"
    for _ in range(2):
        meter.listen()
        meter.listen()
        for _ in range(3):
            meter.add(1)
    assert reported == [2, 5]


def test_a_callback_that_listens_again_is_called_for_the_next_bytes() -> None:
    calls = 0

    def wake() -> None:
        nonlocal calls
        calls += 1
        meter.listen()

    meter = Meter(Total(), wake)
    meter.listen()
    meter.add(1)
    meter.add(1)
    assert calls == 2


@pytest.mark.parametrize("detached", [False, True], ids=["never attached", "detached"])
def test_a_meter_without_a_callback_counts_and_never_reports(detached: bool) -> None:
    reported: list[int] = []
    meter = Meter(Total(), lambda: reported.append(1)) if detached else Meter()
    meter.listen()
    if detached:
        assert meter.quiet
        meter.attach(None)
        assert not meter.quiet
        meter.listen()
    assert not meter.quiet
    meter.add(7)
    meter.wake()
    assert (meter.bytes, reported) == (7, [])


def test_a_check_is_called_after_every_chunk_until_it_is_taken_away() -> None:
    seen: list[int] = []
    meter = Meter()
    meter.check_with(lambda: seen.append(meter.bytes))
    for _ in range(2):
        meter.add(3)
    meter.check_with(None)
    assert not meter.quiet
    meter.add(3)
    assert seen == [3, 6]


@pytest.mark.parametrize("check_first", [True, False])
def test_a_check_and_the_reports_of_first_bytes_do_not_disturb_each_other(check_first: bool) -> None:
    reported: list[int] = []
    checked: list[int] = []
    meter = Meter(Total(), lambda: reported.append(meter.bytes))
    steps = [lambda: meter.check_with(lambda: checked.append(meter.bytes)), meter.listen]
    for step in steps if check_first else reversed(steps):
        step()
    for _ in range(3):
        meter.add(1)
    assert (reported, checked) == ([1], [1, 2, 3])
    meter.listen()
    meter.check_with(None)
    assert meter.quiet, "it still listens"
    meter.add(1)
    assert (reported, checked, meter.quiet) == ([1, 4], [1, 2, 3], False)


def test_to_attach_another_callback_keeps_the_check() -> None:
    checked: list[int] = []
    meter = Meter()
    meter.check_with(lambda: checked.append(meter.bytes))
    meter.attach(None)
    meter.listen()
    meter.add(1)
    assert checked == [1]
