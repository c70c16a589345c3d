"""The device table: services that are removed, and how many devices it remembers."""

from math import inf

import pytest

from tests.support.devices import TableCaller, in_grace, online
from trioedge.services.device_rules import DeviceRules, Handover, Unchecked
from trioedge.stages.devices.answers import ENTERED, Admission, DeviceEntry
from trioedge.stages.devices.grace import Grace

FAIL_OPEN, FAIL_CLOSED, STALE_FOR = (DeviceRules(unchecked=each) for each in Unchecked)
REJECT_NEW, EVICT_OLDEST, HOLD = Handover


# Services that are removed.


@pytest.mark.parametrize("state", ["fresh", "denied", "in grace", "stale"])
def test_a_service_that_is_removed_and_named_again_starts_anew(state: str) -> None:
    caller = TableCaller(DeviceRules(1), Grace(bytes=1_000, devices=1))
    if state == "in grace":
        session = caller.enter("x")[1]
    else:
        caller.know("x", accept=state != "denied", seconds=60.0)
        session = caller.enter("x")[1]
        caller.now = 61.0 if state == "stale" else 0.0
        caller.enter("x")
    former = caller.tenants.remove("a")
    assert session in [*caller.table.forget(former)] or state == "denied"
    assert caller.remembered == 0
    entry, again = caller.enter("x")
    assert entry.allowance is not None
    assert entry == DeviceEntry(Admission.ADMITTED, check=True, allowance=entry.allowance)
    assert entry.allowance.left == 1_000
    caller.table.leave(former, "x", session)
    assert (caller.online(), caller.in_grace()) == (1, 1), "a session of the former service changes nothing"
    caller.leave("x", again)
    assert caller.online() == 0


@pytest.mark.parametrize("forgotten", [True, False])
def test_devices_of_a_removed_service_do_not_count_for_the_service_named_again(forgotten: bool) -> None:
    """The sessions of the former one may still be ending, also before the table has been told to forget it."""
    caller = TableCaller(DeviceRules(1, REJECT_NEW), checked=False)
    _, session = caller.enter("x")
    former = caller.tenants.remove("a")
    if forgotten:
        assert [*caller.table.forget(former)] == [None, session]
    assert caller.admission("y") is Admission.ADMITTED
    assert caller.admission("z") is Admission.LIMIT
    assert online(caller.table, former) == (not forgotten)
    caller.table.leave(former, "x", session)
    assert (online(caller.table, former), caller.online()) == (0, 1)
    assert caller.admission("z") is Admission.LIMIT


def test_an_answer_about_a_removed_service_says_nothing_about_the_service_named_again() -> None:
    caller = TableCaller()
    caller.enter("x")
    former = caller.tenants.remove("a")
    caller.enter("x")
    caller.table.answer(former, "x", False, 60.0, caller.now)
    assert (online(caller.table, former), caller.online(), caller.in_grace()) == (0, 1, 1)


def test_a_service_is_forgotten_at_the_first_step_and_no_other_service_is() -> None:
    caller = TableCaller(FAIL_CLOSED)
    caller.put_online(*"xyz")
    caller.enter("x", service="b")
    former = caller.a
    steps = caller.table.forget(former)
    next(steps)
    assert (online(caller.table, former), caller.online("b")) == (0, 1)
    caller.now = 2e6
    assert caller.table.expire(caller.now, lambda _: caller.rules) is not None, "the grace in b is over"
    while caller.table.next_due() <= caller.now:
        assert caller.table.expire(caller.now, lambda _: caller.rules) is None, "no deadline of a forgotten device"
    assert len([*steps]) >= 2
    assert caller.remembered == 1


def test_the_sessions_that_forget_would_give_are_foreseen() -> None:
    caller = TableCaller()
    sessions = caller.put_online("x", "y")
    assert list(caller.table.foresee(caller.a, None)) == sessions
    assert caller.online() == 2


def test_a_service_without_devices_is_forgotten_without_a_step() -> None:
    caller = TableCaller()
    assert list(caller.table.forget(caller.a)) == []
    assert list(caller.table.foresee(caller.a, None)) == []


# The number of devices in memory.


def test_a_full_table_forgets_the_device_that_has_been_idle_for_longest() -> None:
    caller = TableCaller(capacity=3)
    caller.put_online("live")
    caller.know("old", "new", accept=False)
    assert caller.admission("x") is Admission.ADMITTED
    assert caller.admission("new") is Admission.DENIED
    assert caller.admission("y") is Admission.ADMITTED
    assert caller.enter("z")[0] == DeviceEntry(Admission.FULL), "one is online, two are in their grace"
    assert caller.answer("z", False) == caller.change("z"), "there is no place for a verdict either"
    assert caller.enter("live")[0] is ENTERED
    assert caller.remembered == 3


def test_an_evicted_device_may_be_forgotten() -> None:
    caller = TableCaller(DeviceRules(1, EVICT_OLDEST), capacity=2)
    caller.put_online("x", "y")
    assert caller.admission("z") is Admission.ADMITTED


@pytest.mark.parametrize("answered", [True, False])
def test_a_device_that_is_being_checked_is_not_forgotten(answered: bool) -> None:
    caller = TableCaller(capacity=1)
    caller.know("x", accept=False, seconds=60.0)
    caller.now = 61.0
    assert caller.enter("x")[0].check
    assert caller.admission("y") is Admission.FULL
    if answered:
        caller.answer("x", False)
    else:
        assert not caller.failed("x")
    assert caller.admission("y") is Admission.ADMITTED


def test_sources_that_rotate_displace_no_device_that_is_online() -> None:
    caller = TableCaller(DeviceRules(), Grace(devices=2), capacity=8)
    caller.put_online("live")
    for number in range(500):
        caller.enter(str(number))
        caller.answer(str(number), False)
        assert caller.enter("live")[0] is ENTERED
    assert caller.remembered == 8


def test_a_verdict_of_no_more_use_is_forgotten() -> None:
    caller = TableCaller(STALE_FOR)
    caller.know("x", seconds=60.0)
    caller.at(359.0)
    assert caller.remembered == 1
    caller.at(360.5)
    assert (caller.remembered, caller.table.next_due()) == (0, inf)


def test_a_device_offline_is_not_forgotten_while_its_check_is_in_flight() -> None:
    caller = TableCaller(FAIL_CLOSED)
    _, session = caller.enter("x")
    caller.leave("x", session)
    caller.at(1_000.0)
    assert (caller.remembered, in_grace(caller.table, caller.a)) == (1, 0)
    assert not caller.failed("x")
    caller.at(1_010.0)
    assert (caller.remembered, caller.table.next_due()) == (0, inf)


def test_without_a_checker_no_device_offline_is_remembered_and_no_deadline_is_set() -> None:
    caller = TableCaller(checked=False)
    entry, session = caller.enter("x")
    assert entry is ENTERED
    assert (caller.remembered, caller.online(), caller.table.next_due()) == (1, 1, inf)
    caller.leave("x", session)
    assert (caller.remembered, caller.online()) == (0, 0)
