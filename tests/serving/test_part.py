from itertools import islice

import pytest

from tests.support.shared_memory import make_limits
from trioedge.serving.part import Part


def test_ids_of_processes_with_different_columns_are_never_the_same() -> None:
    parts = [Part(number=0, count=2, column=column, columns=8) for column in range(8)]
    ids = [number for part in parts for number in islice(part.ids(), 100)]
    assert len({*ids}) == 800
    assert min(ids) == 8


def test_an_id_tells_the_column_of_the_process_that_gave_it() -> None:
    part = Part(number=1, count=2, column=5, columns=8)
    assert {number % 8 for number in islice(part.ids(), 10)} == {5}


def test_a_process_without_shared_limits_shares_nothing() -> None:
    assert Part(number=0, count=2, column=0, columns=8).share(()) is None


@pytest.mark.parametrize(
    ("steered", "provided", "keys"),
    [(True, {"service"}, {"source", "peer"}), (True, {"source"}, set()), (False, {"service"}, set())],
)
def test_an_address_has_one_worker_if_it_is_steered_by_the_address_that_counts(
    steered: bool, provided: set[str], keys: set[str]
) -> None:
    limits = make_limits().of("web", 3, 0.0)
    share = Part(number=0, count=5, column=3, columns=8, limits=limits, steered=steered).share(provided)
    assert share is not None
    assert (share.workers, share.limits, share.steered) == (5, limits, frozenset(keys))
