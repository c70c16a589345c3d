from typing import Any

import pytest

from tests.support.shared_memory import make_limits
from trioedge.services.sharing.worker_share import WorkerShare
from trioedge.structures.gcra import ADMITTED, TOO_FAST, RateSpec
from trioedge.structures.live_counts import ENTERED, TOO_MANY

ONCE = RateSpec(1, 1)
HERE = b"\xc0\x00\x02\x01"


def make_shares(**others: Any) -> list[WorkerShare]:
    """Two workers of one edge."""
    limits = make_limits()
    return [WorkerShare(2, limits.of("web", column, 0.0), **others) for column in (0, 1)]


@pytest.mark.parametrize("per", [None, "service"])
def test_tables_of_any_key_are_shared(per: str | None) -> None:
    one, other = make_shares()
    gates, counters = [one.gate(9, per), other.gate(9, per)], [one.counter(9, per), other.counter(9, per)]
    assert [gate.admit(HERE, 0.0, ONCE) for gate in gates] == [ADMITTED, TOO_FAST]
    assert [counter.enter(HERE, 1) for counter in counters] == [ENTERED, TOO_MANY]


@pytest.mark.parametrize("per", ["source", "source/128", "peer"])
def test_tables_by_a_key_that_has_one_worker_are_its_own_but_for_local_sockets(per: str) -> None:
    one, other = make_shares()
    gates, counters = [one.gate(9, per), other.gate(9, per)], [one.counter(9, per), other.counter(9, per)]
    for key, gate_answer, count_answer in ((HERE, ADMITTED, ENTERED), (b"", TOO_FAST, TOO_MANY)):
        assert [gate.admit(key, 0.0, ONCE) for gate in gates] == [ADMITTED, gate_answer]
        assert [counter.enter(key, 1) for counter in counters] == [ENTERED, count_answer]


def test_where_no_key_has_one_worker_all_tables_are_shared() -> None:
    one, other = make_shares(steered=frozenset())
    assert [share.gate(9, "source").admit(HERE, 0.0, ONCE) for share in (one, other)] == [ADMITTED, TOO_FAST]


def test_the_nth_table_of_one_worker_is_that_of_the_others() -> None:
    one, other = make_shares()
    first, second = one.gate(9, None), one.gate(9, None)
    other_first, other_second = other.gate(9, None), other.gate(9, None)
    first.admit("a", 0.0, ONCE)
    second.admit("b", 0.0, ONCE)
    assert [other_first.admit(key, 0.0, ONCE) for key in "ab"] == [TOO_FAST, ADMITTED]
    assert [other_second.admit(key, 0.0, ONCE) for key in "ab"] == [ADMITTED, TOO_FAST]


@pytest.mark.parametrize(("workers", "count", "part"), [(2, 4, 2), (2, 5, 3), (4, 1, 1), (3, 0, 0), (1, 7, 7)])
def test_the_part_of_a_number_is_rounded_up(workers: int, count: int, part: int) -> None:
    assert WorkerShare(workers, make_limits().of("web", 0, 0.0)).part_of(count) == part


def test_only_an_edge_with_max_sessions_tells_how_many_it_has() -> None:
    one, other = make_shares()
    assert one.telling(None) is None
    tells = [share.telling(5) for share in (one, other)]
    assert [tell(3) for tell in tells if tell is not None] == [3, 6]
