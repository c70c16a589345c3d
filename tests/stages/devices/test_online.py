from math import inf

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.strategies import examples
from trioedge.services.device_rules import DeviceRules, Handover
from trioedge.stages.devices.online import OnlineDevices

REJECT_NEW, EVICT_OLDEST, HOLD = Handover
ANY = tuple(Handover)


def online(*devices: str) -> OnlineDevices[str]:
    found: OnlineDevices[str] = OnlineDevices()
    for device in devices:
        found.come(device)
    return found


def send_away(devices: OnlineDevices[str], rules: DeviceRules, coming: int = 0) -> list[str]:
    """Take out who must go, one after the other."""
    gone = []
    while (device := devices.surplus(rules, coming)) is not None:
        devices.go(device)
        gone.append(device)
    return gone


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
def test_who_must_go_at_once_of_four(
    handovers: tuple[Handover, ...], limit: int | None, coming: int, going: str
) -> None:
    for handover in handovers:
        devices = online(*"abcd")
        rules = DeviceRules(limit, handover)
        assert coming or devices.would_go(rules) == list(going)
        devices.hold(coming, 0.0, rules)
        assert send_away(devices, rules, coming) == list(going)
        held = 0 if limit is None or handover is not HOLD else min(limit, max(0, 4 + coming - limit))
        assert devices.next_due() == (30.0 if held else inf)


def test_who_must_go_is_online_until_somebody_takes_it_out() -> None:
    devices = online(*"abc")
    rules = DeviceRules(1, EVICT_OLDEST)
    assert devices.surplus(rules) == devices.surplus(rules) == "a"
    assert devices.would_go(rules) == ["a", "b"]
    assert devices.oldest_first() == ["a", "b", "c"]


def test_a_device_that_left_and_came_back_is_the_newest() -> None:
    devices = online(*"abc")
    devices.go("a")
    devices.come("a")
    assert devices.surplus(DeviceRules(3, EVICT_OLDEST), coming=1) == "b"
    assert devices.oldest_first() == ["b", "c", "a"]


RULES = DeviceRules(2, HOLD, hold_seconds=10.0)


def come(devices: OnlineDevices[str], device: str, now: float) -> list[str]:
    devices.hold(1, now, RULES)
    gone = send_away(devices, RULES, coming=1)
    devices.come(device)
    return gone


def settle(devices: OnlineDevices[str], now: float, rules: DeviceRules = RULES) -> list[str]:
    devices.settle(now)
    return send_away(devices, rules)


def test_a_hold_ends_with_the_oldest() -> None:
    devices = online(*"ab")
    assert come(devices, "c", 1.0) == []
    assert come(devices, "d", 3.0) == []
    assert devices.next_due() == 11.0
    assert settle(devices, 10.9) == []
    assert settle(devices, 11.0) == ["a"]
    assert devices.next_due() == 13.0
    assert settle(devices, 13.0) == ["b"]


@pytest.mark.parametrize("leaver", "abc")
def test_nobody_goes_if_one_of_them_has_left_meanwhile(leaver: str) -> None:
    devices = online(*"ab")
    come(devices, "c", 1.0)
    devices.go(leaver)
    assert settle(devices, 11.0) == []
    assert devices.next_due() == inf


def test_the_hold_of_one_that_left_is_not_charged_to_the_next() -> None:
    devices = online(*"ab")
    come(devices, "c", 1.0)
    devices.go("c")
    come(devices, "d", 10.0)
    assert settle(devices, 11.0) == []
    assert settle(devices, 20.0) == ["a"]


def test_twice_the_limit_is_the_end_of_patience() -> None:
    devices = online(*"ab")
    assert [come(devices, each, 1.0 + number) for number, each in enumerate("cdef")] == [[], [], ["a"], ["b"]]
    assert devices.next_due() == 3.0 + 10.0, "the holds of those that went are over"


@pytest.mark.parametrize("rules", [DeviceRules(None, HOLD), DeviceRules(3, HOLD), DeviceRules(3, EVICT_OLDEST)])
def test_rules_under_which_all_fit_end_the_holds(rules: DeviceRules) -> None:
    devices = online(*"ab")
    come(devices, "c", 1.0)
    devices.hold(0, 2.0, rules)
    assert send_away(devices, rules) == []
    assert devices.next_due() == inf


def test_a_lower_limit_holds_those_too_many() -> None:
    devices = online(*"abc")
    lower = DeviceRules(2, HOLD, hold_seconds=5.0)
    devices.hold(0, 1.0, lower)
    assert send_away(devices, lower) == []
    assert settle(devices, 6.0, lower) == ["a"]


def test_no_limit_any_more_is_noticed_when_a_hold_ends() -> None:
    devices = online(*"ab")
    come(devices, "c", 1.0)
    assert settle(devices, 11.0, DeviceRules(None, HOLD)) == []


class OnlineDevicesMachine(RuleBasedStateMachine):
    """Who comes, goes and is sent away, against the promise: limit and running holds, never more."""

    @initialize(limit=st.integers(1, 3))
    def begin(self, limit: int) -> None:
        self.limit = limit
        self.device_rules = DeviceRules(limit, HOLD, hold_seconds=10.0)
        self.devices: OnlineDevices[int] = OnlineDevices()
        self.order: list[int] = []
        self.came_at: list[float] = []
        self.now = 0.0

    def send_away(self, coming: int = 0) -> int:
        gone = 0
        while (device := self.devices.surplus(self.device_rules, coming)) is not None:
            assert device == self.order.pop(0), "the oldest"
            self.devices.go(device)
            gone += 1
        return gone

    @rule()
    def come(self) -> None:
        full = len(self.order) == 2 * self.limit
        self.devices.hold(1, self.now, self.device_rules)
        assert self.send_away(1) == full, "nobody goes but at the bound"
        self.devices.come(len(self.came_at))
        self.order.append(len(self.came_at))
        self.came_at.append(self.now)

    @precondition(lambda self: self.order)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        device = data.draw(st.sampled_from(self.order))
        self.devices.go(device)
        self.order.remove(device)

    @rule(seconds=st.sampled_from([0.0, 1.0, 4.0, 10.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.devices.settle(self.now)
        self.send_away()
        assert self.devices.next_due() > self.now
        held = sum(came_at + 10.0 > self.now for came_at in self.came_at)
        assert len(self.order) <= self.limit + held, "who came longer ago than a hold is not one too many"

    @invariant()
    def there_are_never_more_than_twice_the_limit(self) -> None:
        assert len(self.devices) == len(self.order) <= 2 * self.limit
        assert self.devices.oldest_first() == self.order


TestOnlineDevices = OnlineDevicesMachine.TestCase
TestOnlineDevices.settings = examples(25, steps=30)
