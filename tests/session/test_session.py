from collections.abc import Callable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples, make_session
from trioedge.session.meter import Meter
from trioedge.session.session import Session
from trioedge.session.verdict import Completed, Reason, Reject


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

    def count_by(self, meters: tuple[Meter, Meter], /) -> None:
        self.log.append("carrier: other meters")

    def cut(self, reason: Reason, /) -> None:
        self.log.append(f"carrier: {reason}")


@attrs.define
class FakeScope:
    log: list[str]

    def cancel(self) -> None:
        self.log.append("scope")


@attrs.define
class FakeIndex:
    log: list[tuple[Session, str]] = attrs.Factory(list)

    def move(self, session: Session, service: str, /) -> None:
        self.log.append((session, service))

    def identify(self, session: Session, device: str | None, /) -> None:
        self.log.append((session, f"device {device}"))


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


def test_the_first_end_is_how_it_ended() -> None:
    session = make_session()
    assert session.end(Reject(Reason.RATE)) == []
    assert session.end(Completed()) == []
    assert session.outcome == Reject(Reason.RATE)


def test_a_cut_frees_the_sockets_then_cancels_the_task_once() -> None:
    log: list[str] = []
    session = make_session(carrier=FakeCarrier(log), scope=FakeScope(log))
    assert session.cut(Reason.EVICTED) is True
    assert session.cut(Reason.DRAINED) is False
    assert log == ["carrier: evicted", "scope"]
    assert session.cut_reason is Reason.EVICTED


@pytest.mark.parametrize("part", ["carrier", "scope", None])
def test_a_cut_reaches_the_session_wherever_it_is(part: str | None) -> None:
    log: list[str] = []
    parts = {"carrier": FakeCarrier(log), "scope": FakeScope(log)}
    session = make_session(**{part: parts[part]} if part else {})
    assert session.cut(Reason.EVICTED) is True
    assert log == {"carrier": ["carrier: evicted"], "scope": ["scope"], None: []}[part]
    assert session.cut_reason is Reason.EVICTED


def test_what_has_ended_cannot_be_cut() -> None:
    log: list[str] = []
    session = make_session(carrier=FakeCarrier(log), scope=FakeScope(log))
    session.end(Completed())
    assert session.cut(Reason.EVICTED) is False
    assert log == []
    assert session.cut_reason is None


def test_naming_the_service_of_a_live_session_moves_it() -> None:
    index = FakeIndex()
    session = make_session(index=index)
    session.service = "tenant"
    assert index.log == [(session, "tenant")]


def test_naming_the_service_of_a_session_nobody_registered_just_names_it() -> None:
    session = make_session()
    assert session.service == "default"
    session.service = "tenant"
    assert session.service == "tenant"


def test_the_phase_follows_whoever_has_the_session() -> None:
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


def test_sessions_are_compared_by_who_they_are() -> None:
    assert len({make_session(), make_session()}) == 2


def test_a_misspelt_field_is_refused() -> None:
    session = make_session()
    with pytest.raises(AttributeError):
        session.destinaton = "tcp://127.0.0.1:1"  # type: ignore[attr-defined]


def test_a_session_prints_what_people_ask_for_and_nothing_that_points_back_at_it() -> None:
    session = make_session(carrier=FakeCarrier([]), scope=FakeScope([]), index=FakeIndex())
    assert "source='192.0.2.1'" in repr(session)
    assert "Fake" not in repr(session)


def test_rates_reach_whoever_moves_the_bytes() -> None:
    session = make_session()
    session.pace(10.0, 20.0)
    assert (session.down_rate, session.up_rate, session.pacing) == (10.0, 20.0, "")
    log: list[str] = []
    session.carrier = FakeCarrier(log)
    session.pace(30.0, 40.0)
    assert (session.down_rate, session.up_rate, session.pacing) == (30.0, 40.0, "kernel")
    assert log == ["carrier: 30.0 down, 40.0 up"]


def test_a_registered_session_is_moved_to_its_device() -> None:
    session, index = make_session(), FakeIndex()
    session.device = "phone"
    assert session.device == "phone"
    session.index = index
    session.device = "laptop"
    assert index.log == [(session, "device laptop")]


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


def test_a_follower_is_told_of_the_first_bytes_after_each_listen() -> None:
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
def test_a_follower_is_told_once_that_a_session_left(leave: Callable[[Session], object]) -> None:
    session, follower = make_session(), Follower()
    session.follow(follower)
    session.listen()
    leave(session)
    session.follow(None)
    session.listen()
    move(session, 1)
    assert follower.log == ["left"]


def test_a_session_that_nobody_follows_listens_to_nothing() -> None:
    session = make_session()
    session.listen()
    assert not session.quiet
    session.wake()
