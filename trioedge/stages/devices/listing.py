"""The devices of a service, as people are shown them."""

from collections.abc import Iterator
from math import isinf

from ...services.device_rules import DeviceRules
from ...services.linking.device_facts import DeviceFacts
from .records import FRESH, IN_GRACE, STALE, DeviceRecord, ServiceRecord


def listed(owner: ServiceRecord | None, now: float, rules: DeviceRules) -> Iterator[DeviceFacts]:
    """Give the devices of a service one by one, without those that are forgotten meanwhile.

    Args:
        owner: the record of the service; None if it has no device.
        now: seconds.
        rules: of the service.
    """
    if owner is not None:
        for device in tuple(owner.devices.values()):
            if owner.devices.get(device.name) is device:
                yield _facts(device, now, rules)


def _facts(device: DeviceRecord, now: float, rules: DeviceRules) -> DeviceFacts:
    first = next(iter(device.sessions), None)
    state, until, detail = _state(device, now, rules)
    return DeviceFacts(
        device=device.name,
        state=state,
        sessions=len(device.sessions),
        since=None if first is None else max(0.0, now - first.started_at),
        until=None if until is None or isinf(until) else max(0.0, until - now),
        detail=detail,
    )


def _state(device: DeviceRecord, now: float, rules: DeviceRules) -> tuple[str, float | None, str]:
    """Give its state, the end of it, and a detail."""
    knowledge = device.knowledge(now, rules)
    if knowledge is IN_GRACE:
        return "unknown", device.grace_until, "in grace"
    if knowledge is not FRESH and knowledge is not STALE:
        return "unknown", None, ""
    until = device.fresh_until if knowledge is FRESH else device.usable_until(rules)
    if device.refusal is not None:
        return "denied", until, device.refusal.detail
    return ("fresh" if knowledge is FRESH else "stale"), until, ""
