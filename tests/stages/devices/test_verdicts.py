"""Answers and judgements on a device: which one counts, for how long, and what it does to the device's sessions."""

from math import inf

import pytest

from tests.support.devices import TableCaller
from trioedge.services.device_rules import DeviceRules, Unchecked
from trioedge.stages.devices.answers import ADMITTED, DENIED, ENTERED, Admission, DeviceEntry
from trioedge.stages.devices.grace import Grace
from trioedge.stages.devices.memory import TICK
from trioedge.stages.devices.verdicts import MIN_SECONDS

CLOSED = DeviceRules(unchecked=Unchecked.FAIL_CLOSED)


def test_a_denial_evicts_the_sessions_of_its_device_and_of_no_other() -> None:
    caller = TableCaller()
    (x, y) = caller.put_online("x", "y")
    _, x2 = caller.enter("x")
    assert caller.judge("x", False, detail="stolen") == caller.change("x", x, x2, cause=Admission.DENIED)
    assert caller.online() == 1
    assert caller.enter("x")[0] == DeviceEntry(DENIED, detail="stolen")
    assert caller.enter("y")[0] is ENTERED
    caller.leave("y", y)


def test_an_acceptance_ends_a_grace_and_an_earlier_denial() -> None:
    caller = TableCaller()
    entry, _ = caller.enter("x")
    assert entry.allowance is not None
    assert caller.judge("x") == caller.change("x")
    assert entry.allowance.lifted
    assert caller.in_grace() == 0
    caller.judge("y", False)
    assert caller.admission("y") is DENIED
    caller.judge("y")
    assert caller.admission("y") is ADMITTED


def test_the_answer_to_a_check_that_was_asked_before_a_judgement_is_dropped() -> None:
    caller = TableCaller(CLOSED)
    entry, _ = caller.enter("x")
    assert entry.check
    caller.judge("x", False)
    assert caller.answer("x") == caller.change("x", cause=Admission.DENIED)
    assert caller.admission("x") is DENIED
    caller.at(60)  # the denial has expired, and nothing waits for a check
    again, _ = caller.enter("x")
    assert (again.admission, again.check) == (ADMITTED, True)
    caller.answer("x", False)
    assert caller.admission("x") is DENIED


def test_a_question_that_waits_behind_a_judgement_is_asked_and_its_answer_counts() -> None:
    caller = TableCaller()
    caller.enter("x")
    caller.judge("x")
    assert caller.table.wanted(caller.a, "x")
    caller.answer("x", False)
    assert caller.admission("x") is DENIED


@pytest.mark.parametrize("stays", [True, False])
def test_a_check_that_fails_behind_a_judgement_is_repeated_for_a_device_online(stays: bool) -> None:
    caller = TableCaller()
    _, session = caller.enter("x")
    caller.judge("x")
    if not stays:
        caller.leave("x", session)
    assert caller.failed("x") is stays
    caller.answer("x", False)
    assert caller.admission("x") is DENIED


def test_an_accepted_device_is_checked_again_when_the_judgement_has_expired() -> None:
    caller = TableCaller()
    caller.put_online("x")
    caller.judge("x", seconds=5)
    assert caller.at(4) == []
    assert caller.at(5) == [caller.change("x", check=True)]


def test_a_judgement_is_stale_after_a_change_of_the_rules() -> None:
    caller = TableCaller()
    caller.enter("x")
    caller.answer("x")
    caller.judge("x", seconds=1e6)
    assert caller.recheck(CLOSED) == [caller.change("x", check=True)]


def test_an_answer_behind_a_judgement_and_a_change_of_the_rules_is_asked_again() -> None:
    caller = TableCaller()
    caller.enter("x")
    caller.judge("x", seconds=1e6)
    caller.recheck(DeviceRules())
    caller.now += 1
    assert caller.answer("x", False) == caller.change("x", check=True)


@pytest.mark.parametrize("seconds", [0.0, MIN_SECONDS])
def test_a_judgement_lasts_a_second_at_least(seconds: float) -> None:
    caller = TableCaller(CLOSED, checked=False)
    caller.judge("x", False, seconds)
    caller.at(MIN_SECONDS - 2 * TICK)
    assert caller.admission("x") is DENIED
    caller.at(MIN_SECONDS)
    assert caller.admission("x") is ADMITTED


# Without a checker.


@pytest.mark.parametrize("rules", [DeviceRules(), CLOSED])
def test_without_a_checker_a_denied_device_is_accepted_again_when_the_denial_expires(rules: DeviceRules) -> None:
    caller = TableCaller(rules, checked=False)
    (session,) = caller.put_online("x")
    assert caller.judge("x", False, 10) == caller.change("x", session, cause=Admission.DENIED)
    caller.at(9)
    assert caller.admission("x") is DENIED
    caller.now = 10.0  # also before the deadline is handled
    assert caller.enter("x")[0] is ENTERED


def test_without_a_checker_nothing_is_left_of_an_expired_denial() -> None:
    caller = TableCaller(checked=False)
    caller.judge("x", False, 10)
    assert caller.remembered == 1
    assert caller.at(11) == []
    assert caller.remembered == 0
    assert caller.table.next_due() == inf
    assert not caller.table._services


def test_without_a_checker_a_denial_outlives_the_pause_of_a_device_that_was_put_out() -> None:
    caller = TableCaller(DeviceRules(1, "evict_oldest", pause_seconds=2), checked=False)  # type: ignore[arg-type]
    caller.put_online("x")
    caller.enter("y")
    caller.judge("x", False, 10)
    caller.at(5)
    assert caller.admission("x") is DENIED


def test_without_a_checker_an_acceptance_ends_a_denial_and_never_expires() -> None:
    caller = TableCaller(checked=False)
    caller.judge("x", False)
    caller.judge("x", True, 1)
    assert caller.remembered == 0
    (session,) = caller.put_online("x")
    caller.judge("x", True, 1)
    assert caller.at(1e6) == []
    caller.leave("x", session)
    assert caller.remembered == 0


# The bounds of the table.


def test_a_judgement_on_a_device_offline_is_forgotten_where_its_place_is_needed() -> None:
    caller = TableCaller(capacity=2, checked=False)
    caller.judge("x", False)
    caller.judge("y", False)
    caller.enter("z")
    assert caller.admission("y") is DENIED
    assert caller.admission("x") is ADMITTED  # it was the first to go offline


def test_a_judgement_is_dropped_while_a_full_table_has_only_devices_online() -> None:
    caller = TableCaller(capacity=1)
    caller.put_online("x")
    assert caller.judge("y", False) == caller.change("y")
    assert caller.remembered == 1


def test_a_denial_gives_the_bytes_of_a_grace_back() -> None:
    caller = TableCaller(grace=Grace(bytes=100, devices=1))
    first, session = caller.enter("x")
    assert caller.judge("x", False) == caller.change("x", session, cause=Admission.DENIED)
    second, _ = caller.enter("y")
    assert first.allowance is not None
    assert second.allowance is not None
    assert (first.allowance.left, second.allowance.left) == (0, 100)
