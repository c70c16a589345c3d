from collections import Counter
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import examples
from trioedge.upstreams.balancing.choice import POLICIES, Candidate, LeastSessions, round_robin, source_hash

weights = st.lists(st.floats(0.1, 100), min_size=1, max_size=8)


def candidates(*weights: float) -> list[Candidate]:
    return [Candidate(f"tcp://member{number}:1", weight) for number, weight in enumerate(weights)]


def sources(count: int) -> list[bytes]:
    return [number.to_bytes(4, "big") for number in range(count)]


def test_least_sessions_fills_equal_members_equally() -> None:
    members, choose = candidates(1, 1, 1), LeastSessions()
    for _ in range(30):
        choose(members, b"").sessions += 1
    assert [each.sessions for each in members] == [10, 10, 10]


def test_least_sessions_fills_members_by_their_weights() -> None:
    members, choose = candidates(1, 2, 3), LeastSessions()
    for _ in range(60):
        choose(members, b"").sessions += 1
    assert [each.sessions for each in members] == [10, 20, 30]


def test_least_sessions_spreads_sessions_that_come_one_at_a_time() -> None:
    members, choose = candidates(1, 1, 1), LeastSessions()
    assert Counter(members.index(choose(members, b"")) for _ in range(30)) == {0: 10, 1: 10, 2: 10}


@examples(100)
@given(weights, st.data())
def test_least_sessions_never_chooses_a_member_while_another_one_is_less_loaded(
    given_weights: list[float], data: st.DataObject
) -> None:
    members, choose = candidates(*given_weights), LeastSessions()
    for each in members:
        each.sessions = data.draw(st.integers(0, 20))
    for _ in range(len(members)):
        chosen = choose(members, b"")
        least = min((each.sessions + 1) / each.weight for each in members)
        assert (chosen.sessions + 1) / chosen.weight == least


def test_round_robin_with_weights_five_one_one_never_sends_five_in_a_row_to_one() -> None:
    members = candidates(5, 1, 1)
    chosen = "".join("abc"[members.index(round_robin(members, b""))] for _ in range(14))
    assert chosen == "aabacaa" * 2


@examples(100)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_round_robin_gives_each_member_its_weight_in_each_cycle(given_weights: list[int]) -> None:
    members = candidates(*given_weights)
    for _ in range(2):
        chosen = Counter(members.index(round_robin(members, b"")) for _ in range(sum(given_weights)))
        assert [chosen[number] for number in range(len(members))] == given_weights


def test_source_hash_gives_one_source_the_same_member_in_every_process() -> None:
    members = candidates(1, 1, 1)
    chosen = [members.index(source_hash(members, bytes([192, 0, 2, number]))) for number in range(12)]
    assert chosen == PINNED


PINNED = [0, 0, 0, 0, 2, 1, 1, 1, 0, 0, 1, 0]
"""The members of the sources 192.0.2.0 to 192.0.2.11: another hash would move every client of a running service."""


def test_source_hash_spreads_sources_by_weight() -> None:
    members = candidates(1, 2, 1)
    counts = Counter(members.index(source_hash(members, source)) for source in sources(8_000))
    for number, share in enumerate((2_000, 4_000, 2_000)):
        assert abs(counts[number] - share) < 200


def test_source_hash_of_a_member_that_leaves_moves_its_own_sources_only() -> None:
    members = candidates(1, 1, 1, 1)
    for source in sources(500):
        before = source_hash(members, source)
        left = [each for each in members if each is not members[2]]
        if before is not members[2]:
            assert source_hash(left, source) is before


def test_source_hash_of_a_member_that_gets_heavier_moves_sources_to_it_only() -> None:
    members = candidates(1, 0.1, 1)
    before = [source_hash(members, source) for source in sources(500)]
    members[1].weight = 1
    after = [source_hash(members, source) for source in sources(500)]
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old is not new]
    assert moved
    assert all(new is members[1] for _, new in moved)


def test_source_hash_draws_a_number_below_one_even_from_the_largest_product() -> None:
    (only,) = members = candidates(1)
    source = next(each for each in sources(9) if digest(each) % 2)  # so that some seed makes any product of it
    for product in (0, 2**64 - 1):
        only.seed = product * pow(digest(source), -1, 2**64) % 2**64
        assert source_hash(members, source) is only


def digest(source: bytes) -> int:
    return int.from_bytes(blake2b(source, digest_size=8).digest(), "little")


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_chooses_the_only_candidate(policy: str) -> None:
    (only,) = members = candidates(0.5)
    choose = POLICIES[policy]()
    assert [choose(members, source) for source in sources(3)] == [only] * 3
