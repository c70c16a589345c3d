"""The answers of the device table: whether a session is admitted, and what the caller must do about a device."""

from enum import Enum
from typing import Final

import attrs

from ...services.service import Service
from ...session.allowance import Allowance
from ...session.session import Session


class Admission(Enum):
    """Whether a session is admitted, and why not."""

    ADMITTED = "admitted"
    DENIED = "denied"
    """The checker denied the device."""
    UNCHECKED = "unchecked"
    """The check was not answered within the grace, and the rules deny such a device."""
    LIMIT = "limit"
    """The service has as many devices online as it may have."""
    PAUSE = "pause"
    """The service has as many devices online, and the device was put out by another one a moment ago."""
    GRACE_SESSIONS = "grace sessions"
    """The device is in its grace and has as many sessions as it may have meanwhile."""
    GRACE_DEVICES = "grace devices"
    """The service has as many devices in their grace as it may have."""
    FULL = "full"
    """The table is full, and every device in it has a session, a grace or a check in flight."""


# A look-up in an Enum costs 60 ns.
ADMITTED, DENIED, UNCHECKED, LIMIT = Admission.ADMITTED, Admission.DENIED, Admission.UNCHECKED, Admission.LIMIT
GRACE_SESSIONS, GRACE_DEVICES, FULL = Admission.GRACE_SESSIONS, Admission.GRACE_DEVICES, Admission.FULL
PAUSE = Admission.PAUSE


@attrs.frozen(slots=True)
class DeviceEntry:
    """The answer for a session that asks for admission.

    Attributes:
        admission: admitted, or why not.
        check: the caller must ask the checker about the device now, also if the session is refused.
        allowance: the bytes that the session may move until the device is checked; None for no bound.
        evict: sessions that the caller must end to make room. The table has removed them already.
        detail: what the checker said, for people.
    """

    admission: Admission
    check: bool = False
    allowance: Allowance | None = None
    evict: tuple[Session, ...] = ()
    detail: str = ""


ENTERED: Final = DeviceEntry(ADMITTED)
"""The answer for most sessions: admitted, nothing to do, and no deadline has changed."""

AT_LIMIT: Final = DeviceEntry(LIMIT)
IN_PAUSE: Final = DeviceEntry(PAUSE)
TOO_MANY_SESSIONS: Final = DeviceEntry(GRACE_SESSIONS)
TOO_MANY_UNKNOWN: Final = DeviceEntry(GRACE_DEVICES)
TABLE_FULL: Final = DeviceEntry(FULL)
NOT_ANSWERED: Final = DeviceEntry(UNCHECKED)


@attrs.frozen(slots=True)
class DeviceChange:
    """What the caller must do about a device.

    Attributes:
        service: the service of the device.
        device: the name of the device.
        check: ask the checker about it now.
        evict: end these sessions, which are all that it had. The table has removed them already.
        cause: why they end: DENIED, UNCHECKED or LIMIT; ADMITTED if the device is accepted.
    """

    service: Service
    device: str
    check: bool = False
    evict: tuple[Session, ...] = ()
    cause: Admission = ADMITTED
