import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from tests.support.policies import policies
from trioedge.services.applying.outbounds import OutboundFacts, leads_somewhere, outbound_faults
from trioedge.services.policy import Policy

KNOWN = {
    "tunnel": OutboundFacts(),
    "direct": OutboundFacts(keeps_idle=True),
    "cluster": OutboundFacts(leads=True),
}
WEB = "tcp://192.0.2.9:80"


@pytest.mark.parametrize(
    "policy",
    [
        Policy(),
        Policy(destination=WEB, preconnect=3),
        Policy(outbound=WEB, preconnect=3),
        Policy(destination=WEB, outbound="tunnel"),
        Policy(destination=WEB, outbound="direct", preconnect=3),
        Policy(outbound="tunnel"),  # a stage names the destination
        Policy(outbound="cluster"),
    ],
)
def test_a_policy_that_fits_the_outbounds_has_no_fault(policy: Policy) -> None:
    assert list(outbound_faults(policy, "a", KNOWN)) == []


@pytest.mark.parametrize(
    ("policy", "fault"),
    [
        (
            Policy(outbound="tunel"),
            "a.outbound = 'tunel' is no outbound of this edge (did you mean tunnel?): it has cluster, direct, tunnel",
        ),
        (Policy(outbound="x"), "a.outbound = 'x' is no outbound of this edge: it has cluster, direct, tunnel"),
        (
            Policy(destination=WEB, outbound="tcp://192.0.2.8:80"),
            "a.outbound = 'tcp://192.0.2.8:80' is an address, and so is destination: leave one of them out",
        ),
        (
            Policy(destination=WEB, outbound="cluster"),
            "a.destination = 'tcp://192.0.2.9:80' does nothing: the outbound 'cluster' has destinations of its own",
        ),
        (
            Policy(outbound="cluster", preconnect=3),
            "a.preconnect = 3 does nothing: outbound 'cluster' keeps no idle connections",
        ),
        (
            Policy(destination=WEB, outbound="tunnel", preconnect=3),
            "a.preconnect = 3 does nothing: outbound 'tunnel' keeps no idle connections",
        ),
        (Policy(outbound="direct", preconnect=3), "a.preconnect = 3 needs a destination to connect to"),
    ],
)
def test_a_policy_that_does_not_fit_has_one_fault_with_the_mend(policy: Policy, fault: str) -> None:
    (found,) = outbound_faults(policy, "a", KNOWN)
    assert found.startswith(fault)


def test_a_name_on_an_edge_without_outbounds_is_taken_for_a_forgotten_address() -> None:
    (fault,) = outbound_faults(Policy(outbound="redis"), "a", {})
    assert fault == (
        "a.outbound = 'redis' is no address, and this edge has no outbounds: write tcp://host:port, or "
        "Edge(outbounds={'redis': …})"
    )


@pytest.mark.parametrize(
    ("policy", "leads"),
    [
        (Policy(), False),
        (Policy(outbound=WEB), True),
        (Policy(destination=WEB), True),
        (Policy(outbound="tunnel"), False),
        (Policy(outbound="cluster"), True),
        (Policy(outbound="unknown"), False),
    ],
)
def test_a_policy_leads_somewhere_if_it_names_an_address_or_members(policy: Policy, leads: bool) -> None:
    assert leads_somewhere(policy, KNOWN) == leads


@examples(50)
@given(policies(), st.sampled_from([{}, KNOWN]))
def test_a_policy_that_names_no_outbound_never_has_a_fault(policy: Policy, known: dict[str, OutboundFacts]) -> None:
    assert list(outbound_faults(policy, "a", known)) == []
