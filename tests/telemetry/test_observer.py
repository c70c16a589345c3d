import trio
import trio.testing
from structlog.testing import capture_logs

from trioedge.session.verdict import Completed, Reason, Reject
from trioedge.telemetry.observer import Observer


async def test_a_storm_of_notices_is_one_line_a_second_that_says_how_many_were_left_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    observer = Observer()
    with capture_logs() as logs:
        for _ in range(100):
            observer.notice("shedding", live=7)
        observer.notice("another")
        await trio.sleep(1)
        observer.notice("shedding", live=8)
        await trio.sleep(1)
        observer.notice("shedding", live=9)
    assert [(entry["event"], entry.get("left_out"), entry.get("live")) for entry in logs] == [
        ("shedding", None, 7),
        ("another", None, None),
        ("shedding", 99, 8),
        ("shedding", None, 9),
    ]


async def test_a_fault_is_logged_with_its_exception() -> None:
    fault = LookupError("x")
    with capture_logs() as logs:
        Observer().fault("stage failed", fault, session=3)
    assert logs == [{"event": "stage failed", "log_level": "error", "session": 3, "exc_info": fault}]


def test_refusals_and_ends_are_counted_apart() -> None:
    observer = Observer()
    for outcome in (Completed(), Reject(Reason.RATE), Completed(Reason.FAULT), Reject(Reason.FAULT), Completed()):
        observer.count(outcome)
    assert observer.ended == {Reason.FINISHED: 2, Reason.FAULT: 1}
    assert observer.refused == {Reason.RATE: 1, Reason.FAULT: 1}
