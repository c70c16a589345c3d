import re
from typing import Any

import pytest

import trioedge as te


def greet(session: te.Session) -> te.Steps:
    yield te.Send(b"PING")
    return te.CONTINUE


def plain(session: te.Session) -> Any:
    return te.CONTINUE


A, B = "tcp://192.0.2.1:80", "tcp://192.0.2.2:80"


def test_addresses_become_members_with_weight_one() -> None:
    balanced = te.Balanced([A, te.Member(B, weight=2, backup=True)])
    assert balanced.members == (te.Member(A), te.Member(B, weight=2, backup=True))
    assert balanced.members[0].weight == 1
    assert balanced.policy == "least_sessions"


def test_its_repr_names_members_policy_and_check() -> None:
    assert repr(te.Balanced([A], "round_robin", check="connect")) == (
        "Balanced(['tcp://192.0.2.1:80'], 'round_robin', check='connect')"
    )


def test_a_handshake_is_a_check() -> None:
    assert "check=handshake(greet)" in repr(te.Balanced([A], check=te.handshake(greet)))


@pytest.mark.parametrize(
    ("members", "changes", "fault"),
    [
        ([], {}, "Balanced has 0 members: it needs 1 to 1,000"),
        ([f"tcp://192.0.2.1:{port}" for port in range(1, 1002)], {}, "Balanced has 1,001 members"),
        (A, {}, "must be a list: write Balanced(['tcp://192.0.2.1:80'])"),
        (7, {}, "Balanced(7) must be a list"),
        ([A, A], {}, "names tcp://192.0.2.1:80 twice: give one member a larger weight"),
        (["192.0.2.1:80"], {}, "must begin with tcp:// or unix://"),
        ([A], {"policy": "random"}, "must be 'least_sessions' or 'round_robin' or 'source_hash'"),
        ([A], {"tries": 0}, "Balanced(tries=0)"),
        ([A], {"tries": 11}, "Balanced(tries=11)"),
        ([A], {"try_seconds": 0}, "Balanced(try_seconds=0)"),
        ([A], {"max_failures": 0}, "Balanced(max_failures=0)"),
        ([A], {"slow_seconds": -1}, "Balanced(slow_seconds=-1)"),
        ([A], {"check": "ping"}, "Balanced(check='ping')"),
        ([A], {"check": greet}, "is no check: lift the function with @te.handshake"),
        ([A], {"check": 7}, "Balanced(check=7) is no check: write 'connect', or give a handshake"),
        ([A], {"check": te.handshake(plain)}, "Balanced(check=plain): converse() has no yield"),
        ([A], {"check_seconds": 0.01}, "Balanced(check_seconds=0.01)"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(members: Any, changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(te.ConfigurationError, match=re.escape(fault)):
        te.Balanced(members, **changes)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"weight": 0}, "Member('tcp://192.0.2.1:80', weight=0) must be a number above 0"),
        ({"weight": 1001}, "weight=1001) must be a number above 0 and at most 1000"),
        ({"backup": 1}, "backup=1) must be true or false"),
        ({"drain": "no"}, "drain='no') must be true or false"),
    ],
)
def test_a_wrong_argument_of_a_member_is_refused_by_name(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(te.ConfigurationError, match=re.escape(fault)):
        te.Member(A, **changes)


def test_a_member_drains_and_is_restored() -> None:
    balanced = te.Balanced([A, te.Member(B, drain=True)])
    drained = te.Member(B).address
    assert balanced.draining.addresses == {drained}
    balanced.restore(B)
    assert not balanced.draining.addresses
    balanced.drain(B)
    assert balanced.draining.addresses == {drained}


def test_only_a_member_can_drain() -> None:
    with pytest.raises(te.ConfigurationError, match=r"tcp://192\.0\.2\.9:80 is no member of Balanced"):
        te.Balanced([A]).drain("tcp://192.0.2.9:80")


def test_its_attributes_cannot_be_set() -> None:
    with pytest.raises(AttributeError, match=r"Balanced\.tries cannot be set"):
        te.Balanced([A]).tries = 7


def test_forward_takes_it_as_a_destination() -> None:
    assert repr(te.Forward(te.Balanced([A]), preconnect=2)).startswith("Forward(Balanced(['tcp://192.0.2.1:80']")
    assert te.Forward(te.Balanced([A, B]), preconnect=2).descriptors == 4
