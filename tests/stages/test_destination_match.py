"""The access list by destination: as a decision, by policy, and at the connect."""

from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

import trioedge as te
from tests.support.governed import Governed
from tests.support.middlewares import read_ahead
from tests.support.wires import connect, server, serving
from trioedge.errors import ConfigurationError
from trioedge.testing import check_decision, echo, make_session, open_edge

UNMATCHED = te.Reject(te.Reason.DESTINATION, "matches no accepted entry")


def answer(match: te.DestinationMatch, destination: str | None) -> te.Verdict:
    session = make_session()
    session.destination = destination
    return match.decide(session)


@te.decision(provides=("destination",))
def wants(session: te.Session) -> te.Verdict:
    """Go where the client's address says: each test has its own clients."""
    session.destination = f"tcp://{session.source.replace('192.0.2.', 'host')}.test:443"
    return te.CONTINUE


# Entries of its own.


@pytest.mark.parametrize(
    ("destination", "verdict"),
    [
        ("tcp://shop.example:443", te.CONTINUE),
        ("tcp://a.b.shop.example:443", te.CONTINUE),
        ("tcp://shop.example:25", te.Reject(te.Reason.DESTINATION, "*:25")),
        ("tcp://bad.shop.example:443", te.Reject(te.Reason.DESTINATION, "bad.shop.example")),
        ("tcp://192.0.2.7:443", UNMATCHED),
        ("tcp://other.example:443", UNMATCHED),
        ("unix:///run/db.sock", UNMATCHED),
        (None, te.CONTINUE),
    ],
)
def test_a_destination_is_accepted_or_refused_with_the_entry(destination: str | None, verdict: te.Verdict) -> None:
    match = te.DestinationMatch(["shop.example", "*.shop.example"], ["*:25", "bad.shop.example"])
    assert answer(match, destination) == verdict


def test_with_reject_entries_only_the_rest_is_accepted() -> None:
    match = te.DestinationMatch(reject=["10.0.0.0/8"])
    assert answer(match, "tcp://192.0.2.7:443") is te.CONTINUE
    assert answer(match, "tcp://10.1.1.1:443") == te.Reject(te.Reason.DESTINATION, "10.0.0.0/8")
    assert answer(match, "tcp://db.test:443") is te.CONTINUE


def test_a_name_is_left_to_its_addresses_once_however_often_it_is_judged() -> None:
    match, other = te.DestinationMatch(reject=["10.0.0.0/8"]), te.DestinationMatch(accept=["192.0.2.0/24"])
    session = make_session()
    session.destination = "tcp://db.test:443"
    for each in (match, other, match):
        assert each.decide(session) is te.CONTINUE
    assert len(session.address_rules) == 2
    of_a_local_one = [rules.refusal(b"\x0a\1\1\1", 443) for rules in session.address_rules]
    of_a_public_one = [rules.refusal(b"\xc0\0\2\1", 443) for rules in session.address_rules]
    assert of_a_local_one == ["is rejected by 10.0.0.0/8", UNMATCHED.detail]
    assert of_a_public_one == ["", ""]


def test_a_session_that_goes_already_is_not_given_rules_for_addresses() -> None:
    session = make_session()
    session.destination, session.began = "tcp://db.test:443", True
    assert te.DestinationMatch(reject=["10.0.0.0/8"]).decide(session) is te.CONTINUE
    assert session.address_rules == ()


@pytest.mark.parametrize("rules", [None, "10.0.0.0/8", te.DestinationRules(), ()])
def test_rules_for_addresses_are_rules_for_addresses(rules: Any) -> None:
    with pytest.raises(TypeError, match=r"session\.judge_addresses\(.*\) needs AddressRules"):
        make_session().judge_addresses(rules)


def test_bad_entries_are_named_up_to_a_hundred() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        te.DestinationMatch(accept=["a b"], reject=["c d"] * 101)
    faults = str(refusal.value).split("; ")
    assert [fault.partition(" ")[0] for fault in faults[:2]] == ["accept[0]", "reject[0]"]
    assert faults[100] == "and 2 more"
    with pytest.raises(ConfigurationError, match=r"reject='10\.0\.0\.0/8' must be a list of entries"):
        te.DestinationMatch(reject="10.0.0.0/8")


def test_a_match_is_a_decision_and_prints_how_many_entries_it_has() -> None:
    match = te.DestinationMatch(["*.example.com"], ["*:25"])
    check_decision(match)
    assert repr(match) == "DestinationMatch(1 accepted, 1 rejected)"
    assert repr(te.DestinationMatch()) == "DestinationMatch()"


# Its place in a chain.


def edge(*stages: object, endpoint: Any = None, control: Any = None) -> te.Edge:
    return te.Edge("tcp://127.0.0.1:0", list(stages), te.Forward() if endpoint is None else endpoint, control=control)


def test_it_stands_behind_the_stage_that_names_the_destination() -> None:
    match = te.DestinationMatch(reject=["*:25"])
    edge(wants, match)
    for stages in ([match], [match, wants]):
        with pytest.raises(ConfigurationError, match="needs the session's destination before anything names it"):
            edge(*stages)


def test_without_entries_it_stands_behind_the_stage_that_names_the_service_and_needs_a_control_plane() -> None:
    control = te.MemoryControl({})
    edge(te.Identify("shop"), wants, te.DestinationMatch(), control=control)
    with pytest.raises(ConfigurationError, match="needs the session's service before anything names it: move it"):
        edge(wants, te.DestinationMatch(), te.Identify("shop"), control=control)
    with pytest.raises(ConfigurationError, match=r"stage 2 \(DestinationMatch\) has no limit"):
        edge(wants, te.DestinationMatch())


@pytest.mark.parametrize("endpoint", [te.Forward("tcp://192.0.2.9:1"), te.Forward(lambda _: "tcp://192.0.2.9:1"), echo])
def test_an_endpoint_that_goes_elsewhere_is_refused(endpoint: Any) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        edge(wants, te.DestinationMatch(reject=["*:25"]), endpoint=endpoint)
    assert str(refusal.value).startswith("stage 2 (DestinationMatch) judges the session's destination, and ")
    assert str(refusal.value).endswith("does not go there: end the chain with Forward() without an address")


# At the connect.


def to(destination: str) -> object:
    @te.decision(provides=("destination",))
    def named(session: te.Session) -> te.Verdict:
        session.destination = destination
        return te.CONTINUE

    return named


async def ending(*matches: te.DestinationMatch, stages: tuple[object, ...] = ()) -> dict[te.Reason, int]:
    """Give the reasons of one session to a server on 127.0.0.1, whose destination is a name of that address."""
    async with server() as upstream:
        made = edge(*stages, to(f"tcp://localhost:{upstream}"), *matches, endpoint=te.Forward(allow=["loopback"]))
        async with serving(made) as port:
            async with await connect(port) as client:
                await client.send_all(b"ping")
                with suppress(trio.BrokenResourceError):
                    await client.receive_some()
            while made.statistics().live:
                await trio.sleep(0.001)
        return dict(made.statistics().ended)


DENIED = {te.Reason.DESTINATION: 1}
RELAYED = {te.Reason.FINISHED: 1}


@pytest.mark.parametrize("stages", [(), (read_ahead,)], ids=["without a task", "with a task"])
async def test_a_name_whose_every_address_is_rejected_ends_with_the_reason_destination(stages: Any) -> None:
    assert await ending(te.DestinationMatch(reject=["127.0.0.0/8", "::1"]), stages=stages) == DENIED
    assert await ending(te.DestinationMatch(accept=["10.0.0.0/8"]), stages=stages) == DENIED
    assert await ending(te.DestinationMatch(accept=["*:1-65535"], reject=["127.0.0.1", "::1"]), stages=stages) == DENIED


@pytest.mark.parametrize("stages", [(), (read_ahead,)], ids=["without a task", "with a task"])
async def test_a_name_with_an_address_that_is_accepted_is_connected_to(stages: Any) -> None:
    assert await ending(te.DestinationMatch(reject=["10.0.0.0/8"]), stages=stages) == RELAYED
    assert await ending(te.DestinationMatch(accept=["127.0.0.0/8"]), stages=stages) == RELAYED
    assert await ending(te.DestinationMatch(accept=["localhost"], reject=["::1"]), stages=stages) == RELAYED


async def test_every_match_of_a_chain_judges_the_addresses() -> None:
    accepting, rejecting = te.DestinationMatch(accept=["127.0.0.0/8"]), te.DestinationMatch(reject=["127.0.0.1", "::1"])
    assert await ending(accepting, rejecting) == await ending(rejecting, accepting) == DENIED


# The policy of a service.


def governed(match: te.DestinationMatch, world: Governed, destination: str) -> te.Verdict:
    session = world.session("shop")
    session.destination = destination
    return match.decide(session)


def test_without_entries_those_of_the_policy_apply_from_the_moment_of_a_change() -> None:
    world, match = Governed(), te.DestinationMatch()
    world.put()
    assert governed(match, world, "tcp://a.test:25") is te.CONTINUE
    world.put(stages=(te.Destinations(accept=("*.test:443",)),))
    assert governed(match, world, "tcp://a.test:25") == UNMATCHED
    assert governed(match, world, "tcp://a.test:443") is te.CONTINUE
    world.put(stages=(te.Destinations(reject=("*:25",)),))
    assert governed(match, world, "tcp://a.test:25") == te.Reject(te.Reason.DESTINATION, "*:25")


def test_the_entries_of_a_policy_are_compiled_once_when_it_is_made() -> None:
    keys = te.Destinations(reject=("*:25",))
    assert keys.rules is keys.rules is not None
    assert te.Destinations().rules is None
    assert keys == te.Destinations(reject=("*:25",)), "their entries are compared, not what they were compiled to"


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"accept": ["a b"]}, "d.accept = ('a b',): accept[0] = 'a b' is no name"),
        ({"accept": "a.test"}, "d.accept = 'a.test' must be a list"),
        ({"reject": ["a.test"] * 257}, "d.reject = "),
        ({"accept": ["a.test"], "reject": ["a.test"]}, "d: reject[0] = 'a.test' is both accepted and rejected"),
        ({"acept": []}, "d has no key 'acept' (did you mean accept?): there are accept, reject"),
    ],
)
def test_a_fault_of_a_services_file_is_named_with_its_place(table: Any, fault: str) -> None:
    made, faults = te.StageKeys([te.Destinations]).read("destinations", table, "d")
    assert made is None
    assert faults[0].startswith(fault)


def test_a_program_that_writes_a_list_in_place_of_a_tuple_is_told() -> None:
    with pytest.raises(ConfigurationError, match="must be a tuple of names, networks or ports"):
        te.Destinations(accept=["a.test"])  # type: ignore[arg-type]


async def test_a_live_session_whose_destination_new_entries_refuse_is_cut(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = te.MemoryControl({"default": te.Policy()})
    made = edge(te.Identify(), wants, te.DestinationMatch(), control=control)
    async with open_edge(made) as world:
        stays, goes = await world.connect("192.0.2.1"), await world.connect("192.0.2.2")
        await goes.send(b"x")
        assert await goes.receive(1) == b"x"
        await control.put("default", te.Policy(stages=(te.Destinations(reject=("host2.test",)),)))
        await goes.ended()
        assert world.edge.statistics().ended == {te.Reason.DESTINATION: 1}
        await stays.send(b"x")
        assert await stays.receive(1) == b"x"
        again = await world.connect("192.0.2.2")
        assert await again.ended() == te.Reject(te.Reason.DESTINATION, "host2.test")
