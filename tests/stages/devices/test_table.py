from collections import defaultdict
from collections.abc import Generator
from itertools import count
from math import inf

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.strategies import examples, make_session
from trioedge.services.device_rules import DeviceRules, Handover, Unchecked
from trioedge.session.allowance import Allowance
from trioedge.session.session import Session
from trioedge.stages.devices.answers import ENTERED, Admission, DeviceChange, DeviceEntry
from trioedge.stages.devices.grace import REFILL_SECONDS, Grace
from trioedge.stages.devices.memory import TICK
from trioedge.stages.devices.table import PROVISIONAL_SECONDS, DeviceTable

FAIL_OPEN, FAIL_CLOSED, STALE_FOR = (DeviceRules(unchecked=each) for each in Unchecked)
REJECT_NEW, EVICT_OLDEST, HOLD = Handover

Key = tuple[str, str]


def in_grace(table: DeviceTable, service: str) -> int:
    """Devices of a service that are unknown yet."""
    found = table._services.get(service)
    return 0 if found is None else found.pool.devices


class Edge:
    """A table, and the least that its caller does: it passes the time, and writes down what it was told."""

    def __init__(
        self, rules: DeviceRules = STALE_FOR, grace: Grace | None = None, capacity: int = 100, *, checked: bool = True
    ) -> None:
        self.table = DeviceTable(grace or Grace(), capacity, checked=checked)
        self.rules = rules
        self.now = 0.0
        self.ids = count(1)

    def enter(self, device: str, service: str = "a") -> tuple[DeviceEntry, Session]:
        session = make_session(id=next(self.ids), service=service)
        return self.table.enter(service, device, session, self.now, self.rules), session

    def admission(self, device: str, service: str = "a") -> Admission:
        return self.enter(device, service)[0].admission

    def leave(self, device: str, session: Session) -> None:
        self.table.leave("a", device, session)

    def answer(self, device: str, accept: bool = True, seconds: float = 60.0, detail: str = "") -> DeviceChange:
        return self.table.answer("a", device, accept, seconds, self.now, detail)

    def know(self, *devices: str, accept: bool = True, seconds: float = 1e6) -> None:
        for device in devices:
            self.answer(device, accept, seconds)

    def put_online(self, *devices: str) -> list[Session]:
        """One session for each of these, accepted for long."""
        self.know(*devices)
        return [self.enter(device)[1] for device in devices]

    def at(self, now: float) -> list[DeviceChange]:
        """Let it be so late, a tick more, and do all that is due until then, when it is due."""
        changes: list[DeviceChange] = []
        while (due := self.table.next_due()) <= now + TICK:
            self.now = max(self.now, due)
            changes += filter(None, [self.table.expire(self.now, lambda _: self.rules)])
        self.now = now + TICK
        return changes

    def recheck(self, rules: DeviceRules) -> list[DeviceChange]:
        self.rules = rules
        return list(filter(None, self.table.recheck("a", self.now, rules)))


def change(device: str, *evict: Session, check: bool = False, cause: Admission = Admission.ADMITTED) -> DeviceChange:
    return DeviceChange("a", device, check, evict, cause)


# What is known, and what follows from it.


def test_a_burst_of_an_unknown_device_asks_once_and_shares_one_allowance() -> None:
    edge = Edge(grace=Grace(sessions=16, bytes=1_000))
    first, _ = edge.enter("x")
    assert first.allowance is not None
    assert first == DeviceEntry(Admission.ADMITTED, check=True, allowance=first.allowance)
    assert first.allowance.left == 1_000
    for _ in range(15):
        entry, _ = edge.enter("x")
        assert entry.allowance is first.allowance
        assert entry == DeviceEntry(Admission.ADMITTED, allowance=first.allowance)
    assert edge.enter("x")[0] == DeviceEntry(Admission.GRACE_SESSIONS)
    assert (edge.table.online("a"), in_grace(edge.table, "a")) == (1, 1)


def test_an_acceptance_lifts_the_allowance_and_lets_everybody_in() -> None:
    edge = Edge(grace=Grace(sessions=2))
    entry, _ = edge.enter("x")
    assert entry.allowance is not None
    went_on: list[int] = []
    entry.allowance.wait(lambda: went_on.append(in_grace(edge.table, "a")))
    assert edge.answer("x") == change("x")
    assert went_on == [0]
    assert entry.allowance.lifted
    assert [edge.enter("x")[0] is ENTERED for _ in range(20)] == [True] * 20


def test_a_denial_ends_exactly_the_sessions_of_its_device() -> None:
    edge = Edge()
    mine = [edge.enter("x") for _ in range(3)]
    edge.enter("y")
    edge.enter("x", service="b")
    edge.leave("x", mine[1][1])
    denied = edge.answer("x", False, 60.0, "two too many")
    assert denied == change("x", mine[0][1], mine[2][1], cause=Admission.DENIED)
    assert edge.enter("x")[0] == DeviceEntry(Admission.DENIED, detail="two too many")
    assert (edge.table.online("a"), edge.table.online("b"), in_grace(edge.table, "a")) == (1, 1, 1)
    edge.leave("x", mine[0][1])
    edge.leave("x", mine[2][1])
    assert edge.table.online("a") == 1, "who was evicted leaves a second time, and that is no harm"


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
@pytest.mark.parametrize("noticed", [True, False])
def test_who_comes_so_long_after_a_verdict_expired(
    rules: DeviceRules, age: float, accept: bool, admission: Admission, check: bool, grace: bool, noticed: bool
) -> None:
    edge = Edge(rules)
    edge.know("x", accept=accept, seconds=60.0)
    if noticed:
        edge.at(60.0 + age - TICK)
    edge.now = 60.0 + age
    entry, _ = edge.enter("x")
    assert (entry.admission, entry.check, entry.allowance is not None) == (admission, check, grace)
    entry, _ = edge.enter("x")
    assert (entry.admission, entry.check, entry.allowance is not None) == (admission, False, grace), "asked once"


def test_a_checker_that_says_zero_is_not_asked_without_pause() -> None:
    edge = Edge()
    edge.enter("x")
    edge.answer("x", seconds=0.0)
    assert edge.at(0.8) == []
    assert edge.at(1.0) == [change("x", check=True)]


def test_a_verdict_that_nobody_waits_for_is_remembered() -> None:
    edge = Edge()
    _, session = edge.enter("x")
    edge.leave("x", session)
    assert edge.answer("x", False) == change("x", cause=Admission.DENIED)
    assert edge.admission("x") is Admission.DENIED


@pytest.mark.parametrize("rules", [FAIL_OPEN, FAIL_CLOSED, STALE_FOR])
def test_the_verdict_of_a_device_online_is_refreshed_when_it_expires(rules: DeviceRules) -> None:
    edge = Edge(rules)
    edge.enter("x")
    edge.answer("x", seconds=60.0)
    assert edge.at(59.8) == []
    assert edge.at(60.0) == [change("x", check=True)]
    entry, _ = edge.enter("x")
    assert entry == DeviceEntry(Admission.ADMITTED), "the verdict counts until the refresh is there, without any bound"
    edge.answer("x", seconds=60.0)
    assert edge.at(119.9) == []
    assert edge.at(120.2) == [change("x", check=True)]


@pytest.mark.parametrize("rules", [FAIL_CLOSED, STALE_FOR])
def test_a_refresh_that_is_not_answered_ends_the_sessions(rules: DeviceRules) -> None:
    edge = Edge(rules)
    _, session = edge.enter("x")
    edge.answer("x", seconds=60.0)
    edge.at(60.0)
    end = 65.0 if rules is FAIL_CLOSED else 360.0
    for now in (61.0, 64.0, end - 1.0):
        assert edge.at(now) == []
        assert edge.table.failed("a", "x"), "it is asked again"
    assert edge.at(end + TICK) == [change("x", session, cause=Admission.UNCHECKED)]
    assert edge.admission("x") is Admission.UNCHECKED
    assert not edge.table.failed("a", "x")


def test_with_fail_open_a_device_online_stays_for_as_long_as_nobody_answers() -> None:
    edge = Edge(FAIL_OPEN)
    edge.enter("x")
    edge.answer("x", seconds=60.0)
    edge.at(60.0)
    for now in range(61, 300):
        assert edge.at(float(now)) == []
        assert edge.admission("x") is Admission.ADMITTED
    assert in_grace(edge.table, "a") == 0


def test_a_refresh_has_its_time_even_if_the_verdict_was_about_to_be_of_no_use() -> None:
    edge = Edge(STALE_FOR)
    edge.know("x", seconds=60.0)
    edge.at(359.0)
    entry, session = edge.enter("x")
    assert entry == DeviceEntry(Admission.ADMITTED, check=True)
    assert edge.at(363.9) == []
    assert edge.at(364.5) == [change("x", session, cause=Admission.UNCHECKED)]


def test_a_shorter_use_of_stale_verdicts_holds_for_the_next_who_comes() -> None:
    edge = Edge(STALE_FOR)
    edge.know("x", seconds=60.0)
    edge.at(61.0)
    edge.rules = attrs.evolve(STALE_FOR, stale_seconds=10.0)
    _, session = edge.enter("x")
    assert edge.at(69.8) == []
    assert edge.at(70.0) == [change("x", session, cause=Admission.UNCHECKED)]


@pytest.mark.parametrize("rules", [FAIL_OPEN, FAIL_CLOSED, STALE_FOR])
def test_a_verdict_that_ran_out_unnoticed_is_refreshed_before_anybody_is_cut(rules: DeviceRules) -> None:
    """The process was stopped for an hour, say."""
    edge = Edge(rules)
    edge.enter("x")
    edge.answer("x", seconds=60.0)
    edge.now = 3600.0
    assert edge.table.expire(edge.now, lambda _: rules) == change("x", check=True)
    assert edge.at(3604.0) == []


def test_who_comes_a_moment_before_the_end_is_noticed_shares_the_fate_of_the_others() -> None:
    edge = Edge(FAIL_CLOSED)
    _, first = edge.enter("x")
    edge.answer("x", seconds=60.0)
    edge.at(60.0)
    edge.now = 65.15
    entry, second = edge.enter("x")
    assert (entry.admission, entry.allowance) == (Admission.ADMITTED, None)
    assert edge.at(65.3) == [change("x", first, second, cause=Admission.UNCHECKED)]


# Nobody answers within the grace.


@pytest.mark.parametrize("rules", [FAIL_CLOSED, STALE_FOR])
def test_a_grace_without_an_answer_ends_in_a_denial_for_a_while(rules: DeviceRules) -> None:
    edge = Edge(rules)
    entry, session = edge.enter("x")
    assert edge.at(4.8) == []
    assert edge.at(5.0) == [change("x", session, cause=Admission.UNCHECKED)]
    assert entry.allowance is not None
    assert (entry.allowance.left, entry.allowance.lifted) == (0, False)
    assert in_grace(edge.table, "a") == 0
    refused, _ = edge.enter("x")
    assert refused == DeviceEntry(Admission.UNCHECKED, detail="the check was not answered in time")
    edge.at(5.0 + PROVISIONAL_SECONDS)
    assert edge.enter("x")[0].allowance is not None, "a new grace"


def test_with_fail_open_a_grace_without_an_answer_ends_in_an_acceptance_for_a_while() -> None:
    edge = Edge(FAIL_OPEN)
    entry, session = edge.enter("x")
    assert entry.allowance is not None
    assert edge.at(5.0) == []
    assert entry.allowance.lifted
    assert edge.enter("x")[0] is ENTERED
    assert edge.answer("x", False).evict[0] is session, "a late answer counts all the same"
    assert edge.admission("x") is Admission.DENIED


def test_an_acceptance_for_want_of_an_answer_is_forgotten() -> None:
    edge = Edge(FAIL_OPEN)
    _, session = edge.enter("x")
    edge.leave("x", session)
    edge.at(5.0)
    assert not edge.table.failed("a", "x")
    edge.at(4.8 + PROVISIONAL_SECONDS)
    assert len(edge.table) == 1
    edge.at(5.1 + PROVISIONAL_SECONDS)
    assert len(edge.table) == 0


@pytest.mark.parametrize("accept", [True, False])
def test_at_the_end_of_a_grace_an_old_verdict_counts_if_new_rules_make_it_good(accept: bool) -> None:
    edge = Edge(FAIL_CLOSED)
    edge.know("x", accept=accept, seconds=60.0)
    edge.now = 61.0
    entry, session = edge.enter("x")
    assert entry.allowance is not None
    edge.rules = STALE_FOR
    denied = [change("x", session, cause=Admission.DENIED)]
    assert edge.at(66.0) == ([] if accept else denied)
    assert entry.allowance.lifted == accept
    assert edge.admission("x") is (Admission.ADMITTED if accept else Admission.DENIED)


def test_a_grace_goes_on_for_who_comes_back() -> None:
    """Else whoever opens a session for each few bytes would be in its first grace for ever."""
    edge = Edge(FAIL_CLOSED)
    entry, session = edge.enter("x")
    assert entry.allowance is not None
    entry.allowance.left -= 200_000
    edge.leave("x", session)
    edge.now = 4.0
    again, session = edge.enter("x")
    assert again == DeviceEntry(Admission.ADMITTED, allowance=entry.allowance)
    assert in_grace(edge.table, "a") == 1
    assert edge.at(5.0) == [change("x", session, cause=Admission.UNCHECKED)]


@pytest.mark.parametrize("ending", ["accepted", "denied", "unanswered"])
def test_what_a_grace_did_not_spend_is_there_for_the_next(ending: str) -> None:
    edge = Edge(FAIL_CLOSED, Grace(bytes=1_000, devices=2))
    for device in "xy":
        entry, _ = edge.enter(device)
        assert entry.allowance is not None
        entry.allowance.left -= 400
    if ending == "unanswered":
        edge.at(5.0)
    else:
        for device in "xy":
            edge.answer(device, ending == "accepted")
    granted = []
    for device in "12":
        entry, _ = edge.enter(device)
        assert entry.allowance is not None
        granted.append(entry.allowance.left)
    assert sum(granted) == 1_200 if ending != "unanswered" else 1_200 <= sum(granted) <= 1_204


def test_a_service_has_so_many_unknown_devices_and_no_more() -> None:
    edge = Edge(grace=Grace(devices=2))
    assert [edge.admission(device) for device in "xyz"] == [Admission.ADMITTED] * 2 + [Admission.GRACE_DEVICES]
    assert (len(edge.table), edge.table.online("a")) == (2, 2), "who is refused is not remembered"
    assert edge.admission("z", service="b") is Admission.ADMITTED
    edge.answer("x")
    assert edge.admission("z") is Admission.ADMITTED


def test_with_an_empty_pool_a_device_is_let_in_and_waits() -> None:
    edge = Edge(grace=Grace(bytes=1_000, devices=1))
    entry, _ = edge.enter("x")
    assert entry.allowance is not None
    entry.allowance.left = 0
    edge.answer("x")
    entry, _ = edge.enter("y")
    assert (entry.admission, entry.check) == (Admission.ADMITTED, True)
    assert entry.allowance is not None
    assert entry.allowance.left == 0
    edge.answer("y")
    assert entry.allowance.lifted


def test_sources_that_rotate_do_not_move_bytes_for_ever() -> None:
    """A new device every tenth of a second, each denied half a second later, takes all it is given at once."""
    grace = Grace(bytes=1_000, devices=4)
    edge, moved = Edge(FAIL_CLOSED, grace, capacity=10_000), 0
    for number in range(3_000):
        edge.now = number / 10
        entry, _ = edge.enter(str(number))
        if entry.allowance is not None:
            moved += entry.allowance.left
            entry.allowance.left = 0
        if number >= 5:
            edge.answer(str(number - 5), False)
    assert moved <= 4_000 * (1 + 300 / REFILL_SECONDS)


# Checks.


def test_a_check_that_failed_is_repeated_only_for_who_waits() -> None:
    edge = Edge()
    _, session = edge.enter("x")
    assert edge.table.failed("a", "x"), "a session waits"
    entry, second = edge.enter("x")
    assert not entry.check, "it is in flight until the caller has paused"
    edge.answer("x", seconds=60.0)
    assert not edge.table.failed("a", "x"), "it was answered"
    edge.at(60.0)
    edge.leave("x", session)
    edge.leave("x", second)
    assert not edge.table.failed("a", "x"), "nobody waits any more"


def test_a_check_in_a_grace_is_repeated_without_sessions_too() -> None:
    edge = Edge()
    _, session = edge.enter("x")
    edge.leave("x", session)
    assert edge.table.failed("a", "x")
    edge.at(5.0)
    assert not edge.table.failed("a", "x")
    assert not edge.table.failed("a", "never seen")


def test_a_check_that_failed_for_nobody_is_asked_anew_when_somebody_comes() -> None:
    edge = Edge(STALE_FOR)
    edge.know("x", accept=False, seconds=60.0)
    edge.now = 61.0
    assert edge.enter("x")[0] == DeviceEntry(Admission.DENIED, check=True)
    assert not edge.table.failed("a", "x")
    assert edge.enter("x")[0] == DeviceEntry(Admission.DENIED, check=True)


def test_a_check_that_never_ends_is_not_begun_again() -> None:
    edge = Edge(FAIL_CLOSED)
    edge.enter("x")
    for now in range(1, 100, 7):
        edge.at(float(now))
        assert not edge.enter("x")[0].check
    assert len(edge.table) == 1


# Limits.


@pytest.mark.parametrize("checked", [True, False])
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
    edge = Edge(DeviceRules(2, handover), checked=checked)
    if checked:
        edge.know("x", "y", "z")
    sessions = {"x": [edge.enter("x")[1], edge.enter("x")[1]], "y": [edge.enter("y")[1]]}
    entry, _ = edge.enter("z")
    gone = tuple(session for device in evicted for session in sessions[device])
    assert entry == DeviceEntry(admission, evict=gone)
    assert entry is not ENTERED, "there may be a hold now, and so a deadline"
    assert edge.table.online("a") == online
    assert edge.enter("y")[0] is ENTERED, "who is online is not counted anew"
    assert edge.admission("z", service="b") is Admission.ADMITTED, "another service has a limit of its own"
    for session in gone:
        edge.leave("x", session)
    assert edge.table.online("a") == online
    assert checked or len(edge.table) == online + 1, "nobody is remembered but who is online"


def test_a_device_at_the_limit_comes_in_when_another_has_left() -> None:
    edge = Edge(DeviceRules(1, REJECT_NEW))
    (session,) = edge.put_online("x")
    edge.know("y")
    assert edge.admission("y") is Admission.LIMIT
    edge.leave("x", session)
    assert edge.admission("y") is Admission.ADMITTED
    assert edge.admission("x") is Admission.LIMIT


def test_an_unknown_device_that_the_limit_refuses_is_not_asked_about() -> None:
    edge = Edge(DeviceRules(1, REJECT_NEW))
    edge.put_online("x")
    assert edge.enter("y")[0] == DeviceEntry(Admission.LIMIT)
    assert (len(edge.table), in_grace(edge.table, "a")) == (1, 0)


def test_an_unknown_device_makes_room_as_any_other() -> None:
    edge = Edge(DeviceRules(1, EVICT_OLDEST))
    sessions = edge.put_online("x")
    entry, _ = edge.enter("y")
    assert entry.allowance is not None
    assert entry == DeviceEntry(Admission.ADMITTED, True, entry.allowance, tuple(sessions))


@pytest.mark.parametrize("checked", [True, False])
def test_a_hold_ends_with_the_oldest_device(checked: bool) -> None:
    edge = Edge(DeviceRules(1, HOLD, hold_seconds=30.0), checked=checked)
    if checked:
        edge.know("x", "y", "z")
    first = [edge.enter("x")[1] for _ in range(2)]
    edge.now = 10.0
    _, second = edge.enter("y")
    edge.now = 11.0
    assert edge.enter("z")[0] == DeviceEntry(Admission.ADMITTED, evict=tuple(first)), "never more than twice the limit"
    assert edge.at(40.7) == []
    assert edge.at(41.0) == [change("y", second, cause=Admission.LIMIT)]
    assert edge.table.online("a") == 1


def test_a_limit_beyond_reach_is_none() -> None:
    edge = Edge(DeviceRules(None, REJECT_NEW))
    edge.put_online(*"uvwxyz")
    assert edge.table.online("a") == 6


# Rules that change.


@pytest.mark.parametrize(("handover", "gone"), [(REJECT_NEW, "zy"), (EVICT_OLDEST, "xy"), (HOLD, "x")], ids=str)
def test_a_lower_limit_sends_devices_away_and_checks_the_others(handover: Handover, gone: str) -> None:
    edge = Edge()
    sessions = dict(zip("xyz", edge.put_online(*"xyz"), strict=True))
    rules = DeviceRules(1, handover)
    changes = edge.recheck(rules)
    assert changes[: len(gone)] == [change(each, sessions[each], cause=Admission.LIMIT) for each in gone]
    stay = [each for each in "xyz" if each not in gone]
    assert changes[len(gone) :] == [change(each, check=True) for each in stay]
    for each in stay:
        assert edge.enter(each)[0] == DeviceEntry(Admission.ADMITTED), "not asked twice, and not cut meanwhile"
    edge.know(*stay)
    assert [each.device for each in edge.at(30.0)] == ([] if handover is not HOLD else ["y"])


@pytest.mark.parametrize("rules", [FAIL_CLOSED, STALE_FOR])
def test_a_recheck_reaches_verdicts_of_devices_that_are_not_online(rules: DeviceRules) -> None:
    edge = Edge(rules)
    edge.know("x", "y", accept=False)
    edge.now = 10.0
    assert edge.recheck(rules) == []
    entry, _ = edge.enter("x")
    assert entry.check
    assert entry.admission is (Admission.DENIED if rules is STALE_FOR else Admission.ADMITTED)
    edge.answer("x")
    assert edge.enter("x")[0] is ENTERED
    edge.at(320.0)
    assert edge.enter("y")[0].allowance is not None, "it was stale since the recheck"


@pytest.mark.parametrize("accept", [True, False])
def test_an_answer_to_a_question_from_before_the_recheck_is_stale(accept: bool) -> None:
    edge = Edge()
    _, session = edge.enter("x")
    assert edge.recheck(STALE_FOR) == [], "it is being asked already"
    evict = () if accept else (session,)
    cause = Admission.ADMITTED if accept else Admission.DENIED
    assert edge.answer("x", accept) == change("x", *evict, check=True, cause=cause)
    entry, _ = edge.enter("x")
    assert (entry.admission, entry.check, entry.allowance) == (cause, False, None)
    edge.answer("x")
    assert edge.enter("x")[0] is ENTERED


def test_an_answer_to_a_question_repeated_after_the_recheck_is_fresh() -> None:
    edge = Edge()
    edge.enter("x")
    edge.recheck(STALE_FOR)
    assert edge.table.failed("a", "x")
    assert edge.answer("x") == change("x")
    assert edge.enter("x")[0] is ENTERED


def test_an_answer_that_nobody_asked_for_is_fresh() -> None:
    edge = Edge()
    edge.know("x")
    edge.recheck(STALE_FOR)
    edge.know("x")
    assert edge.enter("x")[0] is ENTERED


@pytest.mark.parametrize("in_grace", [True, False])
def test_a_stale_answer_is_made_good_only_for_who_waits(in_grace: bool) -> None:
    edge = Edge()
    _, session = edge.enter("x")
    edge.leave("x", session)
    if not in_grace:
        edge.at(5.0)
    edge.recheck(STALE_FOR)
    assert edge.answer("x") == change("x", check=in_grace)


@pytest.mark.parametrize("rules", [FAIL_CLOSED, STALE_FOR])
def test_a_recheck_that_is_not_answered_ends_the_sessions(rules: DeviceRules) -> None:
    edge = Edge(rules)
    (session,) = edge.put_online("x")
    assert edge.recheck(rules) == [change("x", check=True)]
    end = 5.0 if rules is FAIL_CLOSED else 300.0
    assert edge.at(end - 0.3) == []
    assert edge.at(end) == [change("x", session, cause=Admission.UNCHECKED)]


def test_without_a_checker_a_recheck_only_counts() -> None:
    edge = Edge(checked=False)
    sessions = [edge.enter(device)[1] for device in "xyz"]
    assert edge.recheck(DeviceRules(2, REJECT_NEW)) == [change("z", sessions[2], cause=Admission.LIMIT)]
    assert edge.enter("x")[0] is ENTERED


def test_a_service_nobody_uses_is_rechecked_for_nothing() -> None:
    assert Edge().recheck(STALE_FOR) == []


# Thousands of them.


def test_a_recheck_goes_a_device_a_step() -> None:
    edge = Edge()
    sessions = edge.put_online(*map(str, range(90)))
    steps = [*edge.table.recheck("a", 0.0, DeviceRules(30))]
    assert [each.evict for each in filter(None, steps[:60])] == [(session,) for session in sessions[:29:-1]]
    assert [each and each.check for each in steps[60:]] == [True] * 30


def test_of_many_things_that_are_due_one_is_done_at_a_time() -> None:
    edge = Edge(FAIL_CLOSED)
    edge.know(*map(str, range(90)), seconds=60.0)
    for number in range(30):
        edge.enter(str(number))
    edge.now = 61.0
    checks: list[DeviceChange] = []
    while edge.table.next_due() <= edge.now:
        before = len(edge.table)
        checks += filter(None, [edge.table.expire(edge.now, lambda _: edge.rules)])
        assert before - len(edge.table) <= 1
    assert sorted(checks, key=lambda each: int(each.device)) == [change(str(each), check=True) for each in range(30)]
    assert len(edge.table) == 30, "the others are of no use any more"


def test_who_comes_while_a_lower_limit_is_being_seen_to_takes_one_place() -> None:
    edge = Edge(DeviceRules(None, EVICT_OLDEST))
    sessions = edge.put_online(*"uvwxyz")
    edge.know("1")
    edge.rules = DeviceRules(2, EVICT_OLDEST)
    steps = edge.table.recheck("a", 0.0, edge.rules)
    assert next(steps) == change("u", sessions[0], cause=Admission.LIMIT)
    assert edge.enter("1")[0].evict == (sessions[1],)
    assert [each.device for each in filter(None, steps) if each.evict] == ["w", "x", "y"]
    assert edge.table.online("a") == 2


# A service that is no more.


@pytest.mark.parametrize("state", ["fresh", "denied", "in grace", "stale"])
def test_a_service_that_comes_back_begins_anew(state: str) -> None:
    edge = Edge(DeviceRules(1), Grace(bytes=1_000, devices=1))
    if state == "in grace":
        session = edge.enter("x")[1]
    else:
        edge.know("x", accept=state != "denied", seconds=60.0)
        session = edge.enter("x")[1]
        edge.now = 61.0 if state == "stale" else 0.0
        edge.enter("x")
    assert session in [*edge.table.forget("a")] or state == "denied"
    assert len(edge.table) == 0
    entry, again = edge.enter("x")
    assert entry.allowance is not None
    assert entry == DeviceEntry(Admission.ADMITTED, check=True, allowance=entry.allowance)
    assert entry.allowance.left == 1_000
    edge.leave("x", session)
    assert (edge.table.online("a"), in_grace(edge.table, "a")) == (1, 1), "a session from before leaves nothing behind"
    edge.leave("x", again)
    assert edge.table.online("a") == 0


def test_a_service_is_forgotten_with_the_first_step_and_nobody_elses_devices_are() -> None:
    edge = Edge(FAIL_CLOSED)
    edge.put_online(*"xyz")
    edge.enter("x", service="b")
    steps = edge.table.forget("a")
    next(steps)
    assert (edge.table.online("a"), edge.table.online("b")) == (0, 1)
    edge.now = 2e6
    assert edge.table.expire(edge.now, lambda _: edge.rules) is not None, "b's grace is over"
    while edge.table.next_due() <= edge.now:
        assert edge.table.expire(edge.now, lambda _: edge.rules) is None, "nothing is due for who is forgotten"
    assert len([*steps]) >= 2
    assert len(edge.table) == 1


def test_a_service_nobody_used_is_forgotten_for_nothing() -> None:
    assert list(Edge().table.forget("a")) == []


# What is remembered.


def test_a_full_table_forgets_who_has_been_idle_longest_and_nobody_who_lives() -> None:
    edge = Edge(capacity=3)
    edge.put_online("live")
    edge.know("old", "new", accept=False)
    assert edge.admission("x") is Admission.ADMITTED
    assert edge.admission("new") is Admission.DENIED
    assert edge.admission("y") is Admission.ADMITTED
    assert edge.enter("z")[0] == DeviceEntry(Admission.FULL), "one lives, two are in their grace"
    assert edge.answer("z", False) == change("z"), "and a verdict nobody waits for has no room either"
    assert edge.enter("live")[0] is ENTERED
    assert len(edge.table) == 3


def test_who_was_sent_away_may_be_forgotten() -> None:
    edge = Edge(DeviceRules(1, EVICT_OLDEST), capacity=2)
    edge.put_online("x", "y")
    assert edge.admission("z") is Admission.ADMITTED


@pytest.mark.parametrize("answered", [True, False])
def test_one_that_is_being_checked_is_not_forgotten(answered: bool) -> None:
    edge = Edge(capacity=1)
    edge.know("x", accept=False, seconds=60.0)
    edge.now = 61.0
    assert edge.enter("x")[0].check
    assert edge.admission("y") is Admission.FULL
    if answered:
        edge.answer("x", False)
    else:
        assert not edge.table.failed("a", "x")
    assert edge.admission("y") is Admission.ADMITTED


def test_sources_that_rotate_do_not_wash_out_who_lives() -> None:
    edge = Edge(DeviceRules(), Grace(devices=2), capacity=8)
    edge.put_online("live")
    for number in range(500):
        edge.enter(str(number))
        edge.answer(str(number), False)
        assert edge.enter("live")[0] is ENTERED
    assert len(edge.table) == 8


def test_a_verdict_of_no_use_is_forgotten() -> None:
    edge = Edge(STALE_FOR)
    edge.know("x", seconds=60.0)
    edge.at(359.0)
    assert len(edge.table) == 1
    edge.at(360.5)
    assert (len(edge.table), edge.table.next_due()) == (0, inf)


def test_without_a_checker_nothing_is_remembered_and_nothing_is_due() -> None:
    edge = Edge(checked=False)
    entry, session = edge.enter("x")
    assert entry is ENTERED
    assert (len(edge.table), edge.table.online("a"), edge.table.next_due()) == (1, 1, inf)
    edge.leave("x", session)
    assert (len(edge.table), edge.table.online("a")) == (0, 0)


@pytest.mark.parametrize("ending", ["answered", "expired"])
def test_whoever_goes_on_may_end_and_leave_at_once(ending: str) -> None:
    """A relay that goes on may find its client gone, and its session leaves while the table is still at work."""
    edge = Edge(FAIL_OPEN)
    comers = [(device, *edge.enter(device)) for device in "xyz"]
    for device, entry, session in comers:
        assert entry.allowance is not None
        entry.allowance.wait(lambda device=device, session=session: edge.leave(device, session))  # type: ignore[misc]
    if ending == "answered":
        for device, _, _ in comers:
            edge.answer(device)
    else:
        assert edge.at(5.0) == []
    assert edge.table.online("a") == 0
    edge.at(1_000.0)
    assert not any(edge.table.failed("a", device) for device in "xyz")
    edge.at(1_010.0)
    assert (len(edge.table), edge.table.next_due()) == (0, inf)


# All of it at once.

GRACE = Grace(seconds=5.0, sessions=3, bytes=1_000, devices=2)
POOL = 2_000


@attrs.define(eq=False)
class Live:
    """A session the model holds to be live."""

    key: Key
    session: Session
    allowance: Allowance | None


class DeviceTableMachine(RuleBasedStateMachine):
    """A caller that does what it is told, against every promise that can be seen from outside."""

    @initialize(
        limit=st.none() | st.integers(1, 3),
        handover=st.sampled_from(Handover),
        unchecked=st.sampled_from(Unchecked),
        capacity=st.integers(3, 8),
    )
    def begin(self, limit: int | None, handover: Handover, unchecked: Unchecked, capacity: int) -> None:
        self.device_rules = DeviceRules(limit, handover, 8.0, unchecked, 20.0)
        self.table = DeviceTable(GRACE, capacity)
        self.capacity = capacity
        self.now = 0.0
        self.ids = count(1)
        self.live: list[Live] = []
        self.in_flight: dict[Key, bool] = {}  # and whether the rules have changed since
        self.ever_accepted: set[Key] = set()
        self.fresh_until: dict[Key, float] = {}  # of devices that were online all the while since they were accepted
        self.graces: dict[Allowance, float] = {}  # and when each was first seen
        self.forgetting: list[Generator[Session | None, None, None]] = []
        self.ghosts: list[Live] = []  # of services that were removed
        self.moved: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)

    def sessions_of(self, key: Key) -> list[Live]:
        return [each for each in self.live if each.key == key]

    def online(self, service: str) -> set[str]:
        return {each.key[1] for each in self.live if each.key[0] == service}

    def ask(self, key: Key) -> None:
        assert key not in self.in_flight, "one check a device at a time"
        self.in_flight[key] = False

    def evict(self, sessions: tuple[Session, ...]) -> None:
        """End sessions as a caller does: the table hears of it once more."""
        for session in sessions:
            (found,) = (each for each in self.live if each.session is session)
            self.live.remove(found)
            self.table.leave(*found.key, session)
            self.offline(found.key)

    def offline(self, key: Key) -> None:
        if not self.sessions_of(key):
            self.fresh_until.pop(key, None)

    def perform(self, change: DeviceChange) -> None:
        key = (change.service, change.device)
        if change.evict:
            assert change.evict == tuple(each.session for each in self.sessions_of(key)), "all, and no others"
            assert change.cause is not Admission.ADMITTED
        self.evict(change.evict)
        if change.check:
            self.ask(key)

    @rule(service=st.sampled_from("ab"), device=st.sampled_from("123456"))
    def enter(self, service: str, device: str) -> None:
        key = (service, device)
        session = make_session(id=next(self.ids))
        entry = self.table.enter(service, device, session, self.now, self.device_rules)
        if self.now < self.fresh_until.get(key, -inf):
            assert entry is ENTERED, "a live device's verdict is never washed out"
        if entry.check:
            self.ask(key)
        if entry.admission is Admission.FULL and not self.forgetting:
            assert len(self.in_flight.keys() | {each.key for each in self.live}) >= self.capacity
        if entry.admission is not Admission.ADMITTED:
            assert not entry.evict
            assert entry.allowance is None
            return
        assert all(each.key[0] == service for each in self.live if each.session in entry.evict)
        self.evict(entry.evict)
        self.live.append(Live(key, session, entry.allowance))
        if entry.allowance is not None:
            self.graces.setdefault(entry.allowance, self.now)
            assert key in self.in_flight, "somebody finds out"

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.live))
        self.live.remove(one)
        self.table.leave(*one.key, one.session)
        self.offline(one.key)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), accept=st.booleans(), seconds=st.sampled_from([1.0, 7.0, 60.0]))
    def answer(self, data: st.DataObject, accept: bool, seconds: float) -> None:
        key = data.draw(st.sampled_from(sorted(self.in_flight)))
        outdated = self.in_flight.pop(key)
        sessions = self.sessions_of(key)
        if accept:
            self.ever_accepted.add(key)
        change = self.table.answer(*key, accept, seconds, self.now)
        assert change.evict == (() if accept else tuple(each.session for each in sessions))
        assert change.check <= outdated
        self.perform(change)
        if accept:
            assert all(each.allowance is None or each.allowance.lifted for each in sessions)
            if sessions and not outdated:
                self.fresh_until[key] = self.now + seconds

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.in_flight)))
        again = self.table.failed(*key)
        assert again or not self.sessions_of(key)
        if again:
            self.in_flight[key] = False
        else:
            del self.in_flight[key]

    @precondition(lambda self: self.live)
    @rule(data=st.data(), wanted=st.sampled_from([1, 300, 1_000]))
    def move(self, data: st.DataObject, wanted: int) -> None:
        one = data.draw(st.sampled_from(self.live))
        allowance = one.allowance
        if allowance is None or allowance.lifted or allowance.left <= 0:
            return
        number = min(wanted, allowance.left)
        allowance.left -= number
        moved = self.moved[one.key[0]]
        moved.append((self.now, number))
        for first, (since, _) in enumerate(moved):
            total = sum(each for _, each in moved[first:])
            assert total <= POOL * (1 + (self.now - since) / REFILL_SECONDS) + 1

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 4.0, 10.0, 61.0]))
    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.table.next_due()) <= end:
            self.now = max(self.now, due)
            self.expire()
        self.now = end
        self.expire()

    def expire(self) -> None:
        while self.table.next_due() <= self.now:
            change = self.table.expire(self.now, lambda _: self.device_rules)
            if change is not None:
                self.perform(change)

    @rule(limit=st.none() | st.integers(1, 3), handover=st.sampled_from(Handover))
    def change_the_rules(self, limit: int | None, handover: Handover) -> None:
        self.device_rules = attrs.evolve(self.device_rules, limit=limit, handover=handover)
        for service in "ab":
            for key in self.in_flight:
                self.in_flight[key] |= key[0] == service
            self.fresh_until = {key: until for key, until in self.fresh_until.items() if key[0] != service}
            for change in filter(None, self.table.recheck(service, self.now, self.device_rules)):
                self.perform(change)

    @rule(service=st.sampled_from("ab"))
    def remove(self, service: str) -> None:
        """It comes back with the next who enters, be it before all of it is forgotten."""
        gone = [each for each in self.live if each.key[0] == service]
        self.live = [each for each in self.live if each.key[0] != service]
        self.ghosts += gone
        self.in_flight = {key: each for key, each in self.in_flight.items() if key[0] != service}
        self.fresh_until = {key: until for key, until in self.fresh_until.items() if key[0] != service}
        self.ever_accepted = {key for key in self.ever_accepted if key[0] != service}
        self.moved.pop(service, None)
        self.forgetting.append(self.table.forget(service))
        self.go_on_forgetting()
        assert self.table.online(service) == in_grace(self.table, service) == 0

    @precondition(lambda self: self.forgetting)
    @rule()
    def go_on_forgetting(self) -> None:
        self.forgetting = [each for each in self.forgetting if next(each, self) is not self]

    @precondition(lambda self: self.ghosts)
    @rule()
    def a_ghost_leaves(self) -> None:
        """The invariants see that it takes nobody along."""
        one = self.ghosts.pop()
        self.table.leave(*one.key, one.session)

    @invariant()
    def the_table_counts_what_lives(self) -> None:
        for service in "ab":
            assert self.table.online(service) == len(self.online(service))
        assert len({each.key for each in self.live} | self.in_flight.keys()) <= len(self.table) <= self.capacity

    @invariant()
    def who_is_online_and_no_longer_fresh_is_being_checked(self) -> None:
        for key, until in self.fresh_until.items():
            assert self.now < until + TICK or key in self.in_flight

    @invariant()
    def no_service_has_more_devices_than_its_rules_let_it(self) -> None:
        limit, handover = self.device_rules.limit, self.device_rules.handover
        for service in "ab":
            assert limit is None or self.table.online(service) <= limit * (2 if handover is Handover.HOLD else 1)
            assert in_grace(self.table, service) <= GRACE.devices

    @invariant()
    def who_was_never_accepted_is_bounded_in_all(self) -> None:
        if self.device_rules.unchecked is Unchecked.FAIL_OPEN:
            return
        for one in self.live:
            if one.key not in self.ever_accepted:
                assert one.allowance is not None
                assert not one.allowance.lifted
                assert self.now < self.graces[one.allowance] + GRACE.seconds + TICK
                assert len(self.sessions_of(one.key)) <= GRACE.sessions

    def teardown(self) -> None:
        """Everybody leaves, the checker is silent, and nothing stays."""
        if not hasattr(self, "table"):
            return
        while self.forgetting:
            self.go_on_forgetting()
        for one in self.live:
            self.table.leave(*one.key, one.session)
        self.live.clear()
        self.pass_time(GRACE.seconds + 2 * TICK)
        assert not any(self.table.failed(*key) for key in self.in_flight)
        self.pass_time(200.0)
        assert len(self.table) == 0
        assert self.table.next_due() == inf
        assert not self.table._services


TestDeviceTable = DeviceTableMachine.TestCase
TestDeviceTable.settings = examples(40, steps=40)  # a second or so: what goes wrong here goes wrong in long stories
