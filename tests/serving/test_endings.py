"""Tests of the end of a session: the order of clean-ups, the outcome, the count."""

import pytest
from structlog.testing import capture_logs

import trioedge as te
from trioedge.serving.endings import RECENT_SESSIONS, Endings
from trioedge.session.verdict import FINISHED
from trioedge.telemetry.log import EdgeLog
from trioedge.testing import make_session

STILL = float  # a clock that does not move


async def test_a_session_that_a_clean_up_ends_waits_for_that_clean_up() -> None:
    log = EdgeLog()
    endings = Endings(log, STILL)
    first, second = make_session(), make_session()
    order: list[str] = []

    def end_the_second(_: te.Session) -> None:
        endings.add(second, FINISHED)
        order.append("first, to its end")

    first.defer(lambda _: order.append("first, its earlier clean-up"))
    first.defer(end_the_second)
    second.defer(lambda _: order.append("second"))
    endings.add(first, FINISHED)
    assert order == ["first, to its end", "first, its earlier clean-up", "second"]
    assert list(endings.recent) == [first, second]
    assert log.ended == {te.Reason.FINISHED: 2}


async def test_a_clean_up_that_raises_is_logged_and_the_session_is_counted() -> None:
    log = EdgeLog()
    endings = Endings(log, STILL)
    session = make_session()

    def fail(_: te.Session) -> None:
        raise ValueError("as told")

    session.defer(fail)
    with capture_logs() as logs:
        endings.add(session, FINISHED)
    assert [each["event"] for each in logs] == ["clean-up failed"]
    assert log.ended == {te.Reason.FINISHED: 1}


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (FINISHED, te.Reason.EVICTED),
        (te.Completed(te.Reason.RESET), te.Reason.EVICTED),
        (te.Completed(te.Reason.FAULT), te.Reason.FAULT),
    ],
)
async def test_a_session_that_is_marked_as_cut_has_the_reason_of_the_cut_unless_a_stage_failed(
    outcome: te.Completed, reason: te.Reason
) -> None:
    log = EdgeLog()
    session = make_session()
    session.mark_cut(te.Reason.EVICTED)
    Endings(log, STILL).add(session, outcome)
    assert session.outcome is not None
    assert session.outcome.reason is reason
    assert log.ended == {reason: 1}


async def test_the_last_thousand_sessions_are_remembered() -> None:
    endings = Endings(EdgeLog(), STILL)
    sessions = [make_session() for _ in range(RECENT_SESSIONS + 5)]
    for session in sessions:
        endings.add(session, FINISHED)
    assert list(endings.recent) == sessions[5:]
