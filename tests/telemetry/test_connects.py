from trioedge.telemetry.connects import MAX_LETTERS, ConnectMeter


def test_a_meter_without_connects_has_no_histogram() -> None:
    meter = ConnectMeter()
    assert (meter.connects, meter.seconds, meter.failures, meter.under_way, meter.last_error) == (0, None, 0, 0, "")


def test_the_connects_of_two_upstreams_are_those_of_the_edge() -> None:
    total = ConnectMeter()
    one, other = ConnectMeter(total), ConnectMeter(total)
    one.answered(0.25)
    other.answered(0.5)
    other.taken()
    other.failed("refused")
    assert (one.connects, other.connects, total.connects) == (1, 2, 3)
    assert total.seconds is not None
    assert (total.seconds.seconds, total.seconds.max) == (0.75, 0.5)
    assert (one.failures, other.failures, total.failures) == (0, 1, 1)
    assert (one.last_error, other.last_error, total.last_error) == ("", "refused", "refused")


def test_a_connect_is_under_way_until_it_is_over() -> None:
    total = ConnectMeter()
    meter = ConnectMeter(total)
    meter.begun()
    meter.begun()
    meter.over()
    assert (meter.under_way, total.under_way) == (1, 1)


def test_a_long_error_is_cut() -> None:
    meter = ConnectMeter()
    meter.failed("x" * 10_000)
    assert len(meter.last_error) == MAX_LETTERS
