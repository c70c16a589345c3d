"""The device rules of a service: a limit, what happens beyond the limit, and what happens without a verdict."""

from enum import StrEnum

import attrs


class Handover(StrEnum):
    """The rule for one device too many: it comes when as many are online as the limit allows."""

    REJECT_NEW = "reject_new"
    """The new device is refused."""
    EVICT_OLDEST = "evict_oldest"
    """The new device is accepted, and the sessions of the oldest device are cut."""
    HOLD = "hold"
    """The new device is accepted. After a while the oldest device is cut, if there are still too many."""


class Unchecked(StrEnum):
    """The rule for a device whose check is not answered within the grace."""

    FAIL_OPEN = "fail_open"
    """The device is accepted for a while."""
    FAIL_CLOSED = "fail_closed"
    """The device is denied for a while."""
    STALE_FOR = "stale_for"
    """Its expired verdict is used for some more time. A device that never had a verdict is denied for a while."""


@attrs.frozen(slots=True)
class DeviceRules:
    """The device rules of one service.

    Attributes:
        limit: the maximum number of devices online; None for no limit.
        handover: what happens when one device too many comes.
        hold_seconds: how long ``hold`` tolerates one device too many, at least 0.
        unchecked: what happens to a device whose check is not answered.
        stale_seconds: how long ``stale_for`` uses an expired verdict, at least 0.
        pause_seconds: how long a device that another one has put out may put none out itself, at least 0.
    """

    limit: int | None = None
    handover: Handover = Handover.REJECT_NEW
    hold_seconds: float = 30.0
    unchecked: Unchecked = Unchecked.STALE_FOR
    stale_seconds: float = 300.0
    pause_seconds: float = 10.0
