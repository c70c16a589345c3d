import pytest

from trioedge.stages.devices import answers as device_answers
from trioedge.stages.devices.answers import Admission, DeviceEntry


@pytest.mark.parametrize("admission", Admission, ids=str)
def test_every_admission_has_the_name_under_which_the_hot_path_finds_it(admission: Admission) -> None:
    assert getattr(device_answers, admission.name) is admission


def test_answers_that_are_shared_ask_for_nothing() -> None:
    """One object answers everybody, so nothing of one session may be in it."""
    shared = [each for each in vars(device_answers).values() if isinstance(each, DeviceEntry)]
    assert {each.admission for each in shared} == set(Admission) - {Admission.DENIED}
    assert all((each.check, each.allowance, each.evict) == (False, None, ()) for each in shared)
