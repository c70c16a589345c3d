"""The verdict on a device, as the device table has it."""

from typing import Final

import attrs

from ...services.device_rules import DeviceRules
from ...services.service import Service
from .memory import DeviceMemory
from .records import FRESH, IN_GRACE, STALE, UNKNOWN


@attrs.frozen(slots=True)
class DeviceStanding:
    """The verdict on a device, if there is one that is used.

    Attributes:
        accepts: whether it accepts the device; None without a verdict.
        seconds: how long it is fresh; 0 if it is stale, infinity if it does not expire.
        detail: the reason of a denial.
    """

    accepts: bool | None
    seconds: float = 0.0
    detail: str = ""


NOTHING_KNOWN: Final = DeviceStanding(None)


def standing(memory: DeviceMemory, service: Service, device: str, now: float, rules: DeviceRules) -> DeviceStanding:
    """Return the verdict on a device at `now` seconds, under the `rules` of its service."""
    known = memory.find(service, device)
    if known is None:
        return NOTHING_KNOWN
    knowledge = known.knowledge(now, rules)
    if knowledge is UNKNOWN or knowledge is IN_GRACE:
        return NOTHING_KNOWN
    refusal = known.refusal
    seconds = known.fresh_until - now if knowledge is FRESH else 0.0
    return DeviceStanding(refusal is None, seconds, "" if refusal is None else refusal.detail)


def refresh(memory: DeviceMemory, service: Service, device: str, now: float, rules: DeviceRules) -> bool:
    """Return whether the checker must be asked about a device, because its verdict is stale and no check is under way.

    If so, the caller asks it once.
    """
    known = memory.find(service, device)
    return known is not None and known.knowledge(now, rules) is STALE and memory.begin_check(known, now)
