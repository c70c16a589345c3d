"""The device table: limits on the number of devices, and rules that change."""

import pytest

from tests.support.devices import TableCaller
from trioedge.services.device_rules import DeviceRules, Handover, Unchecked
from trioedge.session.session import Session
from trioedge.stages.devices.answers import ENTERED, Admission, DeviceChange, DeviceEntry

FAIL_OPEN, FAIL_CLOSED, STALE_FOR = (DeviceRules(unchecked=each) for each in Unchecked)
REJECT_NEW, EVICT_OLDEST, HOLD = Handover


# One device too many.


@pytest.mark.parametrize("checked", [True, False], ids=["with a checker", "without a checker"])
@pytest.mark.parametrize(
    ("handover", "admission", "evicted", "online"),
    [
        (REJECT_NEW, Admission.LIMIT, "", 2),
        (EVICT_OLDEST, Admission.ADMITTED, "x", 2),
        (HOLD, Admission.ADMITTED, "", 3),
    ],
)
def test_one_device_too_many(
    handover: Handover, admission: Admission, evicted: str, online: int, checked: bool
) -> None:
    caller = TableCaller(DeviceRules(2, handover, pause_seconds=0.0), checked=checked)
    if checked:
        caller.know("x", "y", "z")
    sessions = {"x": [caller.enter("x")[1], caller.enter("x")[1]], "y": [caller.enter("y")[1]]}
    entry, _ = caller.enter("z")
    gone = tuple(session for device in evicted for session in sessions[device])
    assert entry == DeviceEntry(admission, evict=gone)
    assert entry is not ENTERED, "a hold may have begun, and so a deadline"
    assert caller.online() == online
    assert caller.enter("y")[0] is ENTERED, "a device online is not counted again"
    assert caller.admission("z", service="b") is Admission.ADMITTED, "another service has a limit of its own"
    for session in gone:
        caller.leave("x", session)
    assert caller.online() == online
    assert checked or caller.remembered == online + 1, "only devices online are remembered"


def test_a_hold_brings_the_next_deadline_forward() -> None:
    caller = TableCaller(DeviceRules(1, HOLD, hold_seconds=30.0), checked=False)
    caller.enter("x")
    assert caller.table.next_due() == float("inf")
    caller.enter("y")
    assert caller.table.next_due() == 30.0


def test_a_device_is_admitted_at_the_limit_once_another_has_left() -> None:
    caller = TableCaller(DeviceRules(1, REJECT_NEW))
    (session,) = caller.put_online("x")
    caller.know("y")
    assert caller.admission("y") is Admission.LIMIT
    caller.leave("x", session)
    assert caller.admission("y") is Admission.ADMITTED
    assert caller.admission("x") is Admission.LIMIT


def test_an_unknown_device_that_the_limit_refuses_is_not_checked() -> None:
    caller = TableCaller(DeviceRules(1, REJECT_NEW))
    caller.put_online("x")
    assert caller.enter("y")[0] == DeviceEntry(Admission.LIMIT)
    assert (caller.remembered, caller.in_grace()) == (1, 0)


def test_an_unknown_device_evicts_the_oldest_as_a_known_one_does() -> None:
    caller = TableCaller(DeviceRules(1, EVICT_OLDEST))
    sessions = caller.put_online("x")
    entry, _ = caller.enter("y")
    assert entry.allowance is not None
    assert entry == DeviceEntry(Admission.ADMITTED, True, entry.allowance, tuple(sessions))


@pytest.mark.parametrize("checked", [True, False], ids=["with a checker", "without a checker"])
def test_at_the_end_of_a_hold_the_oldest_device_is_evicted(checked: bool) -> None:
    caller = TableCaller(DeviceRules(1, HOLD, hold_seconds=30.0), checked=checked)
    if checked:
        caller.know("x", "y", "z")
    first = [caller.enter("x")[1] for _ in range(2)]
    caller.now = 10.0
    _, second = caller.enter("y")
    caller.now = 11.0
    assert caller.enter("z")[0] == DeviceEntry(Admission.ADMITTED, evict=tuple(first)), "at most twice the limit"
    assert caller.at(40.7) == []
    assert caller.at(41.0) == [caller.change("y", second, cause=Admission.LIMIT)]
    assert caller.online() == 1


def test_without_a_limit_any_number_of_devices_is_online() -> None:
    caller = TableCaller(DeviceRules(None, REJECT_NEW))
    caller.put_online(*"uvwxyz")
    assert caller.online() == 6


# Rules that change.


@pytest.mark.parametrize(("handover", "gone"), [(REJECT_NEW, "zy"), (EVICT_OLDEST, "xy"), (HOLD, "x")], ids=str)
def test_a_lower_limit_evicts_devices_and_checks_the_others(handover: Handover, gone: str) -> None:
    caller = TableCaller()
    sessions = dict(zip("xyz", caller.put_online(*"xyz"), strict=True))
    rules = DeviceRules(1, handover)
    assert list(caller.table.foresee(caller.a, rules)) == [sessions[each] for each in gone]
    changes = caller.recheck(rules)
    assert changes[: len(gone)] == [caller.change(each, sessions[each], cause=Admission.LIMIT) for each in gone]
    stay = [each for each in "xyz" if each not in gone]
    assert changes[len(gone) :] == [caller.change(each, check=True) for each in stay]
    for each in stay:
        assert caller.enter(each)[0] == DeviceEntry(Admission.ADMITTED), "not asked twice, and not evicted meanwhile"
    caller.know(*stay)
    assert [each.device for each in caller.at(30.0)] == ([] if handover is not HOLD else ["y"])


@pytest.mark.parametrize("rules", [FAIL_CLOSED, STALE_FOR])
def test_a_recheck_makes_verdicts_of_devices_that_are_offline_stale(rules: DeviceRules) -> None:
    caller = TableCaller(rules)
    caller.know("x", "y", accept=False)
    caller.now = 10.0
    assert caller.recheck(rules) == []
    entry, _ = caller.enter("x")
    assert entry.check
    assert entry.admission is (Admission.DENIED if rules is STALE_FOR else Admission.ADMITTED)
    caller.answer("x")
    assert caller.enter("x")[0] is ENTERED
    caller.at(320.0)
    assert caller.enter("y")[0].allowance is not None, "it was stale from the recheck on"


@pytest.mark.parametrize("accept", [True, False])
def test_an_answer_to_a_question_from_before_the_recheck_is_stale(accept: bool) -> None:
    caller = TableCaller()
    _, session = caller.enter("x")
    assert caller.recheck(STALE_FOR) == [], "its check is in flight already"
    evict = () if accept else (session,)
    cause = Admission.ADMITTED if accept else Admission.DENIED
    assert caller.answer("x", accept) == caller.change("x", *evict, check=True, cause=cause)
    entry, _ = caller.enter("x")
    assert (entry.admission, entry.check, entry.allowance) == (cause, False, None)
    caller.answer("x")
    assert caller.enter("x")[0] is ENTERED


def test_an_answer_to_a_question_that_was_repeated_after_the_recheck_is_fresh() -> None:
    caller = TableCaller()
    caller.enter("x")
    caller.recheck(STALE_FOR)
    assert caller.failed("x")
    assert caller.answer("x") == caller.change("x")
    assert caller.enter("x")[0] is ENTERED


def test_an_answer_without_a_question_is_fresh_after_a_recheck() -> None:
    caller = TableCaller()
    caller.know("x")
    caller.recheck(STALE_FOR)
    caller.know("x")
    assert caller.enter("x")[0] is ENTERED


@pytest.mark.parametrize("in_grace", [True, False])
def test_after_a_stale_answer_the_device_is_checked_again_only_in_its_grace(in_grace: bool) -> None:
    caller = TableCaller()
    _, session = caller.enter("x")
    caller.leave("x", session)
    if not in_grace:
        caller.at(5.0)
    caller.recheck(STALE_FOR)
    assert caller.answer("x") == caller.change("x", check=in_grace)


@pytest.mark.parametrize("rules", [FAIL_CLOSED, STALE_FOR])
def test_a_recheck_without_an_answer_evicts_the_sessions(rules: DeviceRules) -> None:
    caller = TableCaller(rules)
    (session,) = caller.put_online("x")
    assert caller.recheck(rules) == [caller.change("x", check=True)]
    end = 5.0 if rules is FAIL_CLOSED else 300.0
    assert caller.at(end - 0.3) == []
    assert caller.at(end) == [caller.change("x", session, cause=Admission.UNCHECKED)]


def test_without_a_checker_a_recheck_only_applies_the_limit() -> None:
    caller = TableCaller(checked=False)
    sessions = [caller.enter(device)[1] for device in "xyz"]
    assert caller.recheck(DeviceRules(2, REJECT_NEW)) == [caller.change("z", sessions[2], cause=Admission.LIMIT)]
    assert caller.enter("x")[0] is ENTERED


def test_a_recheck_of_a_service_without_devices_does_nothing() -> None:
    caller = TableCaller()
    assert caller.recheck(STALE_FOR) == []
    assert list(caller.table.foresee(caller.a, DeviceRules(1))) == []


# Many devices, one a step.


def test_a_recheck_does_one_device_a_step() -> None:
    caller = TableCaller()
    sessions = caller.put_online(*map(str, range(90)))
    steps = [*caller.table.recheck(caller.a, 0.0, DeviceRules(30))]
    assert [each.evict for each in filter(None, steps[:60])] == [(session,) for session in sessions[:29:-1]]
    assert [each and each.check for each in steps[60:]] == [True] * 30


def test_one_call_of_expire_handles_one_of_many_deadlines() -> None:
    caller = TableCaller(FAIL_CLOSED)
    caller.know(*map(str, range(90)), seconds=60.0)
    for number in range(30):
        caller.enter(str(number))
    caller.now = 61.0
    checks: list[DeviceChange] = []
    while caller.table.next_due() <= caller.now:
        before = caller.remembered
        checks += filter(None, [caller.table.expire(caller.now, lambda _: caller.rules)])
        assert before - caller.remembered <= 1
    expected = [caller.change(str(each), check=True) for each in range(30)]
    assert sorted(checks, key=lambda each: int(each.device)) == expected
    assert caller.remembered == 30, "the verdicts of the others are of no use any more"


def test_a_device_that_comes_while_a_lower_limit_is_applied_takes_one_place() -> None:
    caller = TableCaller(DeviceRules(None, EVICT_OLDEST))
    sessions = caller.put_online(*"uvwxyz")
    caller.know("1")
    caller.rules = DeviceRules(2, EVICT_OLDEST)
    steps = caller.table.recheck(caller.a, 0.0, caller.rules)
    assert next(steps) == caller.change("u", sessions[0], cause=Admission.LIMIT)
    assert caller.enter("1")[0].evict == (sessions[1],)
    assert [each.device for each in filter(None, steps) if each.evict] == ["w", "x", "y"]
    assert caller.online() == 2


def test_a_device_that_goes_offline_while_it_is_to_be_rechecked_is_not_checked() -> None:
    caller = TableCaller()
    sessions = caller.put_online("x", "y")
    steps = caller.table.recheck(caller.a, 0.0, STALE_FOR)
    assert next(steps) == caller.change("x", check=True)
    caller.leave("y", sessions[1])
    assert list(steps) == [None]


def test_a_session_of_a_device_that_was_evicted_meanwhile_is_not_foreseen() -> None:
    caller = TableCaller(checked=False)
    sessions: list[Session] = [caller.enter(device)[1] for device in "xyz"]
    foreseen = caller.table.foresee(caller.a, None)
    assert next(foreseen) is sessions[0]
    caller.recheck(DeviceRules(2, REJECT_NEW))
    assert list(foreseen) == [sessions[1]]
