from tests.support.devices import make_service
from trioedge.services.device_rules import DeviceRules, Unchecked
from trioedge.stages.devices.answers import ADMITTED, NOT_ANSWERED, UNCHECKED, DeviceEntry
from trioedge.stages.devices.expiry import PROVISIONAL_SECONDS, conclude, expire
from trioedge.stages.devices.grace import Grace
from trioedge.stages.devices.memory import DeviceMemory
from trioedge.stages.devices.records import DeviceRecord
from trioedge.testing import make_session


def online(*, checked: bool = True) -> tuple[DeviceMemory, DeviceRecord]:
    memory = DeviceMemory(Grace(), 10, checked=checked)
    device = memory.find_or_make(make_service(), "x")
    assert memory.remember(device)
    memory.add_session(device, make_session())
    return memory, device


def test_a_grace_without_an_answer_ends_as_the_rules_say() -> None:
    for unchecked, admission in ((Unchecked.FAIL_OPEN, ADMITTED), (Unchecked.FAIL_CLOSED, UNCHECKED)):
        memory, device = online()
        device.begin_grace(0.0)
        memory.begin_check(device, 0.0)
        change = expire(memory, device, 5.0, DeviceRules(unchecked=unchecked))
        assert change.cause is admission
        assert bool(change.evict) is (admission is UNCHECKED)
        assert (device.provisional, device.fresh_until) == (True, 5.0 + PROVISIONAL_SECONDS)


def test_a_verdict_that_expires_is_refreshed_while_the_device_is_online() -> None:
    memory, device = online()
    device.set_verdict(None, 10.0)
    assert expire(memory, device, 10.0, DeviceRules()).check
    memory.remove_sessions(device)
    device.asked_at = None
    assert not expire(memory, device, 1000.0, DeviceRules()).check
    assert memory.find(device.owner.service, "x") is None


def test_a_denial_gives_the_sessions_and_ends_the_grace_without_a_lift() -> None:
    memory, device = online()
    (session,) = device.sessions
    device.begin_grace(0.0)
    allowance = device.allowance
    device.set_verdict(NOT_ANSWERED, 10.0)
    change = conclude(memory, device, 1.0, check=False)
    assert change.evict == (session,)
    assert allowance is not None
    assert allowance.left == 0


def test_a_device_in_its_pause_is_kept_until_that_is_over() -> None:
    for checked in (True, False):
        memory, device = online(checked=checked)
        device.paused_until = 10.0
        memory.remove_sessions(device)
        expire(memory, device, 5.0, DeviceRules(unchecked=Unchecked.FAIL_OPEN))
        assert memory.find(device.owner.service, "x") is device
        expire(memory, device, 10.0, DeviceRules(unchecked=Unchecked.FAIL_OPEN))
        assert memory.find(device.owner.service, "x") is None


def test_a_fresh_device_is_due_when_its_verdict_expires() -> None:
    memory, device = online()
    device.set_verdict(DeviceEntry(ADMITTED), 10.0)
    expire(memory, device, 5.0, DeviceRules())
    assert device.due == 10.0
