from typing import Any, Literal

import pytest

import trioedge as te
from tests.support.governed import Governed
from trioedge.errors import ConfigurationError
from trioedge.session.session import Session
from trioedge.session.verdict import CONTINUE, Completed, Outcome, Reason, Reject
from trioedge.stages.concurrency_limit import ConcurrencyLimit, LiveConcurrencyLimit
from trioedge.testing import check_decision, make_context

TOO_MANY = Reject(Reason.CONCURRENCY, "2 sessions of this source are live")
BY_POLICY = Reject(Reason.CONCURRENCY, "as many sessions as its service's policy has are live")


def opened(limit: ConcurrencyLimit, *, governed: bool = True) -> tuple[LiveConcurrencyLimit, Governed]:
    """The live limit of an edge, with the services of that edge."""
    world = Governed(governed=governed)
    return limit.open(world.context), world


def admitted(
    limit: LiveConcurrencyLimit, world: Governed, count: int, service: str = "shop", source: str = "192.0.2.1"
) -> list[Session]:
    """So many sessions, all of which the limit must admit."""
    sessions = [world.session(service, source=source) for _ in range(count)]
    assert [limit.decide(session) for session in sessions] == [CONTINUE] * count
    return sessions


# The argument.


@pytest.mark.parametrize(
    "outcome",
    [Completed(), *map(Completed, (Reason.RESET, Reason.EVICTED, Reason.FAULT)), Reject(Reason.UPSTREAM_REFUSED)],
)
def test_a_session_counts_until_it_ends_however_it_ends(outcome: Outcome) -> None:
    limit, world = opened(ConcurrencyLimit(2), governed=False)
    first, _ = admitted(limit, world, 2)
    assert limit.decide(world.session()) == TOO_MANY
    assert first.end(outcome) == []
    admitted(limit, world, 1)
    assert limit.decide(world.session()) == TOO_MANY


def test_a_session_is_counted_out_when_another_clean_up_of_it_raises() -> None:
    limit, world = opened(ConcurrencyLimit(1), governed=False)
    [session] = admitted(limit, world, 1)
    session.defer(lambda session: 1 / 0)
    session.end(Completed())
    admitted(limit, world, 1)


def test_a_refused_session_is_not_counted_out_when_it_ends() -> None:
    limit, world = opened(ConcurrencyLimit(2), governed=False)
    admitted(limit, world, 2)
    refused = world.session()
    assert limit.decide(refused) == TOO_MANY
    assert refused.end(TOO_MANY) == []
    assert limit.decide(world.session()) == TOO_MANY


def test_each_source_is_counted_by_itself_over_all_services() -> None:
    limit, world = opened(ConcurrencyLimit(2), governed=False)
    admitted(limit, world, 1, "one")
    admitted(limit, world, 1, "other")
    assert limit.decide(world.session()) == TOO_MANY
    admitted(limit, world, 2, source="192.0.2.2")


def test_addresses_of_one_64_are_counted_together_unless_the_limit_is_finer() -> None:
    limit, world = opened(ConcurrencyLimit(2), governed=False)
    admitted(limit, world, 1, source="2001:db8::1")
    admitted(limit, world, 1, source="2001:db8::2:0:0:1")
    assert limit.decide(world.session(source="2001:db8::3")) == TOO_MANY
    admitted(limit, world, 2, source="2001:db8:0:1::1")
    finer = ConcurrencyLimit(2, per="source/128").open(world.context)
    for number in range(5):
        admitted(finer, world, 2, source=f"2001:db8::{number}")


def test_each_service_is_counted_by_itself_over_all_sources() -> None:
    limit, world = opened(ConcurrencyLimit(2, per="service"), governed=False)
    admitted(limit, world, 1, source="192.0.2.1")
    admitted(limit, world, 1, source="192.0.2.2")
    assert limit.decide(world.session("shop")) == Reject(Reason.CONCURRENCY, "2 sessions of this service are live")
    admitted(limit, world, 2, "blog")


def test_the_clients_of_one_balancer_count_together_per_peer_and_by_themselves_per_source() -> None:
    per_peer, world = opened(ConcurrencyLimit(1, per="peer"), governed=False)
    per_source = ConcurrencyLimit(1).open(world.context)
    sessions = [world.session(source="192.0.2.1") for _ in range(2)]
    for number, session in enumerate(sessions):
        session.set_source(f"203.0.113.{number}")
    assert [per_source.decide(session) for session in sessions] == [CONTINUE, CONTINUE]
    too_many = Reject(Reason.CONCURRENCY, "1 session of this peer is live")
    assert [per_peer.decide(session) for session in sessions] == [CONTINUE, too_many]


@pytest.mark.parametrize("per", ["service", "source"])
def test_a_session_is_counted_out_under_the_key_that_it_was_counted_in_by(per: Literal["service", "source"]) -> None:
    limit, world = opened(ConcurrencyLimit(1, per=per), governed=False)
    [session] = admitted(limit, world, 1, "before")
    session.service = "after"
    session.set_source("203.0.113.1")
    assert session.end(Completed()) == []
    admitted(limit, world, 1, "before")


def test_at_capacity_a_new_key_is_refused_until_a_known_key_has_no_session() -> None:
    limit, world = opened(ConcurrencyLimit(2, capacity=1), governed=False)
    [session] = admitted(limit, world, 1)
    full = Reject(Reason.CAPACITY, "1 keys of the concurrency limit have live sessions")
    assert limit.decide(world.session(source="192.0.2.2")) == full
    session.end(Completed())
    admitted(limit, world, 1, source="192.0.2.2")


def test_the_limit_requires_the_field_that_it_counts_by_and_enforces_policies_per_service_only() -> None:
    limits = [ConcurrencyLimit(1, per=per) for per in ("service", "source", "peer")]
    assert [limit.requires for limit in limits] == [("service",), ("source",), ()]
    assert [limit.enforces for limit in limits] == [("max_sessions",), (), ()]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("sessions", value) for value in (0, -1, 1.5, "3", None)),
        *(("per", value) for value in ("device", "", None)),
        *(("capacity", value) for value in (0, -1, 1.5, None)),
    ],
)
def test_a_bad_argument_is_named_and_quoted(argument: str, value: object) -> None:
    arguments: dict[str, Any] = {"sessions": 3, argument: value}
    with pytest.raises(ConfigurationError) as refusal:
        ConcurrencyLimit(**arguments)
    assert str(refusal.value).startswith(f"ConcurrencyLimit({argument}={value!r}) must be ")


def test_a_limit_without_a_number_is_refused_at_start_on_an_edge_without_a_control_plane() -> None:
    forward = te.Forward("tcp://192.0.2.9:1")
    with pytest.raises(ConfigurationError) as refusal:
        te.Edge("tcp://127.0.0.1:0", [te.ConcurrencyLimit(per="service")], forward)
    assert str(refusal.value).startswith(
        "stage 1 (ConcurrencyLimit) has no limit: give it an argument, or give the edge control=…"
    )
    te.Edge("tcp://127.0.0.1:0", [te.ConcurrencyLimit(2, per="service")], forward)
    te.Edge("tcp://127.0.0.1:0", [te.ConcurrencyLimit(per="service")], forward, control=te.MemoryControl({}))


def test_a_limit_prints_as_it_was_written() -> None:
    assert repr(ConcurrencyLimit(3)) == "ConcurrencyLimit(sessions=3, per='source')"
    assert repr(ConcurrencyLimit(1, "service")) == "ConcurrencyLimit(sessions=1, per='service')"
    assert repr(ConcurrencyLimit(per="service")) == "ConcurrencyLimit(per='service')"


def test_the_live_limit_is_a_decision() -> None:
    check_decision(ConcurrencyLimit(1).open(make_context()))


def test_each_opening_of_one_recipe_counts_for_itself() -> None:
    recipe = ConcurrencyLimit(2)
    for limit, world in (opened(recipe), opened(recipe)):
        world.put()
        admitted(limit, world, 2)
        assert limit.decide(world.session("shop")) == TOO_MANY


# The policy of a service.


def test_a_policy_takes_precedence_and_the_argument_applies_where_it_says_nothing() -> None:
    limit, world = opened(ConcurrencyLimit(1, per="service"))
    world.put("shop", max_sessions=2)
    world.put("blog")
    admitted(limit, world, 2, "shop")
    assert limit.decide(world.session("shop")) == BY_POLICY
    admitted(limit, world, 1, "blog")
    assert limit.decide(world.session("blog")) == Reject(Reason.CONCURRENCY, "1 session of this service is live")


def test_without_a_number_in_argument_and_policy_there_is_no_limit() -> None:
    limit, world = opened(ConcurrencyLimit(per="service"))
    world.put()
    admitted(limit, world, 100)


def test_a_new_number_counts_the_sessions_that_live_already_and_cuts_none() -> None:
    limit, world = opened(ConcurrencyLimit(per="service"))
    world.put()
    sessions = admitted(limit, world, 3)
    world.put(max_sessions=3)
    assert limit.decide(world.session("shop")) == BY_POLICY, "the three from before there was a number count"
    world.put(max_sessions=4)
    sessions += admitted(limit, world, 1)
    world.put(max_sessions=2)
    for session in sessions[:2]:
        assert limit.decide(world.session("shop")) == BY_POLICY, "none is cut, and none is admitted"
        assert session.cut_reason is None
        session.end(Completed())
    assert limit.decide(world.session("shop")) == BY_POLICY
    sessions[2].end(Completed())
    admitted(limit, world, 1)


def test_a_service_without_a_limit_is_not_refused_when_the_table_is_full() -> None:
    limit, world = opened(ConcurrencyLimit(per="service", capacity=1))
    for name in ("shop", "blog"):
        world.put(name)
    [first], [session] = admitted(limit, world, 1, "shop"), admitted(limit, world, 1, "blog")
    assert session.end(Completed()) == []
    world.put("blog", max_sessions=5)
    full = Reject(Reason.CAPACITY, "1 keys of the concurrency limit have live sessions")
    assert limit.decide(world.session("blog")) == full
    first.end(Completed())
    admitted(limit, world, 5, "blog")


def test_a_service_that_is_removed_and_named_again_counts_its_new_sessions_only() -> None:
    limit, world = opened(ConcurrencyLimit(per="service"))
    world.put(max_sessions=1)
    [old] = admitted(limit, world, 1)
    world.remove()
    world.put(max_sessions=1)
    [new] = admitted(limit, world, 1)
    assert old.end(Completed()) == []
    assert limit.decide(world.session("shop")) == BY_POLICY, "the old session was counted out of the old service"
    assert new.end(Completed()) == []
    admitted(limit, world, 1)


def test_a_limit_per_source_ignores_the_policy() -> None:
    limit, world = opened(ConcurrencyLimit(2))
    world.put(max_sessions=1)
    admitted(limit, world, 2)
    assert limit.decide(world.session("shop")) == TOO_MANY
