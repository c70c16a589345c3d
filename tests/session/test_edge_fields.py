from math import inf
from typing import Any

import pytest

from trioedge.errors import quote
from trioedge.session.verdict import Completed
from trioedge.testing import make_session


class Part:
    """As much of a carrier, a scope and an index as the fields look at."""

    phase = "relaying"

    def cut(self, reason: object) -> None: ...

    def cancel(self) -> None: ...

    def move(self, session: object, service: object) -> None: ...


@pytest.mark.parametrize("field", ["carrier", "scope", "index"])
def test_the_edge_writes_a_part_that_has_the_method_it_calls(field: str) -> None:
    session, part = make_session(), Part()
    assert getattr(session, field) is None
    setattr(session, field, part)
    assert getattr(session, field) is part


@pytest.mark.parametrize("field", ["carrier", "index"])
def test_a_carrier_and_an_index_end_before_the_session_does(field: str) -> None:
    session = make_session()
    setattr(session, field, Part())
    setattr(session, field, None)
    assert getattr(session, field) is None


@pytest.mark.parametrize("field", ["began", "carrier", "scope", "index"])
@pytest.mark.parametrize("value", [5, "x", [], object(), b""])
def test_a_value_that_the_edge_cannot_mean_is_refused_and_changes_nothing(field: str, value: Any) -> None:
    session = make_session()
    before = getattr(session, field)
    with pytest.raises(TypeError) as refusal:
        setattr(session, field, value)
    assert str(refusal.value) == f"session.{field} = {quote(value)}: only the edge writes this field"
    assert getattr(session, field) is before


def test_a_task_is_never_taken_from_a_session() -> None:
    with pytest.raises(TypeError, match="only the edge writes this field"):
        make_session().scope = None  # type: ignore[assignment]


def test_a_trace_is_one_list_that_the_chain_appends_to() -> None:
    session = make_session()
    trace = session.begin_trace()
    trace.append(7)
    assert session.trace is trace


def test_the_stamp_is_of_the_latest_middleware() -> None:
    session = make_session()
    assert session.stamp == 0
    session.enter_middleware(5)
    session.enter_middleware(9)
    assert session.stamp == 9


def test_a_registered_session_is_ended_by_the_edge_alone() -> None:
    session = make_session()
    session.index = Part()  # type: ignore[assignment]
    with pytest.raises(RuntimeError) as refusal:
        session.end(Completed())
    assert str(refusal.value) == (
        "only the edge ends a session: return Completed or Reject, or call session.cut(reason)"
    )
    assert session.outcome is None


def test_the_keys_of_a_session_are_its_id_service_source_and_device() -> None:
    session = make_session("192.0.2.1")
    session.device = "phone"
    assert session.keys() == (session.id, session.service, session.source_key, "phone")


@pytest.mark.parametrize(("rates", "paced"), [((inf, inf), False), ((5, inf), True), ((inf, 5), True)])
def test_a_session_with_a_rate_is_paced(rates: tuple[float, float], paced: bool) -> None:
    session = make_session()
    session.pace(*rates)
    assert session.is_paced() is paced


def test_followers_and_clean_ups_are_seen_and_not_assigned() -> None:
    session = make_session()
    assert (session.follower, session.deferred) == (None, None)
    session.defer(print)
    assert session.deferred == [print]
    for field in ("follower", "deferred"):
        with pytest.raises(AttributeError, match=f"session.{field} cannot be assigned"):
            setattr(session, field, None)
