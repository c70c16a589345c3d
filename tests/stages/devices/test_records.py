from math import inf

import pytest

from tests.support.devices import make_service
from trioedge.services.device_rules import DeviceRules, Unchecked
from trioedge.stages.devices.answers import NOT_ANSWERED
from trioedge.stages.devices.grace import Grace
from trioedge.stages.devices.records import FRESH, IN_GRACE, STALE, UNKNOWN, DeviceRecord, Knowledge, ServiceRecord
from trioedge.testing import make_session

OPEN, CLOSED, STALE_FOR = (DeviceRules(unchecked=each, stale_seconds=300.0) for each in Unchecked)
ALL = (OPEN, CLOSED, STALE_FOR)


def make_device(fresh_until: float = -inf) -> DeviceRecord:
    return DeviceRecord(ServiceRecord(make_service(), Grace(seconds=5.0)), "d", fresh_until)


@pytest.mark.parametrize(
    ("rules", "now", "asked_at", "knowledge"),
    [
        (ALL, 99.0, None, FRESH),
        (ALL, 99.0, 1.0, FRESH),
        ((STALE_FOR,), 100.0, None, STALE),
        ((STALE_FOR,), 399.9, None, STALE),
        ((STALE_FOR,), 400.0, None, UNKNOWN),
        ((STALE_FOR,), 404.0, 399.5, STALE),
        ((STALE_FOR,), 405.0, 399.5, UNKNOWN),
        ((OPEN, CLOSED), 100.0, None, UNKNOWN),
        ((OPEN, CLOSED), 104.9, 100.0, STALE),
        ((OPEN, CLOSED), 105.0, 100.0, UNKNOWN),
    ],
)
def test_a_verdict_that_is_fresh_until_100_ages(
    rules: tuple[DeviceRules, ...], now: float, asked_at: float | None, knowledge: Knowledge
) -> None:
    """It may be used stale for 300 s by one rule, and by all for a grace of 5 s while it is refreshed."""
    for each in rules:
        device = make_device(100.0)
        device.asked_at = asked_at
        assert device.knowledge(now, each) is knowledge


@pytest.mark.parametrize("rules", ALL)
def test_a_new_device_is_unknown_unless_it_is_fresh_for_ever(rules: DeviceRules) -> None:
    assert make_device().knowledge(-1e9, rules) is UNKNOWN
    assert make_device(inf).knowledge(1e9, rules) is FRESH


def test_a_provisional_verdict_is_never_stale() -> None:
    device = make_device()
    device.set_verdict(NOT_ANSWERED, 10.0, provisional=True)
    assert device.knowledge(9.9, STALE_FOR) is FRESH
    assert device.knowledge(10.0, STALE_FOR) is UNKNOWN
    device.set_verdict(None, 10.0)
    assert device.knowledge(10.0, STALE_FOR) is STALE


def test_a_verdict_asked_for_before_a_recheck_is_stale_from_the_recheck_on() -> None:
    device = make_device(100.0)
    device.owner.recheck(50.0)
    assert device.knowledge(60.0, STALE_FOR) is STALE
    assert device.knowledge(350.0, STALE_FOR) is UNKNOWN
    device.set_verdict(None, 500.0)
    assert device.fresh_until == 50.0, "it was asked for before the recheck, and came after it"
    device.asked_after = device.owner.rechecks
    device.set_verdict(None, 500.0)
    assert device.knowledge(60.0, STALE_FOR) is FRESH


def test_a_recheck_does_not_change_a_provisional_verdict() -> None:
    device = make_device()
    device.set_verdict(None, 100.0, provisional=True)
    device.owner.recheck(50.0)
    assert device.knowledge(60.0, STALE_FOR) is FRESH


def test_a_grace_lasts_until_it_is_ended_and_returns_what_was_not_spent() -> None:
    device = make_device()
    pool = device.owner.pool
    device.begin_grace(1.0)
    assert device.knowledge(1e9, OPEN) is IN_GRACE
    assert (device.grace_until, pool.devices) == (6.0, 1)
    allowance = device.allowance
    assert allowance is not None
    assert allowance.left == 262_144
    allowance.left -= 62_144
    assert device.end_grace(2.0) is allowance
    assert (device.allowance, pool.devices) == (None, 0)
    assert pool.full_at == pytest.approx(2.0 + 60.0 * 62_144 / (64 * 262_144)), "only the spent bytes are charged"
    assert device.end_grace(3.0) is None


def test_a_refused_device_keeps_no_bytes() -> None:
    """The pool has them again, so its sessions must not move them while they are being cut."""
    device = make_device()
    device.begin_grace(1.0)
    allowance = device.allowance
    assert allowance is not None
    device.set_verdict(NOT_ANSWERED, 10.0)
    assert device.end_grace(2.0) is None
    assert (allowance.left, allowance.lifted) == (0, False)
    assert device.owner.pool.full_at == 0.0


def test_a_device_waits_for_an_answer_while_it_has_a_session_or_a_grace() -> None:
    device = make_device()
    assert not device.waits
    device.begin_grace(0.0)
    assert device.waits
    device.end_grace(0.0)
    device.sessions[make_session()] = None
    assert device.waits
