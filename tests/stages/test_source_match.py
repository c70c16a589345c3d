from typing import Any

import pytest

from tests.stages.governed import Governed
from tests.strategies import make_session
from trioedge.errors import ConfigurationError
from trioedge.session.verdict import CONTINUE, Reason, Reject, Verdict
from trioedge.stages.source_match import SourceMatch

UNMATCHED = Reject(Reason.SOURCE, "matches no accepted entry")


def answer(match: SourceMatch, source: str) -> Verdict:
    return match.decide(make_session(source=source))


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
def test_the_longest_prefix_wins_and_strangers_are_refused(source: str, verdict: Verdict) -> None:
    match = SourceMatch(accept=["10.0.0.0/8", "10.9.9.0/24"], reject=["10.9.0.0/16", "10.9.9.9"])
    assert answer(match, source) == verdict


@pytest.mark.parametrize(
    ("source", "verdict"),
    [("192.0.2.1", CONTINUE), ("2001:db8::1", Reject(Reason.SOURCE, "2001:db8::/32")), ("unix", CONTINUE)],
)
def test_who_is_not_rejected_may_come_when_nobody_is_accepted_by_name(source: str, verdict: Verdict) -> None:
    assert answer(SourceMatch(reject=["2001:db8::/32"]), source) == verdict


@pytest.mark.parametrize("source", ["192.0.2.1", "::", "unix"])
def test_no_rules_refuse_nobody(source: str) -> None:
    assert answer(SourceMatch(), source) is CONTINUE


def test_clients_of_a_local_socket_are_matched_by_name() -> None:
    assert answer(SourceMatch(accept=["unix"]), "unix") is CONTINUE
    assert answer(SourceMatch(reject=["unix"]), "unix") == Reject(Reason.SOURCE, "unix")


def test_entries_may_come_from_anything_that_gives_them_once() -> None:
    match = SourceMatch(accept=iter(["10.0.0.1"]), reject=(entry for entry in ["10.0.0.2"]))
    assert repr(match) == "SourceMatch(1 accepted, 1 rejected)"
    assert answer(match, "10.0.0.1") is CONTINUE
    assert answer(match, "10.0.0.2") == Reject(Reason.SOURCE, "10.0.0.2")
    assert answer(match, "10.0.0.3") == UNMATCHED


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


def test_every_faulty_entry_is_named_and_those_beyond_a_hundred_are_counted() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        SourceMatch(accept=["300.0.0.1", "nohost"], reject=["zz"] * 100)
    faults = str(refusal.value).split("; ")
    assert [fault.partition(" ")[0] for fault in faults[:3]] == ["accept[0]", "accept[1]", "reject[0]"]
    assert faults[100:] == ["and 2 more"]


def test_what_is_both_accepted_and_rejected_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="both accepted and rejected"):
        SourceMatch(accept=["10.0.0.0/8"], reject=["10.0.0.0/8"])


# The policy of a service.


def governed(match: SourceMatch) -> Governed:
    world = Governed()
    match.bind(world.context)
    return world


def shop(match: SourceMatch, source: str) -> Verdict:
    return match.decide(make_session(source=source, service="shop"))


def test_without_entries_of_its_own_it_goes_by_the_policy() -> None:
    match = SourceMatch()
    world = governed(match)
    world.put()
    assert shop(match, "192.0.2.1") is CONTINUE
    world.put(accept=("10.0.0.0/8",), reject=("10.9.0.0/16",))
    assert [shop(match, source) for source in ("10.0.0.1", "10.9.0.1", "192.0.2.1")] == [
        CONTINUE,
        Reject(Reason.SOURCE, "10.9.0.0/16"),
        UNMATCHED,
    ]
    world.put(reject=("192.0.2.1",))
    assert [shop(match, source) for source in ("10.9.0.1", "192.0.2.1")] == [
        CONTINUE,
        Reject(Reason.SOURCE, "192.0.2.1"),
    ]
    world.put()
    assert shop(match, "192.0.2.1") is CONTINUE


def test_each_service_has_rules_of_its_own_and_one_that_is_not_named_no_sessions() -> None:
    match = SourceMatch()
    world = governed(match)
    world.put(reject=("192.0.2.1",))
    world.put("blog")
    assert shop(match, "192.0.2.1") == Reject(Reason.SOURCE, "192.0.2.1")
    assert match.decide(make_session(service="blog")) is CONTINUE
    assert match.decide(make_session(service="ghost")) == Reject(Reason.SERVICE, "no such service")


def test_with_entries_of_its_own_it_knows_of_no_policy() -> None:
    match = SourceMatch(reject=["10.0.0.0/8"])
    governed(match).put(reject=("192.0.2.1",))
    assert shop(match, "192.0.2.1") is CONTINUE
    assert match.decide(make_session(source="10.0.0.1", service="ghost")) == Reject(Reason.SOURCE, "10.0.0.0/8")
    assert (match.enforces, match.requires) == ((), ())
    assert (SourceMatch().enforces, SourceMatch().requires) == (("accept", "reject"), ("service",))


def test_without_a_control_plane_no_entries_refuse_nobody() -> None:
    match = SourceMatch()
    match.bind(Governed(governed=False).context)
    assert shop(match, "192.0.2.1") is CONTINUE
    assert repr(match) == "SourceMatch()"
