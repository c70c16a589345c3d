import pytest

import trioedge as te
from trioedge.process.cores import cores
from trioedge.process.workers.count import count_workers


def test_a_number_is_itself_and_auto_is_a_worker_on_each_core_of_the_process() -> None:
    assert count_workers(3) == 3
    assert count_workers("auto") == min(64, cores().workers)


@pytest.mark.parametrize("wrong", [0, -1, 65, 2.0, "2", "many", None, True])
def test_other_values_are_refused(wrong: object) -> None:
    with pytest.raises(te.ConfigurationError, match='must be a whole number from 1 to 64, or "auto"'):
        count_workers(wrong)  # type: ignore[arg-type]
