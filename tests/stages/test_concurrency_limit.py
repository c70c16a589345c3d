from typing import Any

import pytest

from tests.stages.governed import Governed
from tests.strategies import make_session
from trioedge.errors import ConfigurationError
from trioedge.session.session import Session
from trioedge.session.verdict import CONTINUE, Completed, Outcome, Reason, Reject
from trioedge.stages.concurrency_limit import ConcurrencyLimit

TOO_MANY = Reject(Reason.CONCURRENCY, "2 sessions of this source are live")


def come(limit: ConcurrencyLimit, number: int, **changes: str) -> list[Session]:
    """That many sessions, all of which must be let in."""
    sessions = [make_session(**changes) for _ in range(number)]
    assert [limit.decide(session) for session in sessions] == [CONTINUE] * number
    return sessions


@pytest.mark.parametrize(
    "outcome",
    [Completed(), *map(Completed, (Reason.RESET, Reason.EVICTED, Reason.FAULT)), Reject(Reason.UPSTREAM_REFUSED)],
)
def test_a_session_counts_until_it_ends_however_it_ends(outcome: Outcome) -> None:
    limit = ConcurrencyLimit(2)
    first, _ = come(limit, 2)
    assert limit.decide(make_session()) == TOO_MANY
    assert first.end(outcome) == []
    come(limit, 1)
    assert limit.decide(make_session()) == TOO_MANY


def test_a_session_counts_no_longer_when_another_clean_up_of_it_raises() -> None:
    limit = ConcurrencyLimit(1)
    [session] = come(limit, 1)
    session.defer(lambda session: 1 / 0)
    session.end(Completed())
    come(limit, 1)


def test_who_was_refused_gives_nothing_back() -> None:
    limit = ConcurrencyLimit(2)
    come(limit, 2)
    refused = make_session()
    assert limit.decide(refused) == TOO_MANY
    assert refused.end(TOO_MANY) == []
    assert limit.decide(make_session()) == TOO_MANY


def test_each_source_is_counted_by_itself() -> None:
    limit = ConcurrencyLimit(2)
    come(limit, 1, service="one")
    come(limit, 1, service="other")
    assert limit.decide(make_session()) == TOO_MANY
    come(limit, 2, source="192.0.2.2")


def test_each_service_is_counted_by_itself() -> None:
    limit = ConcurrencyLimit(2, per="service")
    come(limit, 1, source="192.0.2.1")
    come(limit, 1, source="192.0.2.2")
    assert limit.decide(make_session()) == Reject(Reason.CONCURRENCY, "2 sessions of this service are live")
    come(limit, 2, service="tenant")


def test_a_session_whose_service_is_named_later_is_taken_from_the_count_it_entered() -> None:
    limit = ConcurrencyLimit(1, per="service")
    [session] = come(limit, 1, service="before")
    session.service = "after"
    assert session.end(Completed()) == []
    come(limit, 1, service="before")


def test_beyond_its_capacity_a_new_key_is_refused_until_an_old_one_is_gone() -> None:
    limit = ConcurrencyLimit(2, capacity=1)
    [session] = come(limit, 1)
    other = make_session(source="192.0.2.2")
    assert limit.decide(other) == Reject(Reason.CAPACITY, "1 keys of the concurrency limit have live sessions")
    session.end(Completed())
    come(limit, 1, source="192.0.2.2")


def test_it_needs_the_service_it_counts_by() -> None:
    assert ConcurrencyLimit(1, per="service").requires == ("service",)
    assert ConcurrencyLimit(1).requires == ()


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


def test_it_prints_as_it_was_written() -> None:
    assert repr(ConcurrencyLimit(3)) == "ConcurrencyLimit(sessions=3, per='source')"
    assert repr(ConcurrencyLimit(1, "service")) == "ConcurrencyLimit(sessions=1, per='service')"


# The policy of a service.

BY_POLICY = Reject(Reason.CONCURRENCY, "as many sessions as its service's policy has are live")


def governed(limit: ConcurrencyLimit) -> Governed:
    world = Governed()
    limit.bind(world.context)
    return world


def test_a_policy_goes_before_the_argument_which_holds_where_it_says_nothing() -> None:
    limit = ConcurrencyLimit(1, per="service")
    world = governed(limit)
    world.put("shop", max_sessions=2)
    world.put("blog")
    come(limit, 2, service="shop")
    assert limit.decide(make_session(service="shop")) == BY_POLICY
    come(limit, 1, service="blog")
    assert limit.decide(make_session(service="blog")) == Reject(
        Reason.CONCURRENCY, "1 sessions of this service are live"
    )


def test_where_nothing_says_a_number_there_is_no_limit() -> None:
    limit = ConcurrencyLimit(per="service")
    come(limit, 100)
    governed(limit).put()
    come(limit, 100, service="shop")


def test_a_new_number_counts_the_sessions_that_live_already() -> None:
    limit = ConcurrencyLimit(per="service")
    world = governed(limit)
    world.put()
    sessions = come(limit, 3, service="shop")
    world.put(max_sessions=3)
    newcomer = make_session(service="shop")
    assert limit.decide(newcomer) == BY_POLICY, "those from before there was a number live too"
    world.put(max_sessions=4)
    sessions += come(limit, 1, service="shop")
    world.put(max_sessions=2)
    for session in sessions[:2]:
        assert limit.decide(make_session(service="shop")) == BY_POLICY, "none is cut, and none comes"
        session.end(Completed())
    assert limit.decide(make_session(service="shop")) == BY_POLICY
    sessions[2].end(Completed())
    come(limit, 1, service="shop")


def test_who_has_no_limit_is_not_refused_for_want_of_room_to_count() -> None:
    limit = ConcurrencyLimit(per="service", capacity=1)
    world = governed(limit)
    for name in ("shop", "blog"):
        world.put(name)
    [first], [session] = come(limit, 1, service="shop"), come(limit, 1, service="blog")
    assert session.end(Completed()) == []
    world.put("blog", max_sessions=5)
    full = Reject(Reason.CAPACITY, "1 keys of the concurrency limit have live sessions")
    assert limit.decide(make_session(service="blog")) == full
    first.end(Completed())
    come(limit, 5, service="blog")


def test_a_service_that_is_not_named_has_no_sessions() -> None:
    limit = ConcurrencyLimit(1, per="service")
    governed(limit)
    assert limit.decide(make_session(service="ghost")) == Reject(Reason.SERVICE, "no such service")


def test_a_limit_for_each_source_knows_of_no_policy() -> None:
    limit = ConcurrencyLimit(2)
    governed(limit).put(max_sessions=1)
    come(limit, 2, service="shop")
    assert limit.decide(make_session(service="ghost")) == TOO_MANY
    assert limit.enforces == ()
    assert ConcurrencyLimit(per="service").enforces == ("max_sessions",)


def test_without_a_control_plane_the_argument_holds() -> None:
    limit = ConcurrencyLimit(1, per="service")
    limit.bind(Governed(governed=False).context)
    come(limit, 1, service="any")
    assert limit.decide(make_session(service="any")).reason is Reason.CONCURRENCY  # type: ignore[union-attr]
    assert repr(ConcurrencyLimit(per="service")) == "ConcurrencyLimit(per='service')"
