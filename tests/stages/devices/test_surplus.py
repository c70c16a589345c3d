from math import inf

import pytest

from tests.support.devices import make_service
from trioedge.services.device_rules import DeviceRules, Handover
from trioedge.session.session import Session
from trioedge.stages.devices.answers import Admission, DeviceChange
from trioedge.stages.devices.grace import REFILL_SECONDS, Grace
from trioedge.stages.devices.memory import TICK, DeviceMemory
from trioedge.stages.devices.records import ServiceRecord
from trioedge.stages.devices.surplus import DeviceSurplus
from trioedge.testing import make_session

REJECT_NEW, EVICT_OLDEST, HOLD = Handover

A = make_service("a")


class World:
    """A service with these devices online, each with a session, in the order in which they came."""

    def __init__(self, *devices: str) -> None:
        self.memory = DeviceMemory(Grace(), 100, checked=False)
        self.surplus = DeviceSurplus(self.memory)
        self.sessions: dict[str, Session] = {}
        for name in devices:
            device = self.memory.find_or_make(A, name)
            self.memory.remember(device)
            self.sessions[name] = make_session()
            self.memory.add_session(device, self.sessions[name])

    @property
    def owner(self) -> ServiceRecord:
        return self.memory.services[A.incarnation]

    def gone(self, *names: str) -> list[DeviceChange]:
        return [DeviceChange(A, name, False, (self.sessions[name],), Admission.LIMIT) for name in names]

    def due(self, now: float, rules: DeviceRules) -> list[DeviceChange]:
        """Handle the deadline of the service as often as it is due."""
        changes: list[DeviceChange] = []
        while self.memory.next_due() <= now:
            if (owner := self.memory.take_due(now)) is not None:
                assert isinstance(owner, ServiceRecord)
                changes += filter(None, [self.surplus.expire(owner, now, rules)])
        return changes


@pytest.mark.parametrize(("handover", "names"), [(REJECT_NEW, "dcb"), (EVICT_OLDEST, "abc"), (HOLD, "ab")])
def test_other_rules_evict_one_device_a_step(handover: Handover, names: str) -> None:
    world, rules = World(*"abcd"), DeviceRules(1, handover)
    assert list(world.surplus.foresee(world.owner, rules)) == [world.sessions[name] for name in names]
    for left, change in enumerate(world.surplus.reduce(world.owner, 0.0, rules), 1):
        assert [change] == world.gone(names[left - 1])
        assert len(world.owner.online) == 4 - left
    assert len(world.owner.online) == 4 - len(names)


def test_without_rules_the_sessions_of_all_devices_are_foreseen() -> None:
    world = World(*"abc")
    assert list(world.surplus.foresee(world.owner, None)) == list(world.sessions.values())


def test_a_device_that_leaves_between_two_steps_spares_another() -> None:
    world, rules = World(*"abcd"), DeviceRules(2, EVICT_OLDEST)
    steps = world.surplus.reduce(world.owner, 0.0, rules)
    assert next(steps) == world.gone("a")[0]
    device = world.memory.find(A, "d")
    assert device is not None
    world.memory.remove_sessions(device)
    assert list(steps) == []


def test_one_more_device_evicts_only_one_when_many_exceed_the_limit() -> None:
    """The limit was lowered a moment ago, and `reduce` evicts the others."""
    world, rules = World(*"abcd"), DeviceRules(1, EVICT_OLDEST)
    assert world.surplus.make_room(world.owner, 0.0, rules) == (world.sessions["a"],)
    assert len(world.owner.online) == 3
    assert list(world.surplus.reduce(world.owner, 0.0, rules)) == world.gone("b", "c")


def test_one_more_device_that_fits_or_is_tolerated_evicts_none() -> None:
    world = World(*"ab")
    assert world.surplus.make_room(world.owner, 0.0, DeviceRules(3, EVICT_OLDEST)) == ()
    assert world.surplus.make_room(world.owner, 0.0, DeviceRules(2, HOLD)) == ()


def test_holds_that_end_at_once_evict_one_device_at_a_time() -> None:
    world, rules = World(*"abcdef"), DeviceRules(3, HOLD, hold_seconds=5.0, pause_seconds=0.0)
    assert list(world.surplus.reduce(world.owner, 1.0, rules)) == []
    assert world.due(5.9, rules) == []
    assert 6.0 <= world.memory.next_due() <= 6.0 + TICK
    assert world.memory.take_due(6.0) is world.owner
    assert world.surplus.expire(world.owner, 6.0, rules) == world.gone("a")[0]
    assert world.memory.next_due() <= 6.0, "there are more"
    assert world.due(6.0, rules) == world.gone("b", "c")
    assert world.memory.next_due() == inf


def test_a_service_without_devices_is_forgotten_at_its_deadline_once_its_pool_is_full() -> None:
    world = World("a")
    device = world.memory.find(A, "a")
    assert device is not None
    device.begin_grace(0.0)
    assert device.allowance is not None
    device.allowance.left -= 1
    device.end_grace(0.0)
    world.memory.remove_sessions(device)
    assert list(world.memory.services) == [A.incarnation], "a new record would have a full pool"
    assert world.due(REFILL_SECONDS, DeviceRules()) == []
    assert (world.memory.services, world.memory.next_due()) == ({}, inf)
