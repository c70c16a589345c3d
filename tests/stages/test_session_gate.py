from math import nan
from typing import Any, Literal

import pytest

from tests.stages.governed import Governed
from tests.strategies import make_session
from trioedge.errors import ConfigurationError
from trioedge.session.verdict import CONTINUE, Reason, Reject, Verdict
from trioedge.stages.session_gate import SessionGate

TOO_FAST = Reject(Reason.RATE, "more than 1 sessions a second per service")


def answers(gate: SessionGate, *sessions: dict[str, Any]) -> list[Verdict]:
    return [gate.decide(make_session(**session)) for session in sessions]


def test_a_burst_then_the_rate_by_the_time_each_session_started() -> None:
    gate = SessionGate(1, burst=2)
    moments = [0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 10.0, 10.0, 10.0]
    assert answers(gate, *({"started_at": moment} for moment in moments)) == [
        *(CONTINUE, CONTINUE, TOO_FAST),
        *(TOO_FAST, CONTINUE, TOO_FAST),
        *(CONTINUE, CONTINUE, TOO_FAST),
    ]


def test_a_burst_is_32_unless_said() -> None:
    assert answers(SessionGate(1), *[{}] * 33) == [CONTINUE] * 32 + [TOO_FAST]


def test_each_service_has_a_gate_of_its_own() -> None:
    gate = SessionGate(1, burst=1)
    one, other = {"service": "one"}, {"service": "other", "source": "192.0.2.2"}
    elsewhere = one | {"source": "192.0.2.2"}
    assert answers(gate, one, elsewhere, other, other) == [CONTINUE, TOO_FAST, CONTINUE, TOO_FAST]


def test_each_source_has_a_gate_of_its_own() -> None:
    gate = SessionGate(2.5, burst=1, per="source")
    one, other = {"source": "192.0.2.1"}, {"source": "192.0.2.2"}
    too_fast = Reject(Reason.RATE, "more than 2.5 sessions a second per source")
    assert answers(gate, one, one | {"service": "tenant"}, other, one) == [CONTINUE, too_fast, CONTINUE, too_fast]


def test_beyond_its_capacity_a_new_key_is_refused() -> None:
    gate = SessionGate(1, burst=2, per="source", capacity=1)
    one, other = {"source": "192.0.2.1"}, {"source": "192.0.2.2"}
    full = Reject(Reason.CAPACITY, "1 keys of the session gate are active")
    assert answers(gate, one, other, one) == [CONTINUE, full, CONTINUE]


def test_it_needs_the_service_it_counts_by() -> None:
    assert SessionGate(1).requires == ("service",)
    assert SessionGate(1, per="source").requires == ()


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("rate", value) for value in (0, -1, nan, "200")),
        *(("burst", value) for value in (0, -1, 1.5, "32", None)),
        *(("per", value) for value in ("device", "", None)),
        *(("capacity", value) for value in (0, -1, 1.5, None)),
    ],
)
def test_a_bad_argument_is_named_and_quoted(argument: str, value: object) -> None:
    arguments: dict[str, Any] = {"rate": 200, argument: value}
    with pytest.raises(ConfigurationError) as refusal:
        SessionGate(**arguments)
    assert str(refusal.value).startswith(f"SessionGate({argument}={value!r}) must be ")


def test_it_prints_as_it_was_written() -> None:
    assert repr(SessionGate(200)) == "SessionGate(rate=200, burst=32, per='service')"
    assert repr(SessionGate(0.5, 1, "source")) == "SessionGate(rate=0.5, burst=1, per='source')"


# The policy of a service.

BY_POLICY = Reject(Reason.RATE, "more sessions a second than its service's policy has")
NO_SERVICE = Reject(Reason.SERVICE, "no such service")


def governed(gate: SessionGate) -> Governed:
    world = Governed()
    gate.bind(world.context)
    return world


def test_a_policy_goes_before_the_arguments_and_they_hold_where_it_says_nothing() -> None:
    gate = SessionGate(1, burst=1)
    world = governed(gate)
    world.put("shop", session_rate=100, session_burst=2)
    world.put("blog", session_burst=5)
    shop, blog = {"service": "shop"}, {"service": "blog"}
    assert answers(gate, shop, shop, shop) == [CONTINUE, CONTINUE, BY_POLICY]
    assert answers(gate, blog, blog) == [CONTINUE, TOO_FAST]


def test_where_nothing_says_a_rate_there_is_no_limit() -> None:
    gate = SessionGate()
    assert answers(gate, *[{}] * 100) == [CONTINUE] * 100, "bound to nothing"
    governed(gate).put()
    assert answers(gate, *[{"service": "shop"}] * 100) == [CONTINUE] * 100


def test_another_policy_holds_from_the_next_session_on_and_forgets_nothing() -> None:
    gate = SessionGate()
    world = governed(gate)
    world.put(session_rate=1, session_burst=3)
    session = {"service": "shop"}
    assert answers(gate, *[session] * 4) == [CONTINUE] * 3 + [BY_POLICY]
    world.put(session_rate=1, session_burst=4, device_limit=3)
    assert answers(gate, session, session) == [CONTINUE, BY_POLICY], "three of the four are spent"
    world.put(session_rate=None)
    assert answers(gate, *[session] * 9) == [CONTINUE] * 9
    world.put(session_rate=1, session_burst=4)
    assert answers(gate, session, session | {"started_at": 1.0}) == [BY_POLICY, CONTINUE]


def test_a_service_that_is_not_named_has_no_sessions() -> None:
    gate = SessionGate(1)
    world = governed(gate)
    assert answers(gate, {"service": "shop"}) == [NO_SERVICE]
    world.put()
    world.remove()
    assert answers(gate, {"service": "shop"}) == [NO_SERVICE]


def test_a_gate_for_each_source_knows_of_no_policy() -> None:
    gate = SessionGate(1, burst=1, per="source")
    governed(gate).put(session_rate=100)
    assert answers(gate, {"service": "shop"}, {"service": "ghost"}) == [
        CONTINUE,
        Reject(Reason.RATE, "more than 1 sessions a second per source"),
    ]
    assert gate.enforces == ()
    assert SessionGate().enforces == ("session_rate", "session_burst")


def test_without_a_control_plane_the_arguments_hold() -> None:
    gate = SessionGate(1, burst=1)
    gate.bind(Governed(governed=False).context)
    assert answers(gate, {"service": "any"}, {"service": "any"}) == [CONTINUE, TOO_FAST]


def test_for_each_source_a_rate_must_be_said() -> None:
    with pytest.raises(ConfigurationError, match=r"SessionGate\(rate=None\) must be a number above 0"):
        SessionGate(per="source")
    assert repr(SessionGate()) == "SessionGate()"


# Lives.


def test_a_service_that_comes_back_owes_nothing_of_its_life_before() -> None:
    gate = SessionGate()
    world = governed(gate)
    for name in ("shop", "blog"):
        world.put(name, session_rate=1, session_burst=2)
        assert answers(gate, *[{"service": name}] * 3) == [CONTINUE] * 2 + [BY_POLICY]
    world.remove("shop")
    world.put("shop", session_rate=1, session_burst=2)
    assert answers(gate, *[{"service": "shop"}] * 3) == [CONTINUE] * 2 + [BY_POLICY]
    assert answers(gate, {"service": "blog"}) == [BY_POLICY]


@pytest.mark.parametrize("per", ["service", "source"])
def test_an_edge_that_is_opened_again_has_a_new_gate(per: Literal["service", "source"]) -> None:
    """Its clock may begin at 0 again, and what was spent would lie in a future that never was."""
    gate = SessionGate(1, burst=1, per=per)
    for started_at in (1_000.0, 0.0):
        gate.bind(Governed(governed=False).context)
        session = {"started_at": started_at}
        assert [type(each) for each in answers(gate, session, session)] == [type(CONTINUE), Reject]
