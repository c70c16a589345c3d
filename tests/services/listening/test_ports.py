"""Which listeners a policy may have on an edge, beside the other services and the edge's own."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from tests.support.services import Tenants
from trioedge.addresses.address import parse_address
from trioedge.addresses.open_ports import listener_address, overlap, parse_open_ports
from trioedge.errors import Faults
from trioedge.services.listening.ports import Ports, listen_faults
from trioedge.services.policy import Policy, Settings
from trioedge.services.snapshot import Snapshot
from trioedge.upstreams.own_listeners import reached

OPEN = parse_open_ports("tcp://[::]:20000-29999")
OWN = [parse_address("tcp://127.0.0.1:20080"), parse_address("unix:///run/edge.sock")]


def at(*ports: int, to: str | None = None, host: str = "0.0.0.0", enabled: bool = True) -> Policy:
    return Policy(listen=tuple(f"tcp://{host}:{port}" for port in ports), destination=to, enabled=enabled)


def ports_of(**services: Policy) -> Tenants:
    tenants = Tenants()
    tenants.services.ports = Ports(OPEN, OWN, reached)
    tenants.apply(Snapshot({name: Settings(policy) for name, policy in services.items()}))
    return tenants


def conflicts(tenants: Tenants, *removed: str, full: bool = False, **services: Any) -> list[str]:
    snapshot = Snapshot({name: Settings(policy) for name, policy in services.items()}, frozenset(removed), full)
    found = Faults()
    for _ in tenants.services.ports.conflicts([(change, None) for change in tenants.changes(snapshot)], found):
        pass
    return [*found]


OUTSIDE = "is outside of open_ports tcp://[::]:20000-29999: choose a port there, or add this one"
EDGES = "is tcp://127.0.0.1:20080, where the edge itself listens: choose another port"


@pytest.mark.parametrize(
    ("listen", "found"),
    [
        ((), []),
        (("tcp://0.0.0.0:20001", "tcp://[::]:29999"), []),
        (("tcp://0.0.0.0:20001", "tcp://0.0.0.0:80"), [f"[1] = 'tcp://0.0.0.0:80' {OUTSIDE}"]),
        (("tcp://127.0.0.1:20080",), [f"[0] = 'tcp://127.0.0.1:20080' {EDGES}"]),
        (("tcp://0.0.0.0:20080",), [f"[0] = 'tcp://0.0.0.0:20080' {EDGES}"]),
        (("tcp://[::1]:20080",), []),
    ],
)
def test_a_listener_is_within_the_open_ports_and_none_of_the_edges_own(listen: Any, found: list[str]) -> None:
    assert [*listen_faults(Policy(listen=listen), "services.shop", OPEN, OWN)] == [
        f"services.shop.listen{fault}" for fault in found
    ]


def test_an_edge_without_open_ports_says_how_to_allow_a_listener() -> None:
    (fault,) = listen_faults(at(20_001), "services.shop", None, OWN)
    assert fault == (
        "services.shop.listen = ['tcp://0.0.0.0:20001'] cannot be: this edge lets no policy name listeners. Write "
        "Edge(open_ports='tcp://0.0.0.0:20000-29999'), with the ports that you mean"
    )
    tenants = ports_of()
    tenants.services.ports = Ports()
    assert [*tenants.services.ports.faults(at(20_001), "services.shop")] == [fault]
    assert conflicts(tenants, shop=at(20_001), cafe=at(20_001)) == []


TAKEN = "services.{}.listen[0] = '{}' is taken: services.{} has the listener {}. Give one of them another port"


def test_two_services_of_one_snapshot_cannot_have_one_listener() -> None:
    found = conflicts(ports_of(), shop=at(20_001), cafe=at(20_001), bar=at(20_002))
    assert found == [TAKEN.format("cafe", "tcp://0.0.0.0:20001", "shop", "tcp://0.0.0.0:20001")]


def test_a_listener_of_a_service_that_stays_is_taken_also_by_a_wildcard_and_while_it_is_disabled() -> None:
    tenants = ports_of(shop=at(20_001), cafe=at(20_002, host="127.0.0.1", enabled=False))
    assert conflicts(tenants, bar=at(20_001)) == [
        TAKEN.format("bar", "tcp://0.0.0.0:20001", "shop", "tcp://0.0.0.0:20001")
    ]
    assert conflicts(tenants, bar=at(20_002)) == [
        TAKEN.format("bar", "tcp://0.0.0.0:20002", "cafe", "tcp://127.0.0.1:20002")
    ]
    assert conflicts(tenants, bar=at(20_002, host="127.0.0.2")) == []


def test_a_listener_of_a_service_that_changes_or_goes_is_free() -> None:
    tenants = ports_of(shop=at(20_001), cafe=at(20_002))
    assert conflicts(tenants, "shop", bar=at(20_001)) == []
    assert conflicts(tenants, bar=at(20_001), full=True) == []
    assert conflicts(tenants, bar=at(20_001), shop=at(20_003)) == []
    assert conflicts(tenants, shop=at(20_002), cafe=at(20_001)) == [], "they swap"
    assert conflicts(tenants, shop=at(20_001, 20_003)) == [], "its own"


HERE = "tcp://127.0.0.1:20001"
LEADS = f"services.{{}} leads to '{HERE}', where this edge listens for services.{{}}: its sessions would come back"


@pytest.mark.parametrize("field", ["destination", "outbound"])
def test_a_destination_that_is_a_listener_of_a_service_is_a_fault_whichever_of_them_comes_first(field: str) -> None:
    leads, listens = Policy(**{field: HERE}), at(20_001)  # type: ignore[arg-type]
    fault = [LEADS.format("cafe", "shop")]
    assert conflicts(ports_of(), shop=listens, cafe=leads) == fault
    assert conflicts(ports_of(shop=listens), cafe=leads) == fault
    assert conflicts(ports_of(cafe=leads), shop=listens) == fault
    assert conflicts(ports_of(), shop=at(20_001, to=HERE)) == [LEADS.format("shop", "shop")]
    assert conflicts(ports_of(shop=listens), shop=at(20_002), cafe=leads) == []
    assert conflicts(ports_of(cafe=leads), shop=listens, cafe=at(to="tcp://192.0.2.9:20001")) == []
    assert conflicts(ports_of(cafe=leads), "cafe", shop=listens) == []


def test_a_local_socket_and_an_outbound_by_name_have_no_port() -> None:
    tenants = ports_of(shop=at(20_001, to="unix:///run/shop.sock"), cafe=Policy(outbound="tunnel"))
    assert conflicts(tenants, bar=at(20_002)) == []
    assert conflicts(tenants, "shop", "cafe", bar=at(20_001)) == []


some = st.builds(
    at,
    st.integers(20_001, 20_003),
    st.integers(20_004, 20_006),
    host=st.sampled_from(["0.0.0.0", "127.0.0.1", "[::]", "[::1]"]),
    to=st.none() | st.sampled_from(["tcp://127.0.0.1:20001", "tcp://192.0.2.1:20002", "unix:///run/x.sock"]),
    enabled=st.booleans(),
)
snapshots = st.dictionaries(st.sampled_from("abc"), st.none() | some, max_size=3)


def is_good(services: dict[str, Policy]) -> bool:
    """Judge all services as one, by the rules as they are told."""
    listening = [(name, listener_address(each)) for name, policy in services.items() for each in policy.listen]
    return not any(
        overlap(address, other) for name, address in listening for owner, other in listening if owner != name
    ) and not any(
        policy.to is not None and reached(policy.to, [str(address)]) is not None
        for policy in services.values()
        for _, address in listening
    )


@examples(60)
@given(st.lists(snapshots, max_size=5))
def test_a_change_is_accepted_exactly_if_all_services_together_would_be(steps: list[dict[str, Policy | None]]) -> None:
    tenants, there = ports_of(), dict[str, Policy]()
    for step in steps:
        removed = [name for name, policy in step.items() if policy is None]
        named = {name: policy for name, policy in step.items() if policy is not None}
        after = {name: policy for name, policy in {**there, **named}.items() if name not in removed}
        found = conflicts(tenants, *removed, full=False, **named)
        assert bool(found) is not is_good(after)
        if not found:
            tenants.apply(Snapshot({n: Settings(p) for n, p in named.items()}, frozenset(removed), full=False))
            there = after
            assert not conflicts(ports_of(), full=False, **there), "the same after a restart"
