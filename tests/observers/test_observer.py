from datetime import UTC, datetime

import attrs
import pytest

import trioedge as te
from tests.support.observers import Keeps


def test_a_batch_counts_its_records() -> None:
    assert len(te.Batch()) == 0
    start = te.SessionStart(1, "tcp://127.0.0.1:1", "192.0.2.1", "192.0.2.1", "shop", 0.0)
    assert len(te.Batch(accepted=(start, start), changes=(te.Change("shop", None, te.Settings()),), lost=7)) == 3


def test_a_batch_turns_the_edges_clock_into_wall_time() -> None:
    assert te.Batch(offset=1_700_000_000.0).time_of(0.5) == datetime(2023, 11, 14, 22, 13, 20, 500_000, UTC)


def test_a_batch_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        te.Batch().lost = 1  # type: ignore[misc]


@pytest.mark.parametrize(("given", "expected"), [(Keeps(), True), (object(), False), (te.Forward(), False)])
def test_an_object_with_observe_is_an_observer(given: object, expected: bool) -> None:
    assert isinstance(given, te.Observer) is expected
