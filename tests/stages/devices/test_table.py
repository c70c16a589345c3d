"""The device table: verdicts, graces and checks. Its limits, services and capacity are in the files beside this one."""

import attrs
import pytest

from tests.support.devices import TableCaller
from trioedge.services.device_rules import DeviceRules, Unchecked
from trioedge.stages.devices.answers import ENTERED, Admission, DeviceEntry
from trioedge.stages.devices.expiry import PROVISIONAL_SECONDS
from trioedge.stages.devices.grace import REFILL_SECONDS, Grace
from trioedge.stages.devices.memory import TICK

FAIL_OPEN, FAIL_CLOSED, STALE_FOR = (DeviceRules(unchecked=each) for each in Unchecked)


# A device with a verdict.


def test_a_burst_of_an_unknown_device_asks_once_and_shares_one_allowance() -> None:
    caller = TableCaller(grace=Grace(sessions=16, bytes=1_000))
    first, _ = caller.enter("x")
    assert first.allowance is not None
    assert first == DeviceEntry(Admission.ADMITTED, check=True, allowance=first.allowance)
    assert first.allowance.left == 1_000
    for _ in range(15):
        entry, _ = caller.enter("x")
        assert entry.allowance is first.allowance
        assert entry == DeviceEntry(Admission.ADMITTED, allowance=first.allowance)
    assert caller.enter("x")[0] == DeviceEntry(Admission.GRACE_SESSIONS)
    assert (caller.online(), caller.in_grace()) == (1, 1)


def test_an_acceptance_lifts_the_allowance_after_the_grace_has_ended() -> None:
    caller = TableCaller(grace=Grace(sessions=2))
    entry, _ = caller.enter("x")
    assert entry.allowance is not None
    continued: list[int] = []
    entry.allowance.wait(lambda: continued.append(caller.in_grace()))
    assert caller.answer("x") == caller.change("x")
    assert continued == [0]
    assert entry.allowance.lifted
    assert [caller.enter("x")[0] is ENTERED for _ in range(20)] == [True] * 20


def test_a_denial_evicts_exactly_the_sessions_of_its_device() -> None:
    caller = TableCaller()
    mine = [caller.enter("x") for _ in range(3)]
    caller.enter("y")
    caller.enter("x", service="b")
    caller.leave("x", mine[1][1])
    denied = caller.answer("x", False, 60.0, "two too many")
    assert denied == caller.change("x", mine[0][1], mine[2][1], cause=Admission.DENIED)
    assert caller.enter("x")[0] == DeviceEntry(Admission.DENIED, detail="two too many")
    assert (caller.online(), caller.online("b"), caller.in_grace()) == (1, 1, 1)
    caller.leave("x", mine[0][1])
    caller.leave("x", mine[2][1])
    assert caller.online() == 1, "an evicted session that leaves changes nothing"


@pytest.mark.parametrize(
    ("rules", "age", "accept", "admission", "check", "grace"),
    [
        (STALE_FOR, -1.0, True, Admission.ADMITTED, False, False),
        (STALE_FOR, -1.0, False, Admission.DENIED, False, False),
        (STALE_FOR, 0.0, True, Admission.ADMITTED, True, False),
        (STALE_FOR, 0.0, False, Admission.DENIED, True, False),
        (STALE_FOR, 299.0, True, Admission.ADMITTED, True, False),
        (STALE_FOR, 299.0, False, Admission.DENIED, True, False),
        (STALE_FOR, 300.0, True, Admission.ADMITTED, True, True),
        (STALE_FOR, 300.0, False, Admission.ADMITTED, True, True),
        (FAIL_OPEN, 0.0, True, Admission.ADMITTED, True, True),
        (FAIL_OPEN, 0.0, False, Admission.ADMITTED, True, True),
        (FAIL_CLOSED, 0.0, True, Admission.ADMITTED, True, True),
        (FAIL_CLOSED, 0.0, False, Admission.ADMITTED, True, True),
    ],
)
@pytest.mark.parametrize("noticed", [True, False], ids=["deadline handled", "deadline due"])
def test_a_session_comes_some_seconds_after_a_verdict_expired(
    rules: DeviceRules, age: float, accept: bool, admission: Admission, check: bool, grace: bool, noticed: bool
) -> None:
    caller = TableCaller(rules)
    caller.know("x", accept=accept, seconds=60.0)
    if noticed:
        caller.at(60.0 + age - TICK)
    caller.now = 60.0 + age
    entry, _ = caller.enter("x")
    assert (entry.admission, entry.check, entry.allowance is not None) == (admission, check, grace)
    entry, _ = caller.enter("x")
    assert (entry.admission, entry.check, entry.allowance is not None) == (admission, False, grace), "asked once"


def test_a_verdict_of_zero_seconds_is_fresh_for_one_second() -> None:
    caller = TableCaller()
    caller.enter("x")
    caller.answer("x", seconds=0.0)
    assert caller.at(0.8) == []
    assert caller.at(1.0) == [caller.change("x", check=True)]


def test_a_verdict_is_remembered_when_no_session_waits_for_it() -> None:
    caller = TableCaller()
    _, session = caller.enter("x")
    caller.leave("x", session)
    assert caller.answer("x", False) == caller.change("x", cause=Admission.DENIED)
    assert caller.admission("x") is Admission.DENIED


@pytest.mark.parametrize("rules", [FAIL_OPEN, FAIL_CLOSED, STALE_FOR])
def test_the_verdict_of_a_device_online_is_refreshed_when_it_expires(rules: DeviceRules) -> None:
    caller = TableCaller(rules)
    caller.enter("x")
    caller.answer("x", seconds=60.0)
    assert caller.at(59.8) == []
    assert caller.at(60.0) == [caller.change("x", check=True)]
    entry, _ = caller.enter("x")
    assert entry == DeviceEntry(Admission.ADMITTED), "the verdict is used without a bound until the refresh is there"
    caller.answer("x", seconds=60.0)
    assert caller.at(119.9) == []
    assert caller.at(120.2) == [caller.change("x", check=True)]


@pytest.mark.parametrize("rules", [FAIL_CLOSED, STALE_FOR])
def test_a_refresh_without_an_answer_evicts_the_sessions(rules: DeviceRules) -> None:
    caller = TableCaller(rules)
    _, session = caller.enter("x")
    caller.answer("x", seconds=60.0)
    caller.at(60.0)
    end = 65.0 if rules is FAIL_CLOSED else 360.0
    for now in (61.0, 64.0, end - 1.0):
        assert caller.at(now) == []
        assert caller.failed("x"), "it is asked again"
    assert caller.at(end + TICK) == [caller.change("x", session, cause=Admission.UNCHECKED)]
    assert caller.admission("x") is Admission.UNCHECKED
    assert not caller.failed("x")


def test_with_fail_open_a_device_online_stays_as_long_as_there_is_no_answer() -> None:
    caller = TableCaller(FAIL_OPEN)
    caller.enter("x")
    caller.answer("x", seconds=60.0)
    caller.at(60.0)
    for now in range(61, 300):
        assert caller.at(float(now)) == []
        assert caller.admission("x") is Admission.ADMITTED
    assert caller.in_grace() == 0


def test_a_refresh_has_its_time_when_the_stale_verdict_is_about_to_be_of_no_use() -> None:
    caller = TableCaller(STALE_FOR)
    caller.know("x", seconds=60.0)
    caller.at(359.0)
    entry, session = caller.enter("x")
    assert entry == DeviceEntry(Admission.ADMITTED, check=True)
    assert caller.at(363.9) == []
    assert caller.at(364.5) == [caller.change("x", session, cause=Admission.UNCHECKED)]


def test_shorter_stale_seconds_apply_when_the_next_session_comes() -> None:
    caller = TableCaller(STALE_FOR)
    caller.know("x", seconds=60.0)
    caller.at(61.0)
    caller.rules = attrs.evolve(STALE_FOR, stale_seconds=10.0)
    _, session = caller.enter("x")
    assert caller.at(69.8) == []
    assert caller.at(70.0) == [caller.change("x", session, cause=Admission.UNCHECKED)]


@pytest.mark.parametrize("rules", [FAIL_OPEN, FAIL_CLOSED, STALE_FOR])
def test_a_verdict_that_expired_unnoticed_is_refreshed_before_a_session_is_evicted(rules: DeviceRules) -> None:
    """As if the process had been stopped for an hour."""
    caller = TableCaller(rules)
    caller.enter("x")
    caller.answer("x", seconds=60.0)
    caller.now = 3600.0
    assert caller.table.expire(caller.now, lambda _: rules) == caller.change("x", check=True)
    assert caller.at(3604.0) == []


def test_a_session_that_comes_while_the_deadline_is_due_is_evicted_with_the_others() -> None:
    caller = TableCaller(FAIL_CLOSED)
    _, first = caller.enter("x")
    caller.answer("x", seconds=60.0)
    caller.at(60.0)
    caller.now = 65.15
    entry, second = caller.enter("x")
    assert (entry.admission, entry.allowance) == (Admission.ADMITTED, None)
    assert caller.at(65.3) == [caller.change("x", first, second, cause=Admission.UNCHECKED)]


# A grace without an answer.


@pytest.mark.parametrize("rules", [FAIL_CLOSED, STALE_FOR])
def test_a_grace_without_an_answer_ends_in_a_denial_of_ten_seconds(rules: DeviceRules) -> None:
    caller = TableCaller(rules)
    entry, session = caller.enter("x")
    assert caller.at(4.8) == []
    assert caller.at(5.0) == [caller.change("x", session, cause=Admission.UNCHECKED)]
    assert entry.allowance is not None
    assert (entry.allowance.left, entry.allowance.lifted) == (0, False)
    assert caller.in_grace() == 0
    assert caller.enter("x")[0] == DeviceEntry(Admission.UNCHECKED)
    caller.at(5.0 + PROVISIONAL_SECONDS)
    assert caller.enter("x")[0].allowance is not None, "a new grace"


def test_with_fail_open_a_grace_without_an_answer_ends_in_an_acceptance() -> None:
    caller = TableCaller(FAIL_OPEN)
    entry, session = caller.enter("x")
    assert entry.allowance is not None
    assert caller.at(5.0) == []
    assert entry.allowance.lifted
    assert caller.enter("x")[0] is ENTERED
    assert caller.answer("x", False).evict[0] is session, "a late answer is applied all the same"
    assert caller.admission("x") is Admission.DENIED


def test_with_fail_open_the_verdict_of_the_table_is_forgotten_after_ten_seconds() -> None:
    caller = TableCaller(FAIL_OPEN)
    _, session = caller.enter("x")
    caller.leave("x", session)
    caller.at(5.0)
    assert not caller.failed("x")
    caller.at(4.8 + PROVISIONAL_SECONDS)
    assert caller.remembered == 1
    caller.at(5.1 + PROVISIONAL_SECONDS)
    assert caller.remembered == 0


@pytest.mark.parametrize("check", ["in flight", "ended"])
def test_the_verdict_of_the_table_on_a_device_online_expires(check: str) -> None:
    """While a check is in flight the rules decide again; without one the device is checked, and has a grace for it."""
    caller = TableCaller(FAIL_OPEN)
    _, session = caller.enter("x")
    caller.at(5.0)
    if check == "ended":
        caller.leave("x", session)
        assert not caller.failed("x")
        session = caller.enter("x")[1]
    caller.rules = FAIL_CLOSED
    changes = caller.at(5.1 + PROVISIONAL_SECONDS)
    if check == "ended":
        assert changes == [caller.change("x", check=True)]
        assert caller.at(4.8 + PROVISIONAL_SECONDS + 5.0) == []
        changes = caller.at(5.2 + PROVISIONAL_SECONDS + 5.0)
    assert changes == [caller.change("x", session, cause=Admission.UNCHECKED)]


@pytest.mark.parametrize("accept", [True, False])
def test_at_the_end_of_a_grace_an_old_verdict_is_used_if_changed_rules_allow_it(accept: bool) -> None:
    caller = TableCaller(FAIL_CLOSED)
    caller.know("x", accept=accept, seconds=60.0)
    caller.now = 61.0
    entry, session = caller.enter("x")
    assert entry.allowance is not None
    caller.rules = STALE_FOR
    denied = [caller.change("x", session, cause=Admission.DENIED)]
    assert caller.at(66.0) == ([] if accept else denied)
    assert entry.allowance.lifted == accept
    assert caller.admission("x") is (Admission.ADMITTED if accept else Admission.DENIED)


def test_a_grace_continues_for_a_device_that_comes_back() -> None:
    """Otherwise a client that opens a session for every few bytes would always be at the start of its grace."""
    caller = TableCaller(FAIL_CLOSED)
    entry, session = caller.enter("x")
    assert entry.allowance is not None
    entry.allowance.left -= 200_000
    caller.leave("x", session)
    caller.now = 4.0
    again, session = caller.enter("x")
    assert again == DeviceEntry(Admission.ADMITTED, allowance=entry.allowance)
    assert caller.in_grace() == 1
    assert caller.at(5.0) == [caller.change("x", session, cause=Admission.UNCHECKED)]


@pytest.mark.parametrize("ending", ["accepted", "denied", "unanswered"])
def test_bytes_that_a_grace_did_not_spend_are_there_for_the_next_one(ending: str) -> None:
    caller = TableCaller(FAIL_CLOSED, Grace(bytes=1_000, devices=2))
    for device in "xy":
        entry, _ = caller.enter(device)
        assert entry.allowance is not None
        entry.allowance.left -= 400
    if ending == "unanswered":
        caller.at(5.0)
    else:
        for device in "xy":
            caller.answer(device, ending == "accepted")
    granted = []
    for device in "12":
        entry, _ = caller.enter(device)
        assert entry.allowance is not None
        granted.append(entry.allowance.left)
    assert sum(granted) == 1_200 if ending != "unanswered" else 1_200 <= sum(granted) <= 1_204


def test_one_unknown_device_more_than_the_grace_allows_is_refused_and_not_remembered() -> None:
    caller = TableCaller(grace=Grace(devices=2))
    assert [caller.admission(device) for device in "xyz"] == [Admission.ADMITTED] * 2 + [Admission.GRACE_DEVICES]
    assert (caller.remembered, caller.online()) == (2, 2)
    assert caller.admission("z", service="b") is Admission.ADMITTED
    caller.answer("x")
    assert caller.admission("z") is Admission.ADMITTED


def test_with_an_empty_pool_a_device_is_admitted_and_waits() -> None:
    caller = TableCaller(grace=Grace(bytes=1_000, devices=1))
    entry, _ = caller.enter("x")
    assert entry.allowance is not None
    entry.allowance.left = 0
    caller.answer("x")
    entry, _ = caller.enter("y")
    assert (entry.admission, entry.check) == (Admission.ADMITTED, True)
    assert entry.allowance is not None
    assert entry.allowance.left == 0
    caller.answer("y")
    assert entry.allowance.lifted


def test_sources_that_rotate_move_at_most_the_pool_and_what_returns_to_it() -> None:
    """A new device every tenth of a second, denied half a second later, spends at once all the bytes that it gets."""
    grace = Grace(bytes=1_000, devices=4)
    caller, moved = TableCaller(FAIL_CLOSED, grace, capacity=10_000), 0
    for number in range(3_000):
        caller.now = number / 10
        entry, _ = caller.enter(str(number))
        if entry.allowance is not None:
            moved += entry.allowance.left
            entry.allowance.left = 0
        if number >= 5:
            caller.answer(str(number - 5), False)
    assert 4_000 <= moved <= 4_000 * (1 + 300 / REFILL_SECONDS)


# Checks.


def test_a_failed_check_is_repeated_while_a_session_waits() -> None:
    caller = TableCaller()
    _, session = caller.enter("x")
    assert caller.failed("x"), "a session waits"
    entry, second = caller.enter("x")
    assert not entry.check, "the check is in flight until the caller has paused"
    caller.answer("x", seconds=60.0)
    assert not caller.failed("x"), "it was answered"
    caller.at(60.0)
    caller.leave("x", session)
    caller.leave("x", second)
    assert not caller.failed("x"), "no session waits any more"


def test_a_failed_check_is_repeated_during_a_grace_without_sessions() -> None:
    caller = TableCaller()
    _, session = caller.enter("x")
    caller.leave("x", session)
    assert caller.failed("x")
    caller.at(5.0)
    assert not caller.failed("x")


def test_a_failed_check_of_a_device_that_was_never_seen_is_over() -> None:
    assert not TableCaller().failed("x")


def test_a_check_that_failed_without_a_session_is_asked_again_when_a_session_comes() -> None:
    caller = TableCaller(STALE_FOR)
    caller.know("x", accept=False, seconds=60.0)
    caller.now = 61.0
    assert caller.enter("x")[0] == DeviceEntry(Admission.DENIED, check=True)
    assert not caller.failed("x")
    assert caller.enter("x")[0] == DeviceEntry(Admission.DENIED, check=True)


def test_a_check_that_never_ends_is_not_asked_a_second_time() -> None:
    caller = TableCaller(FAIL_CLOSED)
    caller.enter("x")
    for now in range(1, 100, 7):
        caller.at(float(now))
        assert not caller.enter("x")[0].check
    assert caller.remembered == 1


@pytest.mark.parametrize("ending", ["answered", "expired"])
def test_a_session_that_continues_may_leave_while_the_table_is_at_work(ending: str) -> None:
    """A relay that continues may find its client gone, and its session leaves from within the call that lifted."""
    caller = TableCaller(FAIL_OPEN)
    comers = [(device, *caller.enter(device)) for device in "xyz"]
    for device, entry, session in comers:
        assert entry.allowance is not None
        entry.allowance.wait(lambda device=device, session=session: caller.leave(device, session))  # type: ignore[misc]
    if ending == "answered":
        for device, _, _ in comers:
            caller.answer(device)
    else:
        assert caller.at(5.0) == []
    assert caller.online() == 0
    caller.at(1_000.0)
    assert not any(caller.failed(device) for device in "xyz")
    caller.at(1_010.0)
    assert (caller.remembered, caller.table.next_due()) == (0, float("inf"))
