"""Which upstream a session of `Forward` gets; `test_forward_chosen.py` and `test_forward_policies.py` have the rest."""

import pytest

import trioedge as te
from tests.support.wires import serving
from trioedge.endpoints.destinations import LiveDestinations
from trioedge.testing import make_context, make_session
from trioedge.upstreams.upstream import Upstream


def test_every_session_of_one_destination_has_the_same_upstream() -> None:
    destinations = LiveDestinations(te.Forward("tcp://192.0.2.1:80"), make_context())
    assert destinations.fixed is not None
    assert destinations.upstream(make_session()) is destinations.fixed


def test_a_session_without_a_destination_is_refused() -> None:
    refusal = LiveDestinations(te.Forward(), make_context()).upstream(make_session())
    assert refusal == te.Reject(te.Reason.SERVICE, "no stage wrote a destination, and its policy names none")


def test_two_sessions_that_name_one_destination_share_an_upstream_unless_their_services_differ() -> None:
    destinations = LiveDestinations(te.Forward(), make_context())

    def upstream_of(service: str) -> Upstream:
        session = make_session(service=service)
        session.destination = "tcp://192.0.2.1:80"
        upstream = destinations.upstream(session)
        assert isinstance(upstream, Upstream)
        return upstream

    assert upstream_of("shop") is upstream_of("shop")
    assert upstream_of("shop") is not upstream_of("blog")


async def test_an_outbound_that_cannot_preconnect_is_closed_again() -> None:
    closed = []

    class Way:
        def open(self, context: te.EdgeContext) -> "Way":
            return Way()

        async def connect(self, address: te.Address) -> te.Upstream:
            raise AssertionError

        def close(self) -> None:
            closed.append(self)

    edge = te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://192.0.2.1:80", preconnect=2, outbound=Way()))
    with pytest.RaisesGroup(te.ConfigurationError, flatten_subgroups=True):
        async with serving(edge):
            raise AssertionError
    assert len(closed) == 1
