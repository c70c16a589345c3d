"""What a service says of its devices: how many, and what holds when one more comes or nobody answers a check."""

from enum import StrEnum

import attrs


class Handover(StrEnum):
    """What happens when a device comes and as many as may be are online."""

    REJECT_NEW = "reject_new"
    """It is refused."""
    EVICT_OLDEST = "evict_oldest"
    """It is let in, and the device that came first is cut."""
    HOLD = "hold"
    """It is let in, and the device that came first is cut after a while, if there are too many still."""


class Unchecked(StrEnum):
    """What holds for a device when the check is not answered within the grace."""

    FAIL_OPEN = "fail_open"
    """It is accepted, for a while."""
    FAIL_CLOSED = "fail_closed"
    """It is denied, for a while."""
    STALE_FOR = "stale_for"
    """The verdict of before holds for so long; a device that never had one is denied."""


@attrs.frozen(slots=True)
class DeviceRules:
    """What holds for the devices of one service.

    Attributes:
        limit: devices online at once, None for any number.
        handover: when one more comes.
        hold_seconds: how long ``hold`` lets one too many be.
        unchecked: when nobody answers.
        stale_seconds: how long an expired verdict may be used, with ``stale_for``.
    """

    limit: int | None = None
    handover: Handover = Handover.REJECT_NEW
    hold_seconds: float = 30.0
    unchecked: Unchecked = Unchecked.STALE_FOR
    stale_seconds: float = 300.0
