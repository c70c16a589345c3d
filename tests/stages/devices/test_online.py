from math import inf

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.strategies import examples
from trioedge.services.device_rules import DeviceRules, Handover
from trioedge.stages.devices.online import OnlineDevices

REJECT_NEW, EVICT_OLDEST, HOLD = Handover
ANY = tuple(Handover)

RULES = DeviceRules(2, HOLD, hold_seconds=10.0)


def online(*devices: str) -> OnlineDevices[str]:
    found: OnlineDevices[str] = OnlineDevices()
    for device in devices:
        found.add(device)
    return found


def evict(devices: OnlineDevices[str], rules: DeviceRules, coming: int = 0) -> list[str]:
    """Remove the devices that must go, one after the other."""
    gone = []
    while (device := devices.first_to_evict(rules, coming)) is not None:
        devices.remove(device)
        gone.append(device)
    return gone


def come(devices: OnlineDevices[str], device: str, now: float, rules: DeviceRules = RULES) -> list[str]:
    devices.adjust_holds(1, now, rules)
    gone = evict(devices, rules, coming=1)
    devices.add(device)
    return gone


def end_holds(devices: OnlineDevices[str], now: float, rules: DeviceRules = RULES) -> list[str]:
    devices.end_holds(now)
    return evict(devices, rules)


@pytest.mark.parametrize(
    ("handovers", "limit", "coming", "going"),
    [
        (ANY, None, 1, ""),
        (ANY, 5, 1, ""),
        (ANY, 4, 0, ""),
        ((EVICT_OLDEST,), 4, 1, "a"),
        ((EVICT_OLDEST,), 3, 1, "ab"),
        ((EVICT_OLDEST,), 2, 0, "ab"),
        ((EVICT_OLDEST,), 1, 1, "abcd"),
        ((REJECT_NEW,), 3, 0, "d"),
        ((REJECT_NEW,), 1, 0, "dcb"),
        ((HOLD,), 4, 1, ""),
        ((HOLD,), 3, 1, ""),
        ((HOLD,), 2, 0, ""),
        ((HOLD,), 2, 1, "a"),
        ((HOLD,), 1, 0, "ab"),
        ((HOLD,), 1, 1, "abc"),
    ],
)
def test_some_of_four_devices_must_go_at_once(
    handovers: tuple[Handover, ...], limit: int | None, coming: int, going: str
) -> None:
    for handover in handovers:
        devices = online(*"abcd")
        rules = DeviceRules(limit, handover)
        assert coming or devices.all_to_evict(rules) == list(going)
        devices.adjust_holds(coming, 0.0, rules)
        assert evict(devices, rules, coming) == list(going)
        tolerated = 0 if limit is None or handover is not HOLD else min(limit, max(0, 4 + coming - limit))
        assert devices.next_due() == (30.0 if tolerated else inf)


def test_a_device_that_must_go_is_online_until_it_is_removed() -> None:
    devices = online(*"abc")
    rules = DeviceRules(1, EVICT_OLDEST)
    assert devices.first_to_evict(rules) == devices.first_to_evict(rules) == "a"
    assert devices.all_to_evict(rules) == ["a", "b"]
    assert devices.oldest_first() == ["a", "b", "c"]


def test_a_device_that_left_and_came_back_is_the_newest() -> None:
    devices = online(*"abc")
    devices.remove("a")
    devices.add("a")
    assert devices.first_to_evict(DeviceRules(3, EVICT_OLDEST), coming=1) == "b"
    assert devices.oldest_first() == ["b", "c", "a"]


def test_at_the_end_of_each_hold_the_oldest_device_must_go() -> None:
    devices = online(*"ab")
    assert come(devices, "c", 1.0) == []
    assert come(devices, "d", 3.0) == []
    assert devices.next_due() == 11.0
    assert end_holds(devices, 10.9) == []
    assert end_holds(devices, 11.0) == ["a"]
    assert devices.next_due() == 13.0
    assert end_holds(devices, 13.0) == ["b"]


@pytest.mark.parametrize("leaver", "abc")
def test_at_the_end_of_a_hold_no_device_must_go_if_one_has_left(leaver: str) -> None:
    devices = online(*"ab")
    come(devices, "c", 1.0)
    devices.remove(leaver)
    assert end_holds(devices, 11.0) == []
    assert devices.next_due() == inf


def test_the_hold_of_a_device_that_left_does_not_shorten_the_next_one() -> None:
    devices = online(*"ab")
    come(devices, "c", 1.0)
    devices.remove("c")
    come(devices, "d", 10.0)
    assert end_holds(devices, 11.0) == []
    assert end_holds(devices, 20.0) == ["a"]


def test_beyond_twice_the_limit_the_oldest_device_must_go_at_once() -> None:
    devices = online(*"ab")
    assert [come(devices, each, 1.0 + number) for number, each in enumerate("cdef")] == [[], [], ["a"], ["b"]]
    assert devices.next_due() == 3.0 + 10.0, "the holds of the first two are over"


def test_a_shorter_hold_lasts_as_long_as_the_hold_before_it() -> None:
    devices = online(*"ab")
    come(devices, "c", 1.0)
    come(devices, "d", 2.0, DeviceRules(2, HOLD, hold_seconds=3.0))
    assert devices.next_due() == 11.0
    assert end_holds(devices, 11.0) == ["a", "b"]


@pytest.mark.parametrize("rules", [DeviceRules(None, HOLD), DeviceRules(3, HOLD), DeviceRules(3, EVICT_OLDEST)])
def test_rules_that_allow_all_devices_end_the_holds(rules: DeviceRules) -> None:
    devices = online(*"ab")
    come(devices, "c", 1.0)
    devices.adjust_holds(0, 2.0, rules)
    assert evict(devices, rules) == []
    assert devices.next_due() == inf


def test_a_lower_limit_begins_a_hold_for_each_device_beyond_it() -> None:
    devices = online(*"abc")
    lower = DeviceRules(2, HOLD, hold_seconds=5.0)
    devices.adjust_holds(0, 1.0, lower)
    assert evict(devices, lower) == []
    assert end_holds(devices, 6.0, lower) == ["a"]


def test_at_the_end_of_a_hold_no_device_must_go_if_there_is_no_limit_any_more() -> None:
    devices = online(*"ab")
    come(devices, "c", 1.0)
    assert end_holds(devices, 11.0, DeviceRules(None, HOLD)) == []


class OnlineDevicesMachine(RuleBasedStateMachine):
    """Devices come, go and are evicted: there are at most as many as the limit and the running holds allow."""

    @initialize(limit=st.integers(1, 3))
    def begin(self, limit: int) -> None:
        self.limit = limit
        self.device_rules = DeviceRules(limit, HOLD, hold_seconds=10.0)
        self.devices: OnlineDevices[int] = OnlineDevices()
        self.order: list[int] = []
        self.came_at: list[float] = []
        self.now = 0.0

    def evict(self, coming: int = 0) -> int:
        gone = 0
        while (device := self.devices.first_to_evict(self.device_rules, coming)) is not None:
            assert device == self.order.pop(0), "the oldest"
            self.devices.remove(device)
            gone += 1
        return gone

    @rule()
    def come(self) -> None:
        full = len(self.order) == 2 * self.limit
        self.devices.adjust_holds(1, self.now, self.device_rules)
        assert self.evict(1) == full, "only at the bound a device must go"
        self.devices.add(len(self.came_at))
        self.order.append(len(self.came_at))
        self.came_at.append(self.now)

    @precondition(lambda self: self.order)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        device = data.draw(st.sampled_from(self.order))
        self.devices.remove(device)
        self.order.remove(device)

    @rule(seconds=st.sampled_from([0.0, 1.0, 4.0, 10.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.devices.end_holds(self.now)
        self.evict()
        assert self.devices.next_due() > self.now
        recent = sum(came_at + 10.0 > self.now for came_at in self.came_at)
        assert len(self.order) <= self.limit + recent, "a device that came before the last 10 s is not beyond the limit"

    @invariant()
    def there_are_never_more_than_twice_the_limit(self) -> None:
        assert len(self.devices) == len(self.order) <= 2 * self.limit
        assert self.devices.oldest_first() == self.order


TestOnlineDevices = OnlineDevicesMachine.TestCase
TestOnlineDevices.settings = examples(25, steps=30)
