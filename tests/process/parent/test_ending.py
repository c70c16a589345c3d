import signal
from collections.abc import Iterator

import pytest

from tests.support.parents import FakeChildren, FakeLog, fake_children
from trioedge.process.exit_code import ExitCode
from trioedge.process.parent.ending import SPARE_SECONDS, Ending


@pytest.fixture
def children() -> Iterator[FakeChildren]:
    with fake_children() as found:
        yield found


@pytest.fixture
def ending(children: FakeChildren) -> Ending:
    return Ending(children, 10.0, FakeLog())


def test_one_stop_drains_the_workers_and_leaves_the_control_process_until_they_have_ended(
    children: FakeChildren, ending: Ending
) -> None:
    control, *workers = children.all.values()
    ending.stop(0.0)
    ending.end_controls(0.0)
    assert [children.told(each) for each in workers] == [[{"do": "drain", "seconds": None}]] * 2
    assert children.told(control) == []
    for each in workers:
        del children.all[each.pid]
        each.orders.close()
    ending.end_controls(3.0)
    ending.end_controls(3.1)
    assert children.told(control) == [{"do": "end"}]
    assert ending.code is ExitCode.DRAINED


def test_a_second_stop_cuts_and_a_third_one_kills_every_child(children: FakeChildren, ending: Ending) -> None:
    control, *workers = children.all.values()
    ending.stop(0.0)
    ending.stop(1.0)
    assert [children.told(each)[-1] for each in workers] == [{"do": "cut"}] * 2
    assert children.signals == []
    ending.stop(2.0)
    assert children.signals == [(pid, signal.SIGKILL) for pid in children.all]
    assert ending.code is ExitCode.KILLED
    ending.ended(-9)
    assert ending.code is ExitCode.KILLED
    assert children.told(control) == []


def test_a_child_that_has_not_ended_in_time_is_killed_and_again_after_a_while(
    children: FakeChildren, ending: Ending
) -> None:
    ending.stop(0.0)
    workers = children.workers()
    assert ending.seconds_left(4.0) == 10.0 + SPARE_SECONDS - 4.0
    ending.kill_late(10.0 + SPARE_SECONDS)
    assert children.signals == []
    ending.kill_late(10.1 + SPARE_SECONDS)
    ending.kill_late(10.2 + SPARE_SECONDS)
    assert children.signals == [(each.pid, signal.SIGKILL) for each in workers]
    ending.kill_late(10.2 + 2 * SPARE_SECONDS)
    assert len(children.signals) == 4


def test_the_time_of_a_drain_is_the_longest_that_an_operator_has_given(children: FakeChildren, ending: Ending) -> None:
    ending.allow(100.0)
    ending.allow(1.0)
    ending.stop(0.0, 100.0)
    assert children.told(children.workers()[0]) == [{"do": "drain", "seconds": 100.0}]
    assert ending.seconds_left(0.0) == 100.0 + SPARE_SECONDS


def test_children_that_have_never_served_get_no_time_to_drain(children: FakeChildren, ending: Ending) -> None:
    control, worker, _ = children.all.values()
    ending.drop([control, worker], 0.0)
    assert children.told(control)[0]["do"] == "retire"
    assert children.told(worker) == [{"do": "drain", "seconds": 0.0}]
    assert control.deadline == worker.deadline == SPARE_SECONDS


def test_a_control_process_that_retires_can_still_be_told_to_end(children: FakeChildren, ending: Ending) -> None:
    control, *workers = children.all.values()
    ending.retire([control], 0.0)
    for each in workers:
        del children.all[each.pid]
        each.orders.close()
    ending.end_controls(1.0)
    assert [each["do"] for each in children.told(control)] == ["retire", "end"]
    assert control.deadline == 1.0 + SPARE_SECONDS


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([0, 0], ExitCode.DRAINED),
        ([0, 4, 0], ExitCode.CUT),
        ([4, -11], ExitCode.FAULT),
        ([1, 4], ExitCode.FAULT),
    ],
)
def test_the_exit_code_is_the_worst_of_the_children(ending: Ending, codes: list[int], code: ExitCode) -> None:
    for each in codes:
        ending.ended(each)
    assert ending.code is code
