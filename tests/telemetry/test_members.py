import trioedge as te
from trioedge.telemetry.log import EdgeLog
from trioedge.telemetry.members import MemberCounts


def test_statistics_have_the_members_of_every_group_in_order() -> None:
    one, two = (MemberCounts(group, "tcp://192.0.2.1:80", "well", 1.0, 0, 3, 0) for group in ("", "shop"))
    log = EdgeLog()
    assert log.statistics(0, 0, 0) == te.Statistics(0, 0, {}, {}, 0, 0)
    log.members += [lambda: [one], lambda: [two]]
    assert log.statistics(0, 0, 0).members == (one, two)
