import socket
from math import inf
from typing import Any

import attrs
import pytest

import trioedge as te
from tests.support.homes import Home
from trioedge.addresses.destination_rules import AddressRules, DestinationRules
from trioedge.serving.handing_over.message import may_leave, packed, restored, unpacked
from trioedge.session.allowance import Allowance
from trioedge.session.session import Session


@attrs.define
class Login:
    name: str


class Follower:
    def moved(self) -> None: ...

    def left(self) -> None: ...


def passed_on(session: Session, home: Home, number: int = 99, offsets: tuple[float, float] = (0.0, 0.0)) -> Session:
    """Write a session in one worker, and make it again in another one, each with an offset of its clock."""
    data = packed(session, 0, b"", socket.AF_INET, offsets[0])
    return restored(unpacked(memoryview(data)), number, offsets[1], home, home.services.unnamed)


def test_a_session_that_no_stage_has_changed_is_the_same_but_for_its_id() -> None:
    here, there = Home(), Home()
    session = here.session("198.51.100.1")
    session.set_source("192.0.2.7", 4_321)
    again = passed_on(session, there)
    assert (again.id, again.listener, again.peer, again.peer_bytes) == (99, session.listener, "198.51.100.1",
                                                                        session.peer_bytes)  # fmt: skip
    assert (again.source, again.source_bytes, again.source_port) == ("192.0.2.7", b"\xc0\x00\x02\x07", 4_321)
    assert again.service is there.services.unnamed
    assert (again.device, again.destination, again.address_rules, again.trace) == (None, None, (), None)
    assert (again.down_rate, again.up_rate, len(again.state), again.index) == (inf, inf, 0, None)
    assert (again.idle_seconds, again.half_closed_seconds) == (session.idle_seconds, session.half_closed_seconds)


def name_device(session: Session) -> None:
    session.device = "phone"


def name_destination(session: Session) -> None:
    session.destination = "tcp://db.example:5432"


def be_short(session: Session) -> None:
    session.idle_seconds, session.half_closed_seconds = 3.0, 2.0


def be_slow(session: Session) -> None:
    session.pace(1e6, inf)


def log_in(session: Session) -> None:
    session.state[Login] = Login("ann")


def judge(session: Session) -> None:
    rules = DestinationRules(["192.0.2.0/24"]).judge("tcp://db.example:5432")
    assert isinstance(rules, AddressRules)
    session.judge_addresses(rules)


def take_time(session: Session) -> None:
    session.begin_trace().extend([700, 1_200])


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        (name_device, "device", "phone"),
        (name_destination, "destination", "tcp://db.example:5432"),
        (be_short, "idle_seconds", 3.0),
        (be_short, "half_closed_seconds", 2.0),
        (be_slow, "down_rate", 1e6),
        (be_slow, "up_rate", inf),
        (take_time, "trace", [700, 1_200]),
    ],
)
def test_a_session_has_what_stages_before_have_set(change: Any, field: str, value: object) -> None:
    session = Home().session()
    change(session)
    assert getattr(passed_on(session, Home()), field) == value


def test_values_of_users_go_along_and_are_copies() -> None:
    session = Home().session()
    session.state[Login] = login = Login("ann")
    again = passed_on(session, Home())
    assert again.state[Login] == login
    assert again.state[Login] is not login


def test_rules_for_the_addresses_of_a_name_judge_there_as_here() -> None:
    session = Home().session()
    judge(session)
    (rules,) = passed_on(session, Home()).address_rules
    assert rules.refusal(b"\xc0\x00\x02\x01", 443) == ""
    assert rules.refusal(b"\xc6\x33\x64\x01", 443) != ""


def test_the_time_of_accept_is_the_same_moment_by_another_clock() -> None:
    here = Home()
    here.clock.now = 1_000.0
    assert passed_on(here.session(), Home(), offsets=(400.0, 70.0)).started_at == 670.0


def test_the_service_is_the_one_of_its_name_there() -> None:
    here, there = Home(), Home()
    here.put("shop")
    shop = there.put("shop")
    session = here.session()
    session.service = "shop"
    again = passed_on(session, there)
    assert (again.service, again.refusal) == (shop, None)


def test_a_service_that_is_full_takes_a_session_that_it_has_admitted_already() -> None:
    here, there = Home(), Home()
    here.put("shop", max_sessions=1)
    shop = there.put("shop", max_sessions=1)
    shop.live = 1
    session = here.session()
    session.service = "shop"
    assert passed_on(session, there).refusal is None


def test_a_service_that_is_unknown_there_refuses_the_session() -> None:
    here, there = Home(), Home()
    here.put("shop")
    session = here.session()
    session.service = "shop"
    again = passed_on(session, there)
    assert again.service is there.services.unnamed
    assert again.refusal is not None
    assert again.refusal.reason is te.Reason.SERVICE


def test_bytes_and_the_number_of_the_handshake_go_along() -> None:
    handed = unpacked(packed(Home().session(), 3, b"GET /", socket.AF_INET6, 0.0))
    assert (handed.handshake, handed.held, handed.family) == (3, b"GET /", socket.AF_INET6)


def test_a_value_that_cannot_be_pickled_is_an_exception() -> None:
    @attrs.define
    class Inner:  # of a function, where no other process finds it
        number: int

    session = Home().session()
    session.state[Inner] = Inner(1)
    with pytest.raises(Exception, match="Inner"):
        packed(session, 0, b"", socket.AF_INET, 0.0)


def follow(session: Session) -> None:
    session.follow(Follower())


def allow(session: Session) -> None:
    session.allowance = Allowance(100)


def name_nothing(session: Session) -> None:
    session.service = "unknown"


@pytest.mark.parametrize(
    ("change", "may"),
    [
        (lambda session: None, True),
        (log_in, True),
        (name_device, True),
        (lambda session: session.defer(print), True),
        (follow, False),
        (allow, False),
        (name_nothing, False),
        (Session.come_by_listener, False),
        (lambda session: session.cut(te.Reason.EVICTED), False),
        (lambda session: session.end(te.Completed(te.Reason.FINISHED)), False),
    ],
    ids=["as accepted", "a value", "a device", "a clean-up", "followed", "an allowance", "refused", "by a listener",
         "cut", "ended"],
)  # fmt: skip
def test_a_session_may_leave_unless_something_ties_it(change: Any, may: bool) -> None:
    session = Home().session()
    change(session)
    assert may_leave(session) is may
