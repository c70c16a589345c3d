from collections.abc import Sequence
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.upstreams.balancing.choice import POLICIES, C, LeastSessions
from trioedge.upstreams.balancing.group import Group, GroupMember
from trioedge.upstreams.balancing.health import Health


def member(name: str, *, weight: float = 1, backup: bool = False) -> GroupMember:
    return GroupMember(name, weight, Health(1, 10.0, lambda: 1.0), backup=backup)


def group(*members: GroupMember) -> Group[GroupMember]:
    return Group(members, LeastSessions())


class Seen:
    """A policy that notes what it may choose from, and chooses the first one."""

    def __init__(self) -> None:
        self.offered: list[tuple[str, float]] = []

    def __call__(self, candidates: Sequence[C], key: bytes) -> C:
        self.offered = [(getattr(each, "name", ""), each.weight) for each in candidates]
        return candidates[0]


def test_two_members_share_the_sessions() -> None:
    a, b = member("a"), member("b")
    both = group(a, b)
    assert {both.choose(b"", 0), both.choose(b"", 0)} == {a, b}


def test_a_backup_gets_nothing_while_a_member_is_well() -> None:
    a, b = member("a"), member("b", backup=True)
    assert {group(a, b).choose(b"", 0) for _ in range(5)} == {a}


def test_a_backup_gets_the_sessions_while_no_member_is_well() -> None:
    a, b = member("a"), member("b", backup=True)
    both = group(a, b)
    a.health.connect_failed(0)
    assert {both.choose(b"", 0.5) for _ in range(5)} == {b}
    assert {both.choose(b"", 1.0) for _ in range(5)} == {a}  # its pause is over


def test_members_that_are_ejected_get_sessions_if_no_other_is_left() -> None:
    a, b = member("a"), member("b")
    both = group(a, b)
    for each in (a, b):
        each.health.connect_failed(0)
    assert {both.choose(b"", 0.5) for _ in range(4)} == {a, b}


def test_an_ejection_counts_once_it_is_told() -> None:
    a, b = member("a"), member("b")
    both = group(a, b)
    both.choose(b"", 0)
    a.health.connect_failed(0)
    both.changed()
    assert {both.choose(b"", 0) for _ in range(4)} == {b}


def test_a_draining_member_gets_nothing_even_if_it_is_the_last() -> None:
    a = member("a")
    alone = group(a)
    a.draining = True
    assert alone.choose(b"", 0) is None
    assert not alone.has_other(0, ())


def test_a_session_that_tried_the_members_that_are_well_tries_backups_then_the_ejected() -> None:
    a, b, c = member("a"), member("b", backup=True), member("c")
    three = group(a, b, c)
    c.health.connect_failed(0)
    assert three.choose(b"", 0.5) is a
    assert three.choose(b"", 0.5, (a,)) is b
    assert three.has_other(0.5, (a, b))
    assert three.choose(b"", 0.5, (a, b)) is c
    assert three.choose(b"", 0.5, (a, b, c)) is None
    assert not three.has_other(0.5, (a, b, c))


def test_a_returning_member_is_offered_with_a_part_of_its_weight_that_grows() -> None:
    a, b, seen = member("a", weight=4), member("b", weight=2), Seen()
    both = Group([a, b], seen)
    b.health.connect_failed(0)
    shares = []
    for now in (1.0, 6.0, 11.0):
        both.choose(b"", now)
        shares.append(dict(seen.offered)["b"])
    assert shares == [0.2, 1.0, 2.0]
    assert dict(seen.offered)["a"] == 4


@examples(100)
@given(
    st.sampled_from(sorted(POLICIES)),
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=6),
    st.binary(max_size=4),
)
def test_no_policy_chooses_a_draining_member_or_one_of_a_later_tier(
    policy: str, kinds: list[tuple[bool, bool, bool]], key: bytes
) -> None:
    members = [member(str(number), backup=backup) for number, (backup, _, _) in enumerate(kinds)]
    for each, (_, is_ejected, drains) in zip(members, kinds, strict=True):
        each.draining = drains
        if is_ejected:
            each.health.connect_failed(0)

    def tier(each: GroupMember) -> float:
        if each.draining:
            return inf
        return 2 if each.health.state(0.5) == "ejected" else int(each.backup)

    chosen = Group(members, POLICIES[policy]()).choose(key, 0.5)
    best = min(map(tier, members))
    assert (chosen is None) == (best == inf)
    assert chosen is None or tier(chosen) == best
