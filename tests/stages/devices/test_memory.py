from math import inf

import pytest

from tests.support.devices import Tenants
from trioedge.services.device_rules import DeviceRules, Handover
from trioedge.services.service import Service
from trioedge.stages.devices.grace import REFILL_SECONDS, Grace
from trioedge.stages.devices.memory import TICK, DeviceMemory
from trioedge.stages.devices.records import DeviceRecord, Timed
from trioedge.testing import make_session

GRACE = Grace(bytes=100, devices=1)

TENANTS = Tenants()
A, B = TENANTS["a"], TENANTS["b"]


def make_memory(*devices: str, capacity: int = 3) -> DeviceMemory:
    """Make a memory of devices of service `a`, all of them idle."""
    memory = DeviceMemory(GRACE, capacity, checked=True)
    for device in devices:
        remember(memory, device)
    return memory


def remember(memory: DeviceMemory, device: str, service: Service = A) -> DeviceRecord:
    found = memory.find_or_make(service, device)
    assert memory.remember(found)
    memory.unpin(found)
    return found


def names(memory: DeviceMemory) -> str:
    return "".join(device for owner in memory.services.values() for device in owner.devices)


def spend_all(device: DeviceRecord) -> None:
    device.begin_grace(0.0)
    assert device.allowance is not None
    device.allowance.left = 0
    device.end_grace(0.0)


def take_due(memory: DeviceMemory, now: float) -> list[Timed]:
    """Take every item that is due, and forget services as the device table does."""
    due = []
    while memory.next_due() <= now:
        item = memory.take_due(now)
        due += [] if item is None else [item]
    for owner in [each for each in memory.services.values() if each in due]:
        memory.forget_service(owner, now)
    return due


def test_a_device_is_found_after_it_was_remembered_and_not_before() -> None:
    memory = make_memory()
    made = memory.find_or_make(A, "x")
    assert memory.find(A, "x") is None
    assert (made.name, made.owner.service, made.fresh_until) == ("x", A, -inf)
    assert (memory.size, memory.services) == (0, {})
    assert memory.remember(made)
    assert memory.remember(made), "a second time has no effect"
    assert memory.find(A, "x") is memory.find_or_make(A, "x") is made
    assert memory.find_or_make(A, "y").owner is made.owner
    assert (memory.find(A, "y"), memory.find(B, "x"), memory.size) == (None, None, 1)


def test_a_service_that_was_named_again_has_a_record_of_its_own() -> None:
    tenants = Tenants()
    memory = make_memory()
    former = remember(memory, "x", tenants["a"])
    tenants.remove("a")
    assert memory.find(tenants["a"], "x") is None
    assert remember(memory, "x", tenants["a"]).owner is not former.owner
    assert (memory.size, len(memory.services)) == (2, 2)


def test_at_capacity_the_device_that_has_been_idle_for_longest_is_forgotten() -> None:
    memory = make_memory(*"xyz")
    found = memory.find(A, "x")
    assert found is not None
    session = make_session()
    memory.add_session(found, session)
    memory.remove_session(found, session)
    remember(memory, "1")
    assert names(memory) == "xz1"
    remember(memory, "2")
    assert (names(memory), memory.size) == ("x12", 3)


@pytest.mark.parametrize("reason", ["session", "check", "grace"])
def test_a_pinned_device_is_not_forgotten_for_a_new_one(reason: str) -> None:
    memory = make_memory(capacity=1)
    device = memory.find_or_make(A, "x")
    assert memory.remember(device)
    if reason == "session":
        memory.add_session(device, make_session())
    elif reason == "check":
        assert memory.begin_check(device, 0.0)
    else:
        device.begin_grace(0.0)
    memory.unpin(device)
    assert not memory.remember(memory.find_or_make(A, "y"))
    assert names(memory) == "x"


def test_without_a_checker_a_device_is_fresh_for_ever_and_forgotten_when_it_is_unpinned() -> None:
    memory = DeviceMemory(GRACE, 3, checked=False)
    device = remember(memory, "x")
    assert device.fresh_until == inf
    assert (memory.size, memory.services) == (0, {})


def test_there_are_no_more_services_than_devices() -> None:
    """A service whose pool is not full takes a place; otherwise services that rotate would always have full pools."""
    memory = make_memory(capacity=1)
    spend_all(remember(memory, "x", A))
    device = memory.find_or_make(B, "x")
    assert not memory.remember(device)
    assert list(memory.services) == [A.incarnation]
    assert not take_due(memory, 1.0)
    assert take_due(memory, REFILL_SECONDS + 1.0)
    assert memory.remember(device)


def test_a_service_is_forgotten_with_its_last_device_but_not_before_its_pool_is_full() -> None:
    memory = make_memory("x")
    unspent, spent = remember(memory, "x", B), remember(memory, "x", TENANTS["s"])
    spend_all(spent)
    memory.forget(unspent)
    memory.forget(spent)
    assert [owner.service.name for owner in memory.services.values()] == ["a", "s"]
    assert memory.find_or_make(TENANTS["s"], "y").owner.pool.reserve(1.0) <= 2, "the pool is as empty as before"
    due = memory.next_due()
    assert REFILL_SECONDS <= due <= REFILL_SECONDS + TICK
    assert take_due(memory, due) == [spent.owner]
    assert list(memory.services) == [A.incarnation]


def test_a_service_that_has_devices_again_is_not_forgotten_when_its_pool_is_full() -> None:
    memory = make_memory()
    device = remember(memory, "x")
    spend_all(device)
    memory.forget(device)
    remember(memory, "y")
    take_due(memory, REFILL_SECONDS + 1.0)
    assert names(memory) == "y"


# Sessions and checks.


def test_the_first_session_puts_a_device_online_and_the_last_one_takes_it_offline() -> None:
    memory = make_memory("x")
    device = memory.find(A, "x")
    assert device is not None
    first, second = make_session(), make_session()
    memory.add_session(device, first)
    memory.add_session(device, second)
    assert device.owner.online.oldest_first() == [device]
    memory.remove_session(device, first)
    assert device.owner.online.oldest_first() == [device]
    memory.remove_session(device, second)
    assert device.owner.online.oldest_first() == []


def test_all_sessions_of_a_device_are_removed_and_returned_at_once() -> None:
    memory = make_memory("x")
    device = memory.find(A, "x")
    assert device is not None
    sessions = make_session(), make_session()
    for session in sessions:
        memory.add_session(device, session)
    assert memory.remove_sessions(device) == sessions
    assert (memory.remove_sessions(device), device.owner.online.oldest_first()) == ((), [])


def test_a_check_begins_once_until_it_has_ended() -> None:
    memory = make_memory("x")
    device = memory.find(A, "x")
    assert device is not None
    device.owner.recheck(0.5)
    assert [memory.begin_check(device, 1.0), memory.begin_check(device, 2.0)] == [True, False]
    assert (device.asked_at, device.asked_after) == (1.0, 1)
    memory.end_check(device)
    assert memory.begin_check(device, 3.0)


# Deadlines.


def test_a_deadline_is_only_brought_forward() -> None:
    memory = make_memory("x")
    device = memory.find(A, "x")
    assert device is not None
    memory.bring_forward(device, 5.0)
    memory.bring_forward(device, 7.0)
    memory.bring_forward(device, 2.0)
    assert memory.next_due() == 2.0
    assert take_due(memory, 2.0) == [device]
    memory.bring_forward(device, 9.0)
    assert take_due(memory, 8.0) == [], "the one at 5 was dropped, and the one at 7 never set"
    assert take_due(memory, 9.0) == [device]


def test_a_forgotten_device_has_no_deadline() -> None:
    memory = make_memory("x")
    device = memory.find(A, "x")
    assert device is not None
    memory.bring_forward(device, 5.0)
    memory.bring_forward(device.owner, 6.0)
    memory.forget(device)
    assert take_due(memory, 100.0) == []
    assert (memory.next_due(), memory.size) == (inf, 0)


def test_a_service_that_is_forgotten_for_a_device_of_its_own_keeps_its_deadlines() -> None:
    """Its record is used again, so a deadline that was dropped with it must not seem to be set."""
    memory = make_memory("x", capacity=1)
    newcomer = memory.find_or_make(A, "y")
    owner = newcomer.owner
    memory.bring_forward(owner, 5.0)
    assert memory.remember(newcomer)
    owner.online.add(newcomer)
    owner.online.adjust_holds(1, 0.0, DeviceRules(1, Handover.HOLD, hold_seconds=8.0))
    memory.bring_forward(owner, owner.online.next_due())
    assert memory.take_due(8.0) is owner


# Services that are cleared.


def test_a_cleared_service_is_not_found_and_its_devices_are_freed_one_by_one() -> None:
    memory = make_memory("x", "y")
    other = remember(memory, "x", B)
    owner = memory.services[A.incarnation]
    for device in (*owner.devices.values(), owner, other):
        memory.bring_forward(device, 5.0)
    steps = memory.clear(A)
    assert next(steps).owner is owner
    assert not memory.has(owner)
    assert memory.find(A, "x") is memory.find(A, "y") is None
    assert memory.size == 2, "the second one still takes its place"
    assert [device.name for device in steps] == ["x"]
    assert (memory.size, memory.services) == (1, {B.incarnation: other.owner})
    assert take_due(memory, 6.0) == [other], "none of the cleared ones"
    assert list(memory.clear(A)) == []


@pytest.mark.parametrize("spent", [False, True])
def test_the_devices_of_a_service_that_is_being_cleared_make_room_for_others(spent: bool) -> None:
    memory = make_memory("x", "y", capacity=2)
    if spent:
        spend_all(memory.find_or_make(A, "x"))
    steps = memory.clear(A)
    next(steps)
    new = remember(memory, "x")
    assert new.owner.pool.full_at == 0.0
    assert memory.has(new.owner)
    remember(memory, "z")
    assert sorted(memory.services[A.incarnation].devices) == ["x", "z"]
    assert list(steps) == []
    assert (memory.size, memory.services[A.incarnation], memory.next_due()) == (2, new.owner, inf)
