from typing import Any, Literal

import pytest
import trio.testing

import trioedge as te
from tests.support.governed import Governed
from trioedge.errors import ConfigurationError
from trioedge.session.verdict import CONTINUE, Reason, Reject, Verdict
from trioedge.stages.source_match import SourceMatch
from trioedge.testing import check_decision, echo, make_session, open_edge

UNMATCHED = Reject(Reason.SOURCE, "matches no accepted entry")


def answer(match: SourceMatch, source: str) -> Verdict:
    return match.decide(make_session(source))


# Entries of its own.


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        ("10.0.0.1", CONTINUE),
        ("::ffff:10.0.0.1", CONTINUE),
        ("10.9.0.1", Reject(Reason.SOURCE, "10.9.0.0/16")),
        ("10.9.9.1", CONTINUE),
        ("10.9.9.9", Reject(Reason.SOURCE, "10.9.9.9")),
        ("192.0.2.1", UNMATCHED),
        ("2001:db8::1", UNMATCHED),
        ("unix", UNMATCHED),
    ],
)
def test_the_longest_prefix_wins_and_an_unmatched_address_is_refused(source: str, verdict: Verdict) -> None:
    match = SourceMatch(accept=["10.0.0.0/8", "10.9.9.0/24"], reject=["10.9.0.0/16", "10.9.9.9"])
    assert answer(match, source) == verdict


@pytest.mark.parametrize(
    ("source", "verdict"),
    [("192.0.2.1", CONTINUE), ("2001:db8::1", Reject(Reason.SOURCE, "2001:db8::/32")), ("unix", CONTINUE)],
)
def test_with_reject_entries_only_an_unmatched_address_is_accepted(source: str, verdict: Verdict) -> None:
    assert answer(SourceMatch(reject=["2001:db8::/32"]), source) == verdict


def test_clients_of_a_local_socket_are_matched_by_the_entry_unix() -> None:
    assert answer(SourceMatch(accept=["unix"]), "unix") is CONTINUE
    assert answer(SourceMatch(reject=["unix"]), "unix") == Reject(Reason.SOURCE, "unix")


def test_entries_may_come_from_an_iterator() -> None:
    match = SourceMatch(accept=iter(["10.0.0.1"]), reject=(entry for entry in ["10.0.0.2"]))
    assert repr(match) == "SourceMatch(1 accepted, 1 rejected)"
    assert answer(match, "10.0.0.1") is CONTINUE
    assert answer(match, "10.0.0.2") == Reject(Reason.SOURCE, "10.0.0.2")
    assert answer(match, "10.0.0.3") == UNMATCHED


@pytest.mark.parametrize(("of", "verdict"), [("peer", CONTINUE), ("source", Reject(Reason.SOURCE, "203.0.113.0/24"))])
def test_a_client_behind_a_balancer_is_matched_by_its_source_or_by_its_peer(
    of: Literal["peer", "source"], verdict: Verdict
) -> None:
    match = SourceMatch(accept=["192.0.2.0/24"], reject=["203.0.113.0/24"], of=of)
    session = make_session("192.0.2.1")
    assert match.decide(session) is CONTINUE, "before a stage has moved its source"
    session.set_source("203.0.113.7")
    assert match.decide(session) == verdict


def test_what_a_match_requires_follows_from_its_entries_and_its_address() -> None:
    assert SourceMatch().requires == ("service", "source")
    assert SourceMatch(of="peer").requires == ("service",)
    assert SourceMatch(["10.0.0.1"]).requires == ("source",)
    assert SourceMatch(["10.0.0.1"], of="peer").requires == ()


def test_a_match_of_peers_may_stand_before_a_stage_that_moves_the_source_and_one_of_sources_may_not() -> None:
    @te.decision(provides=("source",))
    def balancer(session: te.Session) -> te.Verdict:
        session.set_source("203.0.113.7")
        return te.CONTINUE

    forward = te.Forward("tcp://192.0.2.9:1")
    te.Edge("tcp://127.0.0.1:0", [te.SourceMatch(["192.0.2.0/24"], of="peer"), balancer], forward)
    with pytest.raises(ConfigurationError, match="needs the session's source before anything names it"):
        te.Edge("tcp://127.0.0.1:0", [te.SourceMatch(["192.0.2.0/24"]), balancer], forward)


@pytest.mark.parametrize("argument", ["accept", "reject"])
@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("10.0.0.0/8", "='10.0.0.0/8' must be a list of entries"),
        ("", "='' must be a list of entries"),
        (["10.0.0.0/8", "nobody"], "[1] = 'nobody' is not an address"),
        (None, "=None must be a list of entries"),
        (10, "=10 must be a list of entries"),
    ],
)
def test_a_bad_argument_is_named_and_quoted(argument: str, value: Any, wrong: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        SourceMatch(**{argument: value})
    assert str(refusal.value).startswith(f"{argument}{wrong}")


@pytest.mark.parametrize("of", ["", "client", None, 1])
def test_an_address_that_is_neither_source_nor_peer_is_refused(of: Any) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        SourceMatch(["10.0.0.1"], of=of)
    assert str(refusal.value) == f"SourceMatch(of={of!r}) must be 'source' or 'peer'"


def test_every_bad_entry_is_named_and_those_beyond_a_hundred_are_counted() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        SourceMatch(accept=["300.0.0.1", "nohost"], reject=["zz"] * 100)
    faults = str(refusal.value).split("; ")
    assert [fault.partition(" ")[0] for fault in faults[:3]] == ["accept[0]", "accept[1]", "reject[0]"]
    assert faults[100:] == ["and 2 more"]


def test_an_entry_that_is_both_accepted_and_rejected_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="both accepted and rejected"):
        SourceMatch(accept=["10.0.0.0/8"], reject=["10.0.0.0/8"])


def test_a_match_without_entries_is_refused_at_start_on_an_edge_without_a_control_plane() -> None:
    forward = te.Forward("tcp://192.0.2.9:1")
    with pytest.raises(ConfigurationError) as refusal:
        te.Edge("tcp://127.0.0.1:0", [te.SourceMatch()], forward)
    assert str(refusal.value).startswith(
        "stage 1 (SourceMatch) has no limit: give it an argument, or give the edge control=…"
    )
    te.Edge("tcp://127.0.0.1:0", [te.SourceMatch(["10.0.0.1"])], forward)
    te.Edge("tcp://127.0.0.1:0", [te.SourceMatch()], forward, control=te.MemoryControl({}))


def test_a_match_is_a_decision_and_prints_how_many_entries_it_has() -> None:
    for match, text in (
        (SourceMatch(), "SourceMatch()"),
        (SourceMatch(of="peer"), "SourceMatch(of='peer')"),
        (SourceMatch(["10.0.0.1"], ["10.0.0.2"]), "SourceMatch(1 accepted, 1 rejected)"),
        (SourceMatch(["10.0.0.1"], of="peer"), "SourceMatch(1 accepted, 0 rejected, of='peer')"),
    ):
        check_decision(match)
        assert repr(match) == text


# The policy of a service.


@pytest.fixture
def world() -> Governed:
    return Governed()


def from_source(match: SourceMatch, world: Governed, source: str, service: str = "shop") -> Verdict:
    return match.decide(world.session(service, source=source))


@pytest.mark.parametrize("source", ["192.0.2.1", "::", "unix"])
def test_without_entries_and_without_rules_every_address_is_accepted(source: str, world: Governed) -> None:
    world.put()
    assert from_source(SourceMatch(), world, source) is CONTINUE


def test_without_entries_the_rules_of_the_policy_apply_from_the_moment_of_a_change(world: Governed) -> None:
    match = SourceMatch()
    world.put(accept=("10.0.0.0/8",), reject=("10.9.0.0/16",))
    assert [from_source(match, world, source) for source in ("10.0.0.1", "10.9.0.1", "192.0.2.1")] == [
        CONTINUE,
        Reject(Reason.SOURCE, "10.9.0.0/16"),
        UNMATCHED,
    ]
    world.put(reject=("192.0.2.1",))
    assert [from_source(match, world, source) for source in ("10.9.0.1", "192.0.2.1")] == [
        CONTINUE,
        Reject(Reason.SOURCE, "192.0.2.1"),
    ]
    world.put()
    assert from_source(match, world, "192.0.2.1") is CONTINUE


def test_the_rules_of_a_policy_match_the_peer_if_the_stage_says_so(world: Governed) -> None:
    world.put(reject=("192.0.2.1",))
    session = world.session("shop", source="192.0.2.1")
    session.set_source("203.0.113.7")
    assert SourceMatch().decide(session) is CONTINUE
    assert SourceMatch(of="peer").decide(session) == Reject(Reason.SOURCE, "192.0.2.1")


def test_each_service_has_rules_of_its_own(world: Governed) -> None:
    match = SourceMatch()
    world.put(reject=("192.0.2.1",))
    world.put("blog")
    assert from_source(match, world, "192.0.2.1", "shop") == Reject(Reason.SOURCE, "192.0.2.1")
    assert from_source(match, world, "192.0.2.1", "blog") is CONTINUE


def test_a_match_with_entries_ignores_the_policy(world: Governed) -> None:
    match = SourceMatch(reject=["10.0.0.0/8"])
    world.put(reject=("192.0.2.1",))
    assert from_source(match, world, "192.0.2.1") is CONTINUE
    assert from_source(match, world, "10.0.0.1") == Reject(Reason.SOURCE, "10.0.0.0/8")


def test_a_match_without_entries_enforces_the_rules_of_policies_and_is_asked_again_when_they_change() -> None:
    assert SourceMatch().enforces == SourceMatch().rechecks == ("accept", "reject")
    assert SourceMatch(["10.0.0.1"]).enforces == SourceMatch(["10.0.0.1"]).rechecks == ()


async def test_a_live_session_that_new_rules_refuse_is_cut_and_the_others_go_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    control = te.MemoryControl({"default": te.Policy()})
    edge = te.Edge("tcp://127.0.0.1:0", [SourceMatch()], te.Forward("tcp://192.0.2.9:1"), control=control)
    async with open_edge(edge, echo) as world:
        stays, goes = await world.connect("192.0.2.1"), await world.connect("192.0.2.2")
        await control.put("default", te.Policy(reject=("192.0.2.2",)))
        await goes.ended()
        assert world.edge.statistics().ended == {Reason.SOURCE: 1}
        await stays.send(b"x")
        assert await stays.receive(1) == b"x"
        assert (await world.connect("192.0.2.2")).outcome == Reject(Reason.SOURCE, "192.0.2.2")
