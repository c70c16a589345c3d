from math import inf

import pytest

from tests.strategies import make_session
from trioedge.services.device_rules import DeviceRules, Handover
from trioedge.stages.devices.grace import REFILL_SECONDS, Grace
from trioedge.stages.devices.memory import TICK, DeviceMemory
from trioedge.stages.devices.records import DeviceRecord, Timed

GRACE = Grace(bytes=100, devices=1)


def remembering(*devices: str, capacity: int = 3) -> DeviceMemory:
    """A memory of devices of a service `a`, all of them idle."""
    memory = DeviceMemory(GRACE, capacity, -inf)
    for device in devices:
        remember(memory, device)
    return memory


def remember(memory: DeviceMemory, device: str, service: str = "a") -> DeviceRecord:
    found = memory.find_or_make(service, device)
    assert memory.remember(found)
    memory.release(found)
    return found


def names(memory: DeviceMemory) -> str:
    return "".join(device for service in memory.services.values() for device in service.devices)


def test_what_is_found_is_what_was_remembered() -> None:
    memory = DeviceMemory(GRACE, 3, 7.0)
    made = memory.find_or_make("a", "x")
    assert memory.find("a", "x") is None
    assert (made.name, made.service.name, made.fresh_until) == ("x", "a", 7.0)
    assert (len(memory), memory.services) == (0, {})
    assert memory.remember(made)
    assert memory.remember(made), "again is no harm"
    assert memory.find("a", "x") is memory.find_or_make("a", "x") is made
    assert memory.find_or_make("a", "y").service is made.service
    assert (memory.find("a", "y"), memory.find("b", "x"), len(memory)) == (None, None, 1)


def test_at_capacity_the_one_idle_longest_makes_room() -> None:
    memory = remembering(*"xyz")
    found = memory.find("a", "x")
    assert found is not None
    memory.hold(found)
    memory.release(found)
    remember(memory, "1")
    assert names(memory) == "xz1"
    remember(memory, "2")
    assert (names(memory), len(memory)) == ("x12", 3)


@pytest.mark.parametrize("reason", ["session", "check", "grace"])
def test_what_is_held_is_not_forgotten(reason: str) -> None:
    memory = remembering("x", capacity=1)
    device = memory.find("a", "x")
    assert device is not None
    memory.hold(device)
    if reason == "session":
        device.sessions[make_session()] = None
    elif reason == "check":
        device.asked_at = 0.0
    else:
        device.begin_grace(0.0)
    memory.release(device)
    assert not memory.remember(memory.find_or_make("a", "y"))
    assert names(memory) == "x"


def test_where_nothing_can_be_known_only_what_is_held_is_remembered() -> None:
    memory = DeviceMemory(GRACE, 3, inf)
    remember(memory, "x")
    assert (len(memory), memory.services) == (0, {})


def test_there_are_no_more_services_than_devices() -> None:
    """A service whose pool is still to fill takes a place, or whoever rotates services had them for nothing."""
    memory = DeviceMemory(GRACE, 1, -inf)
    spend_all(remember(memory, "x", service="a"))
    device = memory.find_or_make("b", "x")
    assert not memory.remember(device)
    assert list(memory.services) == ["a"]
    assert not take_due(memory, 1.0)
    assert take_due(memory, REFILL_SECONDS + 1.0)
    assert memory.remember(device)


def spend_all(device: DeviceRecord) -> None:
    device.begin_grace(0.0)
    assert device.allowance is not None
    device.allowance.left = 0
    device.end_grace(0.0)


def take_due(memory: DeviceMemory, now: float) -> list[Timed]:
    """What is due; a service does not stay for nothing."""
    due = []
    while memory.next_due() <= now:
        item = memory.take_due(now)
        due += [] if item is None else [item]
    for service in [each for each in memory.services.values() if each in due]:
        memory.forget_service(service, now)
    return due


def test_a_service_goes_with_its_last_device_but_not_before_its_pool_is_full() -> None:
    memory = remembering("x")
    unspent, spent = remember(memory, "x", service="u"), remember(memory, "x", service="s")
    spend_all(spent)
    memory.forget(unspent)
    memory.forget(spent)
    assert sorted(memory.services) == ["a", "s"]
    assert memory.find_or_make("s", "y").service.pool.open(1.0) <= 2, "the pool is as empty as it was"
    due = memory.next_due()
    assert REFILL_SECONDS <= due <= REFILL_SECONDS + TICK
    assert take_due(memory, due) == [spent.service]
    assert list(memory.services) == ["a"]


def test_a_service_that_has_devices_again_stays() -> None:
    memory = remembering()
    device = remember(memory, "x")
    spend_all(device)
    memory.forget(device)
    remember(memory, "y")
    take_due(memory, REFILL_SECONDS + 1.0)
    assert names(memory) == "y"


def test_a_deadline_is_only_brought_forward() -> None:
    memory = remembering("x")
    device = memory.find("a", "x")
    assert device is not None
    memory.bring_forward(device, 5.0)
    memory.bring_forward(device, 7.0)
    memory.bring_forward(device, 2.0)
    assert memory.next_due() == 2.0
    assert take_due(memory, 2.0) == [device]
    memory.bring_forward(device, 9.0)
    assert take_due(memory, 8.0) == [], "the one at 5 was dropped, and the one at 7 never set"
    assert take_due(memory, 9.0) == [device]


def test_what_is_forgotten_has_no_deadline() -> None:
    memory = remembering("x")
    device = memory.find("a", "x")
    assert device is not None
    memory.bring_forward(device, 5.0)
    memory.bring_forward(device.service, 6.0)
    memory.forget(device)
    assert take_due(memory, 100.0) == []
    assert (memory.next_due(), len(memory)) == (inf, 0)


def test_a_service_that_is_forgotten_to_make_room_for_its_own_device_keeps_its_deadlines() -> None:
    """Its record is used on, so a deadline must not seem to stand that was dropped with it."""
    memory = remembering("x", capacity=1)
    newcomer = memory.find_or_make("a", "y")
    service = newcomer.service
    memory.bring_forward(service, 5.0)
    assert memory.remember(newcomer)
    service.online.come(newcomer)
    service.online.hold(1, 0.0, DeviceRules(1, Handover.HOLD, hold_seconds=8.0))
    memory.bring_forward(service, service.online.next_due())
    assert memory.take_due(8.0) is service


# A service that is no more.


def test_a_service_that_is_put_out_is_not_found_and_its_devices_follow_one_by_one() -> None:
    memory = remembering("x", "y")
    other = remember(memory, "x", service="b")
    service = memory.services["a"]
    for device in (*service.devices.values(), service, other):
        memory.bring_forward(device, 5.0)
    steps = memory.clear("a")
    assert next(steps).service is service
    assert memory.find("a", "x") is memory.find("a", "y") is None
    assert len(memory) == 2, "the second still takes its place"
    assert [device.name for device in steps] == ["x"]
    assert (len(memory), memory.services) == (1, {"b": other.service})
    assert take_due(memory, 6.0) == [other], "none of theirs"
    assert list(memory.clear("a")) == []


@pytest.mark.parametrize("spent", [False, True])
def test_a_service_that_comes_back_in_between_is_another_one(spent: bool) -> None:
    memory = remembering("x", "y", capacity=2)
    if spent:
        spend_all(memory.find_or_make("a", "x"))
    steps = memory.clear("a")
    next(steps)
    new = remember(memory, "x")
    assert new.service.pool.full_at == 0.0
    assert memory.knows(new.service)
    remember(memory, "z")  # for which the one of before makes room, who has been idle longest
    assert sorted(memory.services["a"].devices) == ["x", "z"]
    assert list(steps) == []
    assert (len(memory), memory.services["a"], memory.next_due()) == (2, new.service, inf)
