from math import inf

import pytest

from tests.strategies import make_session
from trioedge.services.device_rules import DeviceRules, Handover
from trioedge.session.session import Session
from trioedge.stages.devices.answers import Admission, DeviceChange
from trioedge.stages.devices.grace import Grace
from trioedge.stages.devices.memory import TICK, DeviceMemory
from trioedge.stages.devices.records import ServiceRecord
from trioedge.stages.devices.surplus import DeviceSurplus

REJECT_NEW, EVICT_OLDEST, HOLD = Handover


class World:
    """A service with these devices online, each with a session; in the order in which they came."""

    def __init__(self, *devices: str) -> None:
        self.memory = DeviceMemory(Grace(), 100, inf)
        self.surplus = DeviceSurplus(self.memory)
        self.sessions: dict[str, Session] = {}
        for name in devices:
            device = self.memory.find_or_make("a", name)
            self.memory.remember(device)
            device.service.online.come(device)
            session = self.sessions[name] = make_session()
            device.sessions[session] = None

    @property
    def service(self) -> ServiceRecord:
        return self.memory.services["a"]

    def gone(self, *names: str) -> list[DeviceChange]:
        return [DeviceChange("a", name, False, (self.sessions[name],), Admission.LIMIT) for name in names]

    def due(self, now: float, rules: DeviceRules) -> list[DeviceChange]:
        """Settle as often as it is due."""
        changes: list[DeviceChange] = []
        while self.memory.next_due() <= now:
            if self.memory.take_due(now) is self.service:
                changes += filter(None, [self.surplus.settle(self.service, now, rules)])
        return changes


@pytest.mark.parametrize(("handover", "names"), [(REJECT_NEW, "dcb"), (EVICT_OLDEST, "abc"), (HOLD, "ab")])
def test_other_rules_send_away_one_device_a_step(handover: Handover, names: str) -> None:
    world, rules = World(*"abcd"), DeviceRules(1, handover)
    assert list(world.surplus.foresee(world.service, rules)) == [world.sessions[name] for name in names]
    for left, change in enumerate(world.surplus.reduce(world.service, 0.0, rules), 1):
        assert [change] == world.gone(names[left - 1])
        assert len(world.service.online) == 4 - left
    assert len(world.service.online) == 4 - len(names)


def test_whoever_leaves_between_two_steps_spares_another() -> None:
    world, rules = World(*"abcd"), DeviceRules(2, EVICT_OLDEST)
    steps = world.surplus.reduce(world.service, 0.0, rules)
    assert next(steps) == world.gone("a")[0]
    device = world.memory.find("a", "d")
    assert device is not None
    world.memory.take_offline(device)
    assert list(steps) == []


def test_one_more_takes_the_place_of_one_even_if_there_are_many_too_many() -> None:
    """The limit was lowered a moment ago, and the others have their turn."""
    world, rules = World(*"abcd"), DeviceRules(1, EVICT_OLDEST)
    assert world.surplus.make_room(world.service, 0.0, rules) == (world.sessions["a"],)
    assert len(world.service.online) == 3
    assert list(world.surplus.reduce(world.service, 0.0, rules)) == world.gone("b", "c")


def test_one_more_that_fits_takes_nobodys_place() -> None:
    world = World(*"ab")
    assert world.surplus.make_room(world.service, 0.0, DeviceRules(3, EVICT_OLDEST)) == ()
    assert world.surplus.make_room(world.service, 0.0, DeviceRules(2, HOLD)) == ()


def test_holds_that_end_at_once_send_away_one_device_at_a_time() -> None:
    world, rules = World(*"abcdef"), DeviceRules(3, HOLD, hold_seconds=5.0)
    assert list(world.surplus.reduce(world.service, 1.0, rules)) == []
    assert world.due(5.9, rules) == []
    assert 6.0 <= world.memory.next_due() <= 6.0 + TICK
    assert world.memory.take_due(6.0) is world.service
    assert world.surplus.settle(world.service, 6.0, rules) == world.gone("a")[0]
    assert world.memory.next_due() <= 6.0, "there are more"
    assert world.due(6.0, rules) == world.gone("b", "c")
    assert world.memory.next_due() == inf
