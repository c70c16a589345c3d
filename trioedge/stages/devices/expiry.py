"""The end of a verdict or of a grace, and the effect of a new verdict on the sessions of its device."""

from typing import Final

from ...services.device_rules import DeviceRules, Unchecked
from .answers import ADMITTED, NOT_ANSWERED, DeviceChange
from .memory import DeviceMemory
from .records import FRESH, IN_GRACE, STALE, DeviceRecord

PROVISIONAL_SECONDS: Final = 10.0
"""How long a provisional verdict is fresh: the checker can recover, and a denied device does not wait long."""


def expire(memory: DeviceMemory, device: DeviceRecord, now: float, rules: DeviceRules) -> DeviceChange:
    """Handle a deadline of a device that has passed at `now` seconds; see the table of states in `table.py`."""
    memory.lapse(device, now)
    refresh = bool(device.sessions) and device.fresh_until <= now
    check = refresh and memory.begin_check(device, now)  # first: a verdict may be used while it is refreshed
    knowledge = device.knowledge(now, rules)
    if knowledge is FRESH and (memory.checked or device.sessions or device.refusal is not None):
        memory.bring_forward(device, device.fresh_until)
    elif knowledge is STALE:
        memory.bring_forward(device, device.usable_until(rules))
    elif knowledge is IN_GRACE and now < device.grace_until:
        memory.bring_forward(device, device.grace_until)
    elif knowledge is IN_GRACE or device.sessions:
        if device.usable_until(rules) <= now:  # else an older verdict can be used, because the rules changed
            refusal = None if rules.unchecked == Unchecked.FAIL_OPEN else NOT_ANSWERED
            device.set_verdict(refusal, now + PROVISIONAL_SECONDS, provisional=True)
        return conclude(memory, device, now, check)
    elif device.asked_at is not None:
        memory.bring_forward(device, now + device.owner.grace.seconds)  # the check may have ended by then
    elif device.paused_until > now:
        memory.bring_forward(device, device.paused_until)
    else:
        memory.forget(device)
    return DeviceChange(device.owner.service, device.name, check)


def conclude(memory: DeviceMemory, device: DeviceRecord, now: float, check: bool) -> DeviceChange:
    """Apply a new verdict to the sessions and the grace of its device."""
    allowance = device.end_grace(now)
    evict = () if device.refusal is None else memory.remove_sessions(device)
    memory.bring_forward(device, device.fresh_until)
    memory.unpin(device)
    if allowance is not None:
        allowance.lift()  # last, because a session that continues may end, and call `leave`
    cause = ADMITTED if device.refusal is None else device.refusal.admission
    return DeviceChange(device.owner.service, device.name, check, evict, cause)
