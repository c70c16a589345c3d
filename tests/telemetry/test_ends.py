import attrs
import pytest

from tests.support.carriers import CountedCarrier
from trioedge.addresses.address import parse_address
from trioedge.session.verdict import Completed, Reason, Reject
from trioedge.telemetry.ends import Ends
from trioedge.testing import make_session

UPSTREAM = parse_address("tcp://192.0.2.9:80")


def ignore() -> None: ...


def test_a_record_has_what_the_session_was_when_it_ended() -> None:
    session = make_session("192.0.2.7", service="shop", now=5.0)
    session.set_source("198.51.100.1")
    session.device, session.destination = "phone", "tcp://192.0.2.8:80"
    session.lead_to(UPSTREAM)
    session.carrier = carrier = CountedCarrier()
    carrier.began_at, carrier.bytes_up, carrier.bytes_down = 5.25, 3, 4
    session.begin_trace().append(7)
    ends = Ends()
    reader = ends.open(ignore)
    ends.add(session, outcome := Completed(Reason.IDLE, "silent"))
    (end,) = reader.take(1)
    assert (end.id, end.outcome, end.listener, end.peer, end.source) == (
        session.id, outcome, session.listener, "192.0.2.7", "198.51.100.1",
    )  # fmt: skip
    assert (end.service, end.device, end.destination, end.upstream) == ("shop", "phone", "tcp://192.0.2.8:80", UPSTREAM)
    assert (end.connected, end.bytes_up, end.bytes_down, end.seconds, end.ended_at) == (0.25, 3, 4, 0.0, 5.0)
    assert (end.trace, end.refused) == ((7,), False)


def test_a_refusal_has_no_upstream() -> None:
    ends = Ends()
    reader = ends.open(ignore)
    ends.add(make_session(), Reject(Reason.RATE))
    (end,) = reader.take(1)
    assert (end.refused, end.upstream, end.connected, end.trace) == (True, None, None, None)


def test_a_record_cannot_be_changed_and_leads_to_no_session() -> None:
    ends = Ends()
    reader = ends.open(ignore)
    session = make_session()
    session.begin_trace().append(7)
    ends.add(session, Completed())
    (end,) = reader.take(1)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        end.service = "another"  # type: ignore[misc]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        end.outcome.detail = "another"  # type: ignore[misc]
    assert {type(value).__name__ for value in attrs.asdict(end, recurse=False).values()} <= {
        "int", "float", "str", "NoneType", "tuple", "Completed",
    }  # fmt: skip
