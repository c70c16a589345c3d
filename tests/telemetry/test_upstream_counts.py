"""An upstream as operators see it."""

from trioedge.telemetry.connects import ConnectMeter
from trioedge.telemetry.upstream_counts import UpstreamCounts


def test_it_follows_the_meter_of_its_connects() -> None:
    meter = ConnectMeter()
    counts = UpstreamCounts("", "tcp://192.0.2.9:1", healthy=True, connects=meter, idle=0)
    meter.failed("refused")
    assert (counts.connects.failures, counts.connects.failing) == (1, True)
    meter.taken()
    assert not counts.connects.failing
    meter.failed("refused")
    meter.answered(0.1)
    assert (counts.connects.failing, counts.connects.last_error) == (False, "refused")
