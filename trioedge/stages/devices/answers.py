"""What the device table answers: whether a session is let in, and what is to be done about a device."""

from enum import Enum
from typing import Final

import attrs

from ...session.allowance import Allowance
from ...session.session import Session


class Admission(Enum):
    """Whether a session is let in, and why not."""

    ADMITTED = "admitted"
    DENIED = "denied"
    """The checker said no."""
    UNCHECKED = "unchecked"
    """The checker did not answer within the grace, and the rules say no."""
    LIMIT = "limit"
    """As many devices as may be are online."""
    GRACE_SESSIONS = "grace sessions"
    """The device is unknown yet, and has as many sessions as it may have until it is known."""
    GRACE_DEVICES = "grace devices"
    """As many devices of the service as may be are unknown yet."""
    FULL = "full"
    """Every device in the table is live or about to be known, and none is forgotten for a new one."""


# A look-up in an Enum costs 60 ns.
ADMITTED, DENIED, UNCHECKED, LIMIT = Admission.ADMITTED, Admission.DENIED, Admission.UNCHECKED, Admission.LIMIT
GRACE_SESSIONS, GRACE_DEVICES, FULL = Admission.GRACE_SESSIONS, Admission.GRACE_DEVICES, Admission.FULL


@attrs.frozen(slots=True)
class DeviceEntry:
    """The answer to a session that wants in.

    Attributes:
        admission: yes, or why not.
        check: the checker is to be asked about this device now, whether or not the session is let in.
        allowance: what the session may move until the device is known; None for no bound.
        evict: sessions that must go to make room, oldest device first. The table has forgotten them already.
        detail: what the checker said, for people.
    """

    admission: Admission
    check: bool = False
    allowance: Allowance | None = None
    evict: tuple[Session, ...] = ()
    detail: str = ""


ENTERED: Final = DeviceEntry(ADMITTED)
"""The answer to nearly everybody: let in, nothing to do, and no deadline has moved."""

AT_LIMIT: Final = DeviceEntry(LIMIT)
TOO_MANY_SESSIONS: Final = DeviceEntry(GRACE_SESSIONS)
TOO_MANY_UNKNOWN: Final = DeviceEntry(GRACE_DEVICES)
TABLE_FULL: Final = DeviceEntry(FULL)
NOT_ANSWERED: Final = DeviceEntry(UNCHECKED, detail="the check was not answered in time")


@attrs.frozen(slots=True)
class DeviceChange:
    """What is to be done about a device.

    Attributes:
        service: whose device.
        device: which.
        check: the checker is to be asked about it now.
        evict: its live sessions, all of them, if they must go. The table has forgotten them already.
        cause: why they must: DENIED, UNCHECKED or LIMIT. ADMITTED if they stay.
    """

    service: str
    device: str
    check: bool = False
    evict: tuple[Session, ...] = ()
    cause: Admission = ADMITTED
