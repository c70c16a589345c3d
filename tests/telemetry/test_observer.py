import logging

import pytest
import structlog
import trio
import trio.testing
from structlog.testing import capture_logs

from trioedge.session.verdict import Completed, Reason, Reject
from trioedge.telemetry.observer import Observer
from trioedge.testing import make_session


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


async def test_a_refused_session_is_logged_at_debug_once_a_second_of_each_reason(
    autojump_clock: trio.testing.MockClock,
) -> None:
    observer = Observer()
    session = make_session("192.0.2.7", service="shop")
    with capture_logs() as logs:
        for _ in range(3):
            observer.session(session, Reject(Reason.RATE, "more than 5 sessions a second"))
        observer.session(session, Completed(Reason.RATE))
        observer.session(session, Completed())
        await trio.sleep(1)
        observer.session(session, Reject(Reason.RATE))
    facts = {"log_level": "debug", "reason": "rate", "session": session.id, "source": "192.0.2.7", "service": "shop"}
    assert logs == [
        {"event": "session refused", "detail": "more than 5 sessions a second", **facts},
        {"event": "session ended", "detail": "", **facts},
        {"event": "session refused", "detail": "", "left_out": 2, **facts},
    ]


@pytest.mark.parametrize(("level", "debugs"), [(logging.DEBUG, True), (logging.INFO, False)])
def test_refusals_are_logged_only_where_level_debug_is_written(level: int, debugs: bool) -> None:
    before = structlog.get_config()
    try:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
        assert Observer().debugs is debugs
    finally:
        structlog.configure(**before)
