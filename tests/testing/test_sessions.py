import pytest

import trioedge as te
from trioedge.testing import make_session


def test_a_session_is_as_an_edge_makes_it_at_accept() -> None:
    session = make_session("2001:DB8::1", now=5.0, listener="tcp://[::]:443", port=4711)
    assert (session.source, session.source_port, session.listener) == ("2001:db8::1", 4711, "tcp://[::]:443")
    assert len(session.source_bytes) == 16
    assert (session.started_at, session.now) == (5.0, 5.0)
    assert (session.phase, session.stream, session.device) == ("deciding", None, None)


def test_a_local_client_has_no_bytes() -> None:
    assert (make_session("unix").source, make_session("unix").source_bytes) == ("unix", b"")


def test_every_session_has_an_id_of_its_own() -> None:
    first, second = make_session(), make_session()
    assert first.id < second.id


def test_every_session_has_its_service_to_itself() -> None:
    one, other = make_session(service="shop"), make_session(service="shop")
    assert one.service.name == other.service.name == "shop"
    assert one.service is not other.service


def test_the_policy_is_that_of_its_service() -> None:
    session = make_session(policy=te.Policy(max_sessions=3, session_rate=2.0, session_burst=4))
    assert session.policy.max_sessions == session.service.policy.max_sessions == 3
    assert session.service.session_rate is not None
    assert session.service.name == "default"


def test_a_stage_may_name_any_service_which_then_has_the_default_policy() -> None:
    session = make_session(service="shop", policy=te.Policy(max_sessions=3))
    session.service = "bank"
    assert (session.service.name, session.policy.max_sessions) == ("bank", None)
    session.service = "shop"
    assert session.policy.max_sessions == 3


def test_a_disabled_policy_gives_a_session_whose_service_refuses() -> None:
    session = make_session(service="shop", policy=te.Policy(enabled=False))
    session.service = "shop"
    assert session.refusal == te.Reject(te.Reason.SERVICE, "the service is disabled")


@pytest.mark.parametrize("source", ["", "localhost", "192.0.2.1:80"])
def test_a_source_that_is_no_address_is_refused(source: str) -> None:
    with pytest.raises(te.ConfigurationError, match="is not an IP address"):
        make_session(source)


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_a_service_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"make_session\(service='.*'\): a service's name has 1 to 255 letters"):
        make_session(service=name)
