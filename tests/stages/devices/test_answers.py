import pytest

from trioedge.stages.devices import answers
from trioedge.stages.devices.answers import Admission, DeviceEntry


@pytest.mark.parametrize("admission", Admission, ids=str)
def test_every_admission_is_a_constant_of_the_module_as_well(admission: Admission) -> None:
    assert getattr(answers, admission.name) is admission


def test_shared_answers_have_nothing_of_one_session() -> None:
    shared = [each for each in vars(answers).values() if isinstance(each, DeviceEntry)]
    assert {each.admission for each in shared} == set(Admission) - {Admission.DENIED}
    assert all((each.check, each.allowance, each.evict, each.detail) == (False, None, (), "") for each in shared)
