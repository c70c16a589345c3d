"""Cuts of many sessions, counted by steps."""

from typing import Any, cast

import pytest

from trioedge.session.evictions import AT_ONCE, SEARCH_STEPS, Evictions, cut_now
from trioedge.session.session import Session
from trioedge.session.verdict import Completed, Reason, Reject
from trioedge.testing import make_session


class Carrier:
    """Counts its cuts; one of them may raise."""

    def __init__(self, fault: BaseException | None = None) -> None:
        self.cuts: list[Reason] = []
        self.fault = fault

    def cut(self, reason: Reason) -> None:
        self.cuts.append(reason)
        if self.fault is not None:
            raise self.fault


class Log:
    def __init__(self) -> None:
        self.faults: list[BaseException] = []

    def fault(self, event: str, fault: BaseException, **facts: object) -> None:
        assert event == "cut failed"
        self.faults.append(fault)


def carried(number: int) -> list[Session]:
    sessions = [make_session() for _ in range(number)]
    for session in sessions:
        session.carrier = cast(Any, Carrier())
    return sessions


def closed(sessions: list[Session]) -> int:
    return sum(len(cast(Any, session.carrier).cuts) for session in sessions)


def started() -> tuple[Evictions, list[str], Log]:
    evictions, woken, log = Evictions(), list[str](), Log()
    evictions.start(lambda: woken.append("woken"), log)
    return evictions, woken, log


def test_8000_sessions_are_marked_at_once_and_closed_one_a_step() -> None:
    evictions, woken, _ = started()
    sessions = carried(8_000)
    assert evictions.cut(sessions, Reason.EVICTED) == 8_000
    assert {session.cut_reason for session in sessions} == {Reason.EVICTED}
    assert woken == ["woken"]
    steps = evictions.steps()
    for number in range(8_000):
        assert closed(sessions) == number
        next(steps)
    assert closed(sessions) == 8_000
    assert list(steps) == []
    assert len(evictions) == 0


def test_64_sessions_are_closed_when_the_cut_returns_and_wake_no_task() -> None:
    evictions, woken, _ = started()
    sessions = carried(64)
    assert evictions.cut(sessions, Reason.EVICTED) == closed(sessions) == AT_ONCE == 64
    assert woken == []


def test_a_second_cut_marks_no_session_again() -> None:
    evictions, woken, _ = started()
    sessions = carried(100)
    assert evictions.cut(sessions, Reason.EVICTED) == 100
    assert evictions.cut(sessions, Reason.DRAINED) == 0
    others = carried(100)
    assert evictions.cut(others, Reason.DEVICE, at_once=0) == 100
    assert woken == ["woken"] * 2
    assert closed(others) == 0
    for _ in evictions.steps():
        pass
    assert closed(sessions) == closed(others) == 100


def test_a_marked_session_that_has_ended_is_not_closed() -> None:
    evictions, _, _ = started()
    sessions = carried(3)
    evictions.cut(sessions, Reason.EVICTED, at_once=0)
    sessions[1].end(Completed(Reason.EVICTED))
    list(evictions.steps())
    assert [closed([session]) for session in sessions] == [1, 0, 1]


@pytest.mark.parametrize("bug", [LookupError("bug"), BaseException("odd")])
def test_a_cut_that_raises_is_logged_and_costs_no_other(bug: BaseException) -> None:
    evictions, _, log = started()
    sessions = carried(70)
    for number in (0, 65):
        cast(Any, sessions[number].carrier).fault = bug
    evictions.cut(sessions, Reason.EVICTED)
    list(evictions.steps())
    assert closed(sessions) == 70
    evictions.cut([sessions[0]], Reason.DRAINED)
    assert log.faults == [bug, bug]


def test_a_task_that_is_cancelled_leaves_the_rest_to_the_end_of_the_edge() -> None:
    evictions, woken, _ = started()
    sessions = carried(100)
    evictions.cut(sessions, Reason.EVICTED)
    steps = evictions.steps()
    next(steps)
    steps.close()
    assert closed(sessions) == 1
    evictions.stop()
    assert closed(sessions) == 100
    assert evictions.cut(carried(100), Reason.DRAINED) == 100
    assert woken == ["woken"], "after the end every cut closes at once"


def test_before_the_start_a_cut_closes_every_session() -> None:
    sessions = carried(100)
    assert Evictions().cut(sessions, Reason.EVICTED) == closed(sessions) == 100


def test_a_short_search_is_over_when_it_returns() -> None:
    evictions, woken, _ = started()
    sessions = carried(10)
    assert evictions.search(iter([sessions[:4], [], sessions[4:]]), Reason.EVICTED) == 10
    assert closed(sessions) == 10
    assert woken == []


def test_a_long_search_goes_on_in_the_background_and_marks_before_it_closes() -> None:
    evictions, woken, _ = started()
    sessions = carried(SEARCH_STEPS + 2)
    assert evictions.search(iter([[each] for each in sessions]), Reason.EVICTED) == SEARCH_STEPS
    assert woken == ["woken"]
    steps = evictions.steps()
    next(steps)
    next(steps)
    assert [session.cut_reason for session in sessions] == [Reason.EVICTED] * len(sessions)
    assert closed(sessions) == SEARCH_STEPS
    list(steps)
    assert closed(sessions) == len(sessions)


@pytest.mark.parametrize("ended", [False, True])
def test_a_session_is_marked_once(ended: bool) -> None:
    (session,) = carried(1)
    if ended:
        session.end(Completed())
    assert session.mark_cut(Reason.EVICTED) is not ended
    assert not session.mark_cut(Reason.DRAINED)
    session.carry_out_cut()
    assert closed([session]) == (0 if ended else 1)


def test_a_session_is_cut_now_also_if_it_is_marked_and_waits_for_its_turn() -> None:
    evictions, _, _ = started()
    sessions = carried(AT_ONCE + 1)
    evictions.cut(sessions, Reason.EVICTED)
    fresh = carried(1)[0]
    for session in (sessions[-1], fresh):
        cut_now(session, Reject(Reason.QUOTA, "used up"))
    assert closed(sessions) == 1
    assert sessions[-1].cut_reason is Reason.EVICTED, "the first reason stays"
    assert fresh.cut_reason is Reason.QUOTA
    assert fresh.end(Completed(Reason.QUOTA)) == []
    assert fresh.outcome == Completed(Reason.QUOTA, "used up")
    cut_now(fresh, Reject(Reason.QUOTA))
    assert closed([fresh]) == 1, "one that has ended is left alone"
