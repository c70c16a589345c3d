from math import nan
from typing import Any, Literal

import pytest

import trioedge as te
from tests.support.governed import Governed
from trioedge.errors import ConfigurationError
from trioedge.session.verdict import CONTINUE, Reason, Reject, Verdict
from trioedge.stages.session_gate import LiveSessionGate, SessionGate
from trioedge.testing import check_decision, make_context, make_session

TOO_FAST = Reject(Reason.RATE, "more than 1 session a second per service")
BY_POLICY = Reject(Reason.RATE, "more sessions a second than its service's policy has")


def opened(gate: SessionGate, *, governed: bool = True) -> tuple[LiveSessionGate, Governed]:
    """The live gate of an edge, with the services of that edge."""
    world = Governed(governed=governed)
    return gate.open(world.context), world


def answers(gate: LiveSessionGate, world: Governed, *sources: str, service: str = "shop") -> list[Verdict]:
    """What the gate answers to a session of each source, now."""
    return [gate.decide(world.session(service, source=source)) for source in sources]


def ask(gate: LiveSessionGate, world: Governed, count: int, service: str = "shop") -> list[Verdict]:
    """What the gate answers to so many sessions, now."""
    return answers(gate, world, *["192.0.2.1"] * count, service=service)


# The arguments.


def test_after_a_burst_the_gate_admits_at_its_rate() -> None:
    gate, world = opened(SessionGate(1, burst=2), governed=False)
    expected: dict[float, list[Verdict]] = {
        0.0: [CONTINUE, CONTINUE, TOO_FAST],
        0.5: [TOO_FAST],
        1.0: [CONTINUE, TOO_FAST],
        10.0: [CONTINUE, CONTINUE, TOO_FAST],
    }
    for now, verdicts in expected.items():
        world.clock.now = now
        assert ask(gate, world, len(verdicts)) == verdicts


def test_the_gate_goes_by_the_time_at_which_it_is_asked_and_not_by_the_time_of_accept() -> None:
    gate, world = opened(SessionGate(1, burst=1), governed=False)
    early, late = world.session(), world.session()
    assert gate.decide(early) is CONTINUE
    world.clock.now = 5.0
    assert gate.decide(late) is CONTINUE, "five seconds after the last one, though both were accepted at once"


def test_the_default_burst_is_32() -> None:
    gate, world = opened(SessionGate(1), governed=False)
    assert ask(gate, world, 33) == [CONTINUE] * 32 + [TOO_FAST]


def test_each_service_has_a_gate_of_its_own() -> None:
    gate, world = opened(SessionGate(1, burst=1), governed=False)
    assert answers(gate, world, "192.0.2.1", "192.0.2.2", service="one") == [CONTINUE, TOO_FAST]
    assert answers(gate, world, "192.0.2.1", "192.0.2.1", service="other") == [CONTINUE, TOO_FAST]


def test_each_source_has_a_gate_of_its_own() -> None:
    gate, world = opened(SessionGate(2.5, burst=1, per="source"), governed=False)
    too_fast = Reject(Reason.RATE, "more than 2.5 sessions a second per source")
    assert answers(gate, world, "192.0.2.1", service="one") == [CONTINUE]
    assert answers(gate, world, "192.0.2.1", "192.0.2.2", "192.0.2.1", service="other") == [
        too_fast,
        CONTINUE,
        too_fast,
    ]


@pytest.mark.parametrize(("per", "second"), [("peer", Reject), ("source", type(CONTINUE))])
def test_the_clients_of_one_balancer_share_its_gate_per_peer_and_have_their_own_per_source(
    per: Literal["peer", "source"], second: type
) -> None:
    gate, world = opened(SessionGate(1, burst=1, per=per), governed=False)
    verdicts = []
    for client in ("203.0.113.1", "203.0.113.2"):
        session = world.session(source="192.0.2.1")
        session.set_source(client)
        verdicts.append(gate.decide(session))
    assert verdicts[0] is CONTINUE
    assert isinstance(verdicts[1], second)


@pytest.mark.parametrize("per", ["source", "peer"])
def test_1000_addresses_of_one_64_are_one_source(per: str) -> None:
    gate, world = opened(SessionGate(1 / 60, burst=1, per=per), governed=False)
    sources = [f"2001:db8::{number:x}:{number:x}" for number in range(1_000)]
    verdicts = answers(gate, world, *sources)
    assert [verdict is CONTINUE for verdict in verdicts] == [True] + [False] * 999
    strangers = [f"192.0.{number >> 8}.{number & 255}" for number in range(1_000)]
    assert answers(gate, world, *strangers) == [CONTINUE] * 1_000


def test_a_finer_gate_counts_single_addresses() -> None:
    gate, world = opened(SessionGate(1 / 60, burst=1, per="source/128"), governed=False)
    verdicts = answers(gate, world, "2001:db8::1", "2001:db8::2", "2001:db8::1")
    assert [verdict is CONTINUE for verdict in verdicts] == [True, True, False]


def test_mapped_ipv6_is_ipv4() -> None:
    gate, world = opened(SessionGate(1 / 60, burst=1, per="source"), governed=False)
    verdicts = answers(gate, world, "::ffff:192.0.2.1", "192.0.2.1", "::ffff:192.0.2.2")
    assert [verdict is CONTINUE for verdict in verdicts] == [True, False, True]


def test_at_capacity_a_new_key_is_refused_and_a_known_one_is_not() -> None:
    gate, world = opened(SessionGate(1, burst=2, per="source", capacity=1), governed=False)
    full = Reject(Reason.CAPACITY, "1 keys of the session gate are active")
    assert answers(gate, world, "192.0.2.1", "192.0.2.2", "192.0.2.1") == [CONTINUE, full, CONTINUE]


def test_the_gate_requires_the_field_that_it_counts_by_and_enforces_policies_per_service_only() -> None:
    gates = [SessionGate(1, per=per) for per in ("service", "source", "peer")]
    assert [gate.requires for gate in gates] == [("service",), ("source",), ()]
    assert [gate.enforces for gate in gates] == [("session_rate", "session_burst"), (), ()]


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


@pytest.mark.parametrize("per", ["source", "peer"])
def test_a_gate_per_address_without_a_rate_is_refused(per: Literal["source", "peer"]) -> None:
    with pytest.raises(ConfigurationError, match=r"SessionGate\(rate=None\) must be a number above 0"):
        SessionGate(per=per)


def test_a_gate_without_a_rate_is_refused_at_start_on_an_edge_without_a_control_plane() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        te.Edge("tcp://127.0.0.1:0", [te.IdleTimeout(9), te.SessionGate()], te.Forward("tcp://192.0.2.9:1"))
    assert str(refusal.value).startswith(
        "stage 2 (SessionGate) has no limit: give it an argument, or give the edge control=…"
    )
    te.Edge("tcp://127.0.0.1:0", [te.SessionGate(5)], te.Forward("tcp://192.0.2.9:1"))
    te.Edge("tcp://127.0.0.1:0", [te.SessionGate()], te.Forward("tcp://192.0.2.9:1"), control=te.MemoryControl({}))


def test_a_gate_prints_as_it_was_written() -> None:
    assert repr(SessionGate()) == "SessionGate()"
    assert repr(SessionGate(200)) == "SessionGate(rate=200, burst=32, per='service')"
    assert repr(SessionGate(0.5, 1, "source")) == "SessionGate(rate=0.5, burst=1, per='source')"


def test_the_live_gate_is_a_decision() -> None:
    check_decision(SessionGate(1).open(make_context()))


# The policy of a service.


def test_a_policy_takes_precedence_and_the_arguments_apply_where_it_says_nothing() -> None:
    gate, world = opened(SessionGate(1, burst=1))
    world.put("shop", session_rate=100, session_burst=2)
    world.put("blog", session_burst=5)
    assert ask(gate, world, 3, "shop") == [CONTINUE, CONTINUE, BY_POLICY]
    assert ask(gate, world, 2, "blog") == [CONTINUE, TOO_FAST]


def test_without_a_rate_in_argument_and_policy_there_is_no_limit() -> None:
    gate, world = opened(SessionGate())
    world.put()
    assert ask(gate, world, 100) == [CONTINUE] * 100


def test_a_new_policy_applies_from_the_next_session_on_and_what_was_spent_stays_spent() -> None:
    gate, world = opened(SessionGate())
    world.put(session_rate=1, session_burst=3)
    assert ask(gate, world, 4) == [CONTINUE] * 3 + [BY_POLICY]
    world.put(session_rate=1, session_burst=4, device_limit=3)
    assert ask(gate, world, 2) == [CONTINUE, BY_POLICY], "three of the four are spent"
    world.put(session_rate=None)
    assert ask(gate, world, 9) == [CONTINUE] * 9
    world.put(session_rate=1, session_burst=4)
    assert ask(gate, world, 1) == [BY_POLICY]
    world.clock.now = 1.0
    assert ask(gate, world, 1) == [CONTINUE]


def test_a_gate_per_source_ignores_the_policy() -> None:
    gate, world = opened(SessionGate(1, burst=1, per="source"))
    world.put(session_rate=100)
    assert ask(gate, world, 2) == [CONTINUE, Reject(Reason.RATE, "more than 1 session a second per source")]


def test_the_policy_of_make_session_is_a_policy_too() -> None:
    gate = SessionGate(5).open(make_context())
    session = make_session(policy=te.Policy(session_rate=1, session_burst=1))
    assert [gate.decide(session), gate.decide(session)] == [CONTINUE, BY_POLICY]


# Several lives.


def test_a_service_that_is_removed_and_named_again_has_its_whole_burst() -> None:
    gate, world = opened(SessionGate())
    for name in ("shop", "blog"):
        world.put(name, session_rate=1, session_burst=2)
        assert ask(gate, world, 3, name) == [CONTINUE] * 2 + [BY_POLICY]
    world.remove("shop")
    world.put("shop", session_rate=1, session_burst=2)
    assert ask(gate, world, 3, "shop") == [CONTINUE] * 2 + [BY_POLICY]
    assert ask(gate, world, 1, "blog") == [BY_POLICY]


@pytest.mark.parametrize("per", ["service", "source", "peer"])
def test_each_opening_of_one_recipe_has_a_gate_of_its_own(per: Literal["service", "source", "peer"]) -> None:
    """Two edges at once, and one edge twice, whose clock may begin at 0 again."""
    recipe = SessionGate(1, burst=1, per=per)
    for now in (1_000.0, 0.0):
        gate, world = opened(recipe, governed=False)
        world.clock.now = now
        assert [type(each) for each in ask(gate, world, 2)] == [type(CONTINUE), Reject]
