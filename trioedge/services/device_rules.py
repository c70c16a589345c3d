"""The device rules of a service: a limit, what happens beyond it, and what an unanswered check means."""

from enum import StrEnum

import attrs


class Handover(StrEnum):
    """What happens when a new device comes and the device limit is reached."""

    REJECT_NEW = "reject_new"
    """The new device is refused."""
    EVICT_OLDEST = "evict_oldest"
    """The new device is accepted, and the oldest is cut."""
    HOLD = "hold"
    """The new device is accepted. After a while the oldest is cut, if there are still too many."""


class Unchecked(StrEnum):
    """How a device is treated when its check is not answered within the grace."""

    FAIL_OPEN = "fail_open"
    """The device is accepted for a while."""
    FAIL_CLOSED = "fail_closed"
    """The device is denied for a while."""
    STALE_FOR = "stale_for"
    """Its expired verdict is used for some time longer. A device that never had one is denied."""


@attrs.frozen(slots=True)
class DeviceRules:
    """The device rules of one service.

    Attributes:
        limit: devices online at once; None for no limit.
        handover: what happens when one more device comes.
        hold_seconds: how long ``hold`` tolerates one device too many.
        unchecked: how a device is treated whose check is not answered.
        stale_seconds: how long ``stale_for`` uses a verdict after it expired.
    """

    limit: int | None = None
    handover: Handover = Handover.REJECT_NEW
    hold_seconds: float = 30.0
    unchecked: Unchecked = Unchecked.STALE_FOR
    stale_seconds: float = 300.0
