from collections.abc import Callable
from typing import Any, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.session.session import Session
from trioedge.session.verdict import Completed, Outcome, Reason, Reject
from trioedge.testing import make_session


@attrs.define
class FakeCarrier:
    log: list[str]
    phase: str = "relaying"
    bytes_up: int = 0
    bytes_down: int = 0
    began_at: float | None = None
    pacing: str = "kernel"

    def queued(self) -> tuple[int, int]:
        return 0, 0

    def pace(self, down_rate: float, up_rate: float, /) -> None:
        self.log.append(f"carrier: {down_rate} down, {up_rate} up")

    def cut(self, reason: Reason, /) -> None:
        self.log.append(f"carrier: {reason}")


@attrs.define
class FakeScope:
    log: list[str]

    def cancel(self) -> None:
        self.log.append("scope")


def session_with(*, carrier: FakeCarrier | None = None, scope: FakeScope | None = None) -> Session:
    session = make_session()
    session.carrier = carrier
    if scope is not None:
        session.scope = scope
    return session


# Its end.


def note(log: list[int], number: int, *, fault: bool = False) -> Callable[[Session], None]:
    def clean_up(session: Session) -> None:
        log.append(number)
        if fault:
            raise ValueError(number)

    return clean_up


@examples(50)
@given(st.lists(st.booleans(), max_size=8))
def test_clean_ups_run_once_last_first_even_when_some_of_them_raise(faults: list[bool]) -> None:
    session, log = make_session(), list[int]()
    for number, fault in enumerate(faults):
        session.defer(note(log, number, fault=fault))
    assert log == []
    raised = session.end(Completed())
    assert log == list(reversed(range(len(faults))))
    assert [error.args[0] for error in raised] == [number for number in log if faults[number]]
    assert session.end(Completed()) == []
    assert len(log) == len(faults)


def test_a_clean_up_is_given_the_session_and_sees_how_it_ended() -> None:
    session, seen = make_session(), []
    session.defer(lambda ended: seen.append((ended, ended.outcome)))
    session.end(Completed(Reason.IDLE))
    assert seen == [(session, Completed(Reason.IDLE))]


def test_a_clean_up_may_defer_another() -> None:
    session, log = make_session(), list[int]()
    session.defer(note(log, 1))
    session.defer(lambda ended: ended.defer(note(log, 2)))
    session.end(Completed())
    assert log == [2, 1]


@pytest.mark.parametrize("clean_up", [None, 5, "leave"])
def test_a_clean_up_that_cannot_be_called_is_refused_where_it_is_deferred(clean_up: Any) -> None:
    session = make_session()
    with pytest.raises(TypeError) as refusal:
        session.defer(clean_up)
    assert str(refusal.value) == f"session.defer({clean_up!r}) must be a function of the session: pass it without ()"
    assert session.end(Completed()) == []


def test_an_async_clean_up_is_a_fault_that_says_so_and_the_others_run() -> None:
    async def leave(session: Session) -> None:
        raise AssertionError("it cannot run")

    session, log = make_session(), list[int]()
    session.defer(note(log, 1))
    session.defer(leave)
    (fault,) = session.end(Completed())
    assert str(fault).endswith("leave is async, and a clean-up cannot wait: write def")
    assert log == [1]


def test_the_first_end_is_how_it_ended() -> None:
    session = make_session()
    assert session.end(Reject(Reason.RATE)) == []
    assert session.end(Completed()) == []
    assert session.outcome == Reject(Reason.RATE)


# Its cut.


def test_a_cut_frees_the_sockets_then_cancels_the_task_once() -> None:
    log: list[str] = []
    session = session_with(carrier=FakeCarrier(log), scope=FakeScope(log))
    assert session.cut(Reason.EVICTED) is True
    assert session.cut(Reason.DRAINED) is False
    assert log == ["carrier: evicted", "scope"]
    assert session.cut_reason is Reason.EVICTED


@pytest.mark.parametrize("part", ["carrier", "scope", None])
def test_a_cut_reaches_the_carrier_and_the_task_where_there_is_one(part: str | None) -> None:
    log: list[str] = []
    carrier, scope = FakeCarrier(log), FakeScope(log)
    session = session_with(carrier=carrier if part == "carrier" else None, scope=scope if part == "scope" else None)
    assert session.cut(Reason.EVICTED) is True
    assert log == {"carrier": ["carrier: evicted"], "scope": ["scope"], None: []}[part]
    assert session.cut_reason is Reason.EVICTED


@pytest.mark.parametrize(
    ("outcome", "detail"),
    [
        (Completed(Reason.EVICTED), "10.0.0.0/8"),
        (Reject(Reason.EVICTED), "10.0.0.0/8"),
        (Completed(Reason.EVICTED, "its own"), "its own"),
        (Completed(Reason.FAULT), ""),
    ],
)
def test_the_detail_of_a_cut_is_that_of_the_outcome_which_has_none(outcome: Outcome, detail: str) -> None:
    session = make_session()
    session.cut(Reason.EVICTED, "10.0.0.0/8")
    session.end(outcome)
    assert session.outcome == type(outcome)(outcome.reason, detail)


def test_the_detail_of_a_cut_is_text() -> None:
    session = make_session()
    with pytest.raises(TypeError, match=r"session\.cut\(detail=7\) must be text"):
        session.cut(Reason.EVICTED, 7)  # type: ignore[arg-type]
    assert session.cut_reason is None


def test_an_ended_session_cannot_be_cut() -> None:
    log: list[str] = []
    session = session_with(carrier=FakeCarrier(log), scope=FakeScope(log))
    session.end(Completed())
    assert session.cut(Reason.EVICTED) is False
    assert log == []
    assert session.cut_reason is None


@pytest.mark.parametrize("reason", ["evicted", None, 5, Reason])
def test_a_cut_without_a_reason_is_refused_and_cuts_nothing(reason: Any) -> None:
    log: list[str] = []
    session = session_with(carrier=FakeCarrier(log))
    with pytest.raises(TypeError) as refusal:
        session.cut(reason)
    assert str(refusal.value) == f"session.cut({reason!r}) needs a Reason: write session.cut(te.Reason.EVICTED)"
    assert log == []
    assert session.cut_reason is None


# What people read of it.


def test_the_phase_follows_the_part_that_has_the_session() -> None:
    session = make_session()
    assert session.phase == "deciding"
    session.scope = FakeScope([])
    assert session.phase == "handling"
    session.carrier = FakeCarrier([], phase="connecting")
    assert session.phase == "connecting"
    session.end(Completed())
    assert session.phase == "ended"


def test_bytes_are_the_carriers_and_stay_when_the_session_has_ended() -> None:
    session = make_session()
    assert (session.bytes_up, session.bytes_down) == (0, 0)
    session.carrier = FakeCarrier([], bytes_up=3, bytes_down=5)
    session.end(Completed())
    assert (session.bytes_up, session.bytes_down) == (3, 5)


def test_two_sessions_are_never_equal() -> None:
    assert len({make_session(), make_session()}) == 2


def test_a_session_prints_its_facts_and_nothing_of_the_edge() -> None:
    session = session_with(carrier=FakeCarrier([]), scope=FakeScope([]))
    assert repr(session) == f"Session({session.id}, service='default', source='192.0.2.1', relaying)"


# Its rates.


def test_rates_reach_the_carrier() -> None:
    session = make_session()
    session.pace(10.0, 20.0)
    assert (session.down_rate, session.up_rate, session.pacing) == (10.0, 20.0, "")
    log: list[str] = []
    session.carrier = FakeCarrier(log)
    session.pace(30.0, 40.0)
    assert (session.down_rate, session.up_rate, session.pacing) == (30.0, 40.0, "kernel")
    assert log == ["carrier: 30.0 down, 40.0 up"]


@pytest.mark.parametrize("rate", [0, -1.0, float("nan"), "1 MB/s", None, True, 10**400])
@pytest.mark.parametrize("direction", ["down_rate", "up_rate"])
def test_a_rate_that_is_no_number_above_0_is_refused_and_changes_nothing(rate: Any, direction: str) -> None:
    session, log = make_session(), list[str]()
    session.carrier = FakeCarrier(log)
    rates = {"down_rate": 1.0, "up_rate": 2.0} | {direction: rate}
    with pytest.raises(TypeError, match=rf"session\.pace: {direction} = .* must be a number of bytes a second above 0"):
        session.pace(**cast(Any, rates))
    assert (session.down_rate, session.up_rate) == (float("inf"), float("inf"))
    assert log == []


# Its follower.


class Follower:
    def __init__(self) -> None:
        self.log: list[str] = []

    def moved(self) -> None:
        self.log.append("moved")

    def left(self) -> None:
        self.log.append("left")


def move(session: Session, times: int) -> None:
    """Move bytes as a carrier does."""
    for _ in range(times):
        if session.quiet:
            session.wake()


def test_a_follower_is_notified_of_the_first_bytes_after_each_listen() -> None:
    session, follower = make_session(), Follower()
    session.follow(follower)
    move(session, 2)
    assert follower.log == []
    for _ in range(2):
        session.listen()
        move(session, 3)
    assert follower.log == ["moved", "moved"]


@pytest.mark.parametrize("leave", [
    lambda session: session.end(Completed()),
    lambda session: setattr(session, "service", "bank"),
    lambda session: session.follow(None),
    lambda session: session.follow(Follower()),
])  # fmt: skip
def test_a_follower_is_notified_once_that_a_session_left(leave: Callable[[Session], object]) -> None:
    session, follower = make_session(), Follower()
    session.follow(follower)
    session.listen()
    leave(session)
    session.follow(None)
    session.listen()
    move(session, 1)
    assert follower.log == ["left"]


def test_a_session_without_a_follower_listens_to_nothing() -> None:
    session = make_session()
    session.listen()
    assert not session.quiet
    session.wake()


@pytest.mark.parametrize("follower", [5, "x", object(), print])
def test_a_follower_without_its_two_methods_is_refused_and_the_one_before_stays(follower: Any) -> None:
    session, before = make_session(), Follower()
    session.follow(before)
    with pytest.raises(TypeError, match=r"session\.follow\(.*\) must have moved\(\) and left\(\), or be None"):
        session.follow(follower)
    session.listen()
    move(session, 1)
    assert before.log == ["moved"]


def test_a_follower_that_raises_is_a_fault_of_the_end_and_the_clean_ups_run() -> None:
    class Clumsy(Follower):
        def left(self) -> None:
            raise LookupError("bug")

    session, log = make_session(), list[int]()
    session.follow(Clumsy())
    session.defer(note(log, 1))
    (fault,) = session.end(Completed())
    assert isinstance(fault, LookupError)
    assert log == [1]
    assert session.outcome == Completed()


def test_text_of_a_subclass_becomes_plain_text() -> None:
    class Text(str):
        __slots__ = ()

        def __hash__(self) -> int:
            raise LookupError("no hash")

    session = make_session()
    session.device = Text("phone")
    session.service = Text("shop")
    assert (type(session.device), type(session.service.name)) == (str, str)
    assert (session.device, session.service.name) == ("phone", "shop")
