"""Devices that come in a flood, and devices that put each other out."""

import pytest

from tests.support.devices import TableCaller
from trioedge.services.device_rules import DeviceRules, Handover
from trioedge.stages.devices.answers import ADMITTED, GRACE_DEVICES, PAUSE
from trioedge.stages.devices.grace import MIN_SHARED, Grace

# Unknown devices.


def test_a_source_that_connects_and_leaves_with_ever_other_addresses_keeps_no_honest_device_out() -> None:
    """5,600 a second for three seconds, and 60 new devices that stay; the checker does not answer."""
    caller = TableCaller(DeviceRules(), Grace(devices=64), capacity=65_536)
    honest = 0
    for number in range(16_800):
        caller.now = number / 5_600
        device = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        entry, session = caller.enter(device, source=device)
        assert entry.admission is ADMITTED
        caller.leave(device, session)
        if number % 280 == 0:
            name = f"192.0.2.{honest}"
            honest += caller.enter(name, source=name)[0].admission is ADMITTED
    assert honest == 60
    assert caller.in_grace() == 64


def test_a_device_in_its_grace_without_a_session_gives_its_place_to_a_new_one() -> None:
    caller = TableCaller(DeviceRules(), Grace(devices=2, bytes=1_000))
    left = caller.enter("left")
    left[0].allowance.left -= 100  # type: ignore[union-attr]
    stays = caller.enter("stays")
    assert caller.admission("new") is GRACE_DEVICES
    caller.leave("left", left[1])
    assert caller.admission("new") is ADMITTED
    assert caller.admission("left") is GRACE_DEVICES, "it is a new device"
    assert caller.admission("stays") is ADMITTED
    caller.leave("stays", stays[1])
    assert caller.in_grace() == 2


def test_a_device_that_lost_its_grace_while_it_is_checked_begins_another_one_and_is_asked_about_once() -> None:
    caller = TableCaller(DeviceRules(), Grace(devices=1))
    entry, session = caller.enter("x")
    assert entry.check
    caller.leave("x", session)
    second = caller.enter("y")
    caller.leave("y", second[1])
    entry, _ = caller.enter("x")
    assert (entry.admission, entry.check) == (ADMITTED, False)
    assert entry.allowance is not None, "a check in flight is no verdict"


def test_a_device_that_came_back_in_time_goes_on_with_its_grace() -> None:
    caller = TableCaller(DeviceRules(), Grace(devices=1))
    entry, session = caller.enter("x")
    caller.leave("x", session)
    again, _ = caller.enter("x")
    assert again.allowance is entry.allowance
    assert caller.admission("y") is GRACE_DEVICES


def test_unknown_devices_of_one_prefix_leave_places_to_others() -> None:
    caller = TableCaller(DeviceRules(), Grace(devices=64), capacity=1_000)
    flood = [caller.enter(f"2001:db8::{n}", source=f"2001:db8:0:{n:x}::1")[0].admission for n in range(200)]
    assert flood.count(ADMITTED) == 62
    others = [caller.enter(f"x{n}", source=f"198.51.{n}.1")[0].admission for n in range(2)]
    assert others == [ADMITTED] * 2


def test_few_places_are_not_shared() -> None:
    caller = TableCaller(DeviceRules(), Grace(devices=MIN_SHARED - 1))
    admitted = [caller.admission(f"{number}") for number in range(MIN_SHARED)]
    assert admitted == [ADMITTED] * (MIN_SHARED - 1) + [GRACE_DEVICES]


def test_the_checker_is_not_asked_about_a_device_that_has_left_before_its_turn() -> None:
    caller = TableCaller(DeviceRules(), Grace(devices=2))
    _, session = caller.enter("x")
    assert caller.table.wanted(caller.a, "x"), "a session waits"
    caller.leave("x", session)
    assert caller.table.wanted(caller.a, "x"), "a grace waits"
    for other in "yz":
        caller.enter(other)
    assert caller.remembered == 3
    assert not caller.table.wanted(caller.a, "x")
    assert not caller.table.wanted(caller.a, "x"), "it is forgotten"
    assert caller.remembered == 2


def test_the_checker_is_asked_again_about_a_denied_device_without_sessions() -> None:
    caller = TableCaller()
    caller.answer("x", accept=False, seconds=10.0)
    caller.now = 11.0
    entry, _ = caller.enter("x")
    assert entry.check
    assert caller.table.wanted(caller.a, "x")


# Pauses.


@pytest.mark.parametrize("checked", [True, False])
def test_two_devices_that_put_each_other_out_do_so_once_a_pause(checked: bool) -> None:
    """Each connects again at once when it is cut: a hundred times a second, for a minute."""
    caller = TableCaller(DeviceRules(1, Handover.EVICT_OLDEST, pause_seconds=10.0), checked=checked)
    if checked:
        caller.know("a", "b")
    live, cuts = {"a": False, "b": False}, 0
    for _ in range(6_000):
        caller.at(caller.now + 0.01 - 0.1)
        for device, other in ("ab", "ba"):
            if live[device]:
                continue
            entry, _ = caller.enter(device)
            live[device] = entry.admission is ADMITTED
            if entry.evict:
                cuts += 1
                live[other] = False
            else:
                assert live[device] or entry.admission is PAUSE
    assert cuts == 6


def test_a_device_in_its_pause_is_admitted_where_there_is_room_and_a_third_one_may_put_it_out() -> None:
    caller = TableCaller(DeviceRules(1, Handover.EVICT_OLDEST), checked=False)
    caller.enter("a")
    _, b = caller.enter("b")
    assert caller.admission("a") is PAUSE
    caller.leave("b", b)
    assert caller.admission("a") is ADMITTED
    entry, _ = caller.enter("c")
    assert (entry.admission, len(entry.evict)) == (ADMITTED, 1)


def test_after_a_pause_a_device_that_is_not_checked_is_forgotten() -> None:
    caller = TableCaller(DeviceRules(1, Handover.EVICT_OLDEST), checked=False)
    caller.enter("a")
    _, session = caller.enter("b")
    assert caller.remembered == 2
    caller.at(9.0)
    assert caller.remembered == 2
    caller.at(10.0)
    assert caller.remembered == 1
    caller.leave("b", session)
    assert caller.remembered == 0


def test_without_a_pause_the_latest_device_always_wins() -> None:
    caller = TableCaller(DeviceRules(1, Handover.EVICT_OLDEST, pause_seconds=0.0), checked=False)
    assert [caller.admission(device) for device in "abab"] == [ADMITTED] * 4
    assert caller.remembered == 1
