"""What opens, moves and closes when services change: tables, and any sequence of snapshots."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from tests.support.services import Tenants
from trioedge.addresses.address import Address
from trioedge.services.policy import Policy, Settings
from trioedge.services.service import Service
from trioedge.services.snapshot import Change, Snapshot
from trioedge.serving.listening.claims import Claims, wanted


def address(port: int) -> Address:
    return Address("tcp", "0.0.0.0", port)


def at(*ports: int, **said: Any) -> Policy:
    return Policy(listen=tuple(f"tcp://0.0.0.0:{port}" for port in ports), **said)


class Followed(Tenants):
    """Services whose changes claims follow.

    Attributes:
        claims: they.
        steps: the addresses of each change, with the names of those that have them then.
    """

    def __init__(self, **services: Any) -> None:
        super().__init__()
        self.claims = Claims()
        self.services.watch(self)
        self.steps: list[tuple[int, str | None]] = []
        self.now(**services)

    def changed(self, service: Service, change: Change) -> None:
        for each in self.claims.follow(service, change):
            owner = self.claims.owner(each)
            self.steps.append((each.port, None if owner is None else owner.name))

    def now(self, *removed: str, full: bool = False, **services: Any) -> list[tuple[int, str | None]]:
        """Apply a snapshot; give what was taken or released."""
        self.steps = []
        self.apply(Snapshot({n: Settings(p) for n, p in services.items()}, frozenset(removed), full))
        return self.steps

    def freed(self) -> list[int]:
        """End the snapshot; give the ports that are closed."""
        ports = []
        while (free := self.claims.free()) is not None:
            ports.append(free.port)
        return ports


@pytest.mark.parametrize(
    ("services", "change", "steps", "freed"),
    [
        ({}, {"a": at(1, 2)}, [(1, "a"), (2, "a")], []),
        ({}, {"a": at(1, enabled=False)}, [], []),
        ({"a": at(1)}, {"a": at(1, 2)}, [(2, "a")], []),
        ({"a": at(1, 2)}, {"a": at(2, 3)}, [(3, "a"), (1, None)], [1]),
        ({"a": at(1, 2)}, {"a": at(2, 1)}, [], []),
        ({"a": at(1)}, {"a": at(1, session_rate=5)}, [], []),
        ({"a": at(1)}, {"a": at(1, enabled=False)}, [(1, None)], [1]),
        ({"a": at(1, enabled=False)}, {"a": at(1)}, [(1, "a")], []),
        ({"a": at(1, enabled=False)}, {"a": at(2, enabled=False)}, [], []),
        ({"a": at(1, enabled=False)}, {"a": at(2)}, [(2, "a")], []),
        ({"a": at(1)}, {"a": at(2, enabled=False)}, [(1, None)], [1]),
        ({"a": at(1), "b": at()}, {"b": at(1), "a": at()}, [(1, "b")], []),
        ({"a": at(1), "b": at()}, {"a": at(), "b": at(1)}, [(1, None), (1, "b")], []),
        ({"a": at(1), "b": at(2)}, {"a": at(2), "b": at(1)}, [(2, "a"), (1, None), (1, "b")], []),
        ({"a": at(1)}, {"b": at(1), "a": at(2)}, [(1, "b"), (2, "a")], []),
    ],
)  # fmt: skip
def test_a_change_takes_what_is_new_and_releases_what_is_old(
    services: dict[str, Policy], change: dict[str, Policy], steps: list[tuple[int, str | None]], freed: list[int]
) -> None:
    followed = Followed(**services)
    assert followed.now(full=False, **change) == steps
    assert followed.freed() == freed
    assert followed.freed() == []


def test_a_service_that_is_removed_releases_all_and_another_one_of_the_same_snapshot_takes_them() -> None:
    followed = Followed(a=at(1, 2))
    assert followed.now("a") == [(1, None), (2, None)]
    assert followed.now(b=at(2)) == [(2, "b")]
    assert followed.freed() == [1]


def test_a_service_that_is_named_again_is_another_owner() -> None:
    followed = Followed(a=at(1))
    first = followed.claims.owner(address(1))
    followed.now("a")
    assert followed.claims.owner(address(1)) is None
    followed.now(a=at(1))
    assert followed.claims.owner(address(1)) is followed.services.get("a") is not first
    assert followed.freed() == []


def test_two_spellings_are_one_listener() -> None:
    followed = Followed(a=Policy(listen=("tcp://[0::1]:1",)))
    assert followed.now(a=Policy(listen=("tcp://[::1]:01",))) == []
    assert [*followed.claims] == [Address("tcp", "::1", 1)]


def test_a_service_that_is_disabled_or_removed_wants_none() -> None:
    assert wanted(None) == wanted(Settings(at(1, enabled=False))) == wanted(Settings()) == ()
    assert wanted(Settings(at(1, 2))) == (address(1), address(2))


ports = st.permutations(range(1, 6))
names = st.permutations("abc")


@examples(60)
@given(st.lists(st.tuples(names, ports, st.sets(st.sampled_from("abc")), st.integers(0, 4)), max_size=6))
def test_after_any_snapshot_exactly_the_listeners_of_enabled_services_are_taken(
    snapshots: list[tuple[list[str], list[int], set[str], int]],
) -> None:
    """Each snapshot deals other ports to some services, in any order, and disables or removes some."""
    followed = Followed()
    for order, dealt, disabled, cut in snapshots:
        before = set(followed.claims)
        share = {name: tuple(sorted(dealt[number::3])[:cut]) for number, name in enumerate(order)}
        named = {name: at(*share[name], enabled=name not in disabled) for name in order if share[name]}
        followed.now(full=True, **named)
        expected = {address(port): name for name, policy in named.items() if policy.enabled for port in share[name]}
        freed = followed.freed()
        owners = {each: followed.claims.owner(each) for each in followed.claims}
        assert {each: owner.name for each, owner in owners.items() if owner is not None} == expected
        assert all(owner is followed.services.get(owner.name) for owner in owners.values() if owner is not None)
        assert len(followed.claims) == len(expected)
        assert {each.port for each in before - set(expected)} == set(freed)
