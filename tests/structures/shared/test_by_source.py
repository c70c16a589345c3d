from collections.abc import Hashable
from functools import partial

import pytest

from tests.support.shared_memory import make_limits
from trioedge.addresses.source_prefix import flood_groups
from trioedge.structures.gcra import ADMITTED, FULL, TOO_FAST, Gate, RateSpec
from trioedge.structures.live_counts import ENTERED, TOO_MANY, LiveCounts
from trioedge.structures.shared.by_source import SourceCounts, SourceGate, has_no_address

HERE = b"\xc0\x00\x02\x01"


@pytest.mark.parametrize(
    ("key", "without"),
    [
        (b"", True), ("unix", True), (("shop", b""), True), ((), False), (("", HERE), False), (HERE, False),
        ("192.0.2.1", False), (0, False), (("unix", "192.0.2.1"), False),
    ],
)  # fmt: skip
def test_only_the_key_of_a_client_of_a_local_socket_is_shared(key: Hashable, without: bool) -> None:
    assert has_no_address(key) is without


def test_a_gate_by_source_is_a_workers_own_and_that_of_local_sockets_is_shared() -> None:
    limits, rate = make_limits(), RateSpec(1, 1)
    edges = [limits.of("web", column, 0.0) for column in (0, 1)]
    one, other = (SourceGate(2, flood_groups, partial(edge.gate, 1, 2)) for edge in edges)
    assert one.admit(HERE, 0.0, rate) is other.admit(HERE, 0.0, rate) is ADMITTED
    assert one.admit(b"", 0.0, rate) is ADMITTED
    assert other.admit(b"", 0.0, rate) is TOO_FAST
    assert one.admit(("shop", b""), 0.0, rate) is ADMITTED
    assert one.admit("a", 0.0, rate) is ADMITTED
    assert one.admit("b", 0.0, rate) is FULL
    assert len(one) == 2


def test_a_counter_by_source_is_a_workers_own_and_that_of_local_sockets_is_shared() -> None:
    limits = make_limits()
    edges = [limits.of("web", column, 0.0) for column in (0, 1)]
    one, other = (SourceCounts(9, flood_groups, partial(edge.counter, 1, 9)) for edge in edges)
    with pytest.raises(KeyError):
        one.leave(b"")
    assert one.enter(HERE, 1) is other.enter(HERE, 1) is ENTERED
    assert one.enter(b"", 1) is ENTERED
    assert other.enter(b"", 1) is TOO_MANY
    assert (len(one), len(other)) == (2, 1)
    one.leave(b"")
    assert other.enter(b"", 1) is ENTERED
    one.leave(HERE)
    assert (len(one), len(other)) == (0, 2)


def test_the_shared_table_is_opened_by_the_first_client_of_a_local_socket() -> None:
    opened: list[str] = []

    def gate() -> Gate:
        opened.append("gate")
        return Gate(5)

    def counter() -> LiveCounts:
        opened.append("counter")
        return LiveCounts(5)

    gate_by_source, counts_by_source = SourceGate(5, flood_groups, gate), SourceCounts(5, flood_groups, counter)
    gate_by_source.admit(HERE, 0.0, RateSpec(1, 1))
    counts_by_source.enter(HERE, 1)
    assert not opened
    for _ in range(2):
        gate_by_source.admit(b"", 0.0, RateSpec(1, 1))
        counts_by_source.enter(b"", 1)
    assert opened == ["gate", "counter"]
