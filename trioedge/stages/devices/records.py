"""The records of one device and of one service, which the device table keeps in its memory.

A verdict is fresh, then stale, and then of no use. How long a stale verdict may be used is a rule of the service. While
it is being refreshed it may always be used, but not longer than a grace: sessions are not ended only because a verdict
expired.
"""

from collections import OrderedDict
from enum import Enum
from math import inf

from ...services.device_rules import DeviceRules, Unchecked
from ...services.service import Service
from ...session.allowance import Allowance
from ...session.session import Session
from ...structures.deadlines import NEVER
from .answers import DeviceEntry
from .grace import Grace, GracePool
from .online import OnlineDevices


class Knowledge(Enum):
    """The state of a device, as far as its verdict and its grace are concerned."""

    FRESH = "fresh"
    """A verdict that is used as it is."""
    STALE = "stale"
    """A verdict that is used while the device is checked again."""
    GRACE = "grace"
    """No verdict that can be used; the device is in its grace."""
    UNKNOWN = "unknown"
    """No verdict that can be used, and no grace."""


FRESH, STALE = Knowledge.FRESH, Knowledge.STALE  # a look-up in an Enum costs 60 ns
IN_GRACE, UNKNOWN = Knowledge.GRACE, Knowledge.UNKNOWN


class Timed:
    """An item with at most one deadline.

    Attributes:
        due: the deadline in seconds; infinity for none.
        tick: where the deadline is kept; see :class:`~trioedge.structures.deadlines.Deadlines`.
    """

    __slots__ = ("due", "tick")

    def __init__(self) -> None:
        self.due = inf
        self.tick = NEVER


class ServiceRecord(Timed):
    """A service that has devices, or spent grace bytes that have not returned yet.

    Its deadline is the end of a hold, or the time at which its pool is full and it may be forgotten.
    """

    __slots__ = ("devices", "grace", "online", "pool", "rechecked_at", "rechecks", "service", "vacant")

    def __init__(self, service: Service, grace: Grace) -> None:
        super().__init__()
        self.service = service
        self.grace = grace
        self.pool = GracePool(grace)
        self.devices: dict[str, DeviceRecord] = {}
        self.online: OnlineDevices[DeviceRecord] = OnlineDevices()
        self.vacant: OrderedDict[DeviceRecord, None] = OrderedDict()
        """Devices in their grace that have no session, in the order in which they lost the last one."""
        self.rechecks = 0
        """How often all verdicts were declared stale."""
        self.rechecked_at = -inf
        """When that was the last time, in seconds."""

    def recheck(self, now: float) -> None:
        """Declare every verdict stale from `now` on; see :meth:`DeviceRecord.apply_recheck`."""
        self.rechecks += 1
        self.rechecked_at = now


class DeviceRecord(Timed):
    """A device: its live sessions, its latest verdict, its check in flight, its grace.

    Its deadline is the next time at which the table must decide something about it.
    """

    __slots__ = ("_reserved", "allowance", "asked_after", "asked_at", "fresh_until", "grace_until", "name",
                 "overruled", "owner", "paused_until", "provisional", "refusal", "sessions")  # fmt: skip

    def __init__(self, owner: ServiceRecord, name: str, fresh_until: float) -> None:
        super().__init__()
        self.owner = owner
        """The record of its service."""
        self.name = name
        self.sessions: dict[Session, None] = {}
        self.refusal: DeviceEntry | None = None
        """The answer for its sessions if the verdict denies the device; None if it accepts, or without a verdict."""
        self.fresh_until = fresh_until
        """When the verdict expires, in seconds; minus infinity without a verdict."""
        self.provisional = False
        """The verdict is the table's own, because the checker did not answer."""
        self.asked_at: float | None = None
        """When the check in flight began; None without one."""
        self.asked_after = owner.rechecks
        """How many rechecks came before the latest question to the checker."""
        self.overruled = False
        """A judgement came while the check was in flight, whose answer is dropped."""
        self.allowance: Allowance | None = None
        """The bytes of its grace; None outside of a grace."""
        self.grace_until = -inf
        """When its grace ends, in seconds; the time has no meaning outside of a grace."""
        self.paused_until = -inf
        """Until when it may put no other device out, because another one has put it out; in seconds."""
        self._reserved = 0

    @property
    def unasked(self) -> bool:
        """Whether there is no verdict, and neither a session nor a grace that waits for one."""
        return self.fresh_until == -inf and not self.waits

    @property
    def waits(self) -> bool:
        """Whether a session or a grace waits for the answer to its check."""
        return bool(self.sessions) or self.allowance is not None

    def set_verdict(self, refusal: DeviceEntry | None, fresh_until: float, *, provisional: bool = False) -> None:
        """Store a verdict, in place of an earlier one."""
        self.refusal = refusal
        self.fresh_until = fresh_until
        self.provisional = provisional
        self.apply_recheck()

    def apply_recheck(self) -> None:
        """Expire a verdict at the latest recheck, if its check began before that."""
        if self.asked_after != self.owner.rechecks and not self.provisional:
            self.fresh_until = min(self.fresh_until, self.owner.rechecked_at)

    def knowledge(self, now: float, rules: DeviceRules) -> Knowledge:
        """Return the record at `now` seconds. A grace lasts until :meth:`end_grace`, also beyond its time."""
        if self.allowance is not None:
            return IN_GRACE
        self.apply_recheck()
        if now < self.fresh_until:
            return FRESH
        if self.fresh_until == -inf:  # a check in flight is no verdict
            return UNKNOWN
        return STALE if now < self.usable_until(rules) else UNKNOWN

    def usable_until(self, rules: DeviceRules) -> float:
        """Return when the verdict stops to be of use: when it expires, or later if it may be used stale."""
        until = self.fresh_until
        if rules.unchecked == Unchecked.STALE_FOR and not self.provisional:
            until += rules.stale_seconds
        return until if self.asked_at is None else max(until, self.asked_at + self.owner.grace.seconds)

    def begin_grace(self, now: float, source: bytes = b"") -> None:
        """Begin a grace, with a place and bytes from the pool of the service."""
        self._reserved = self.owner.pool.reserve(now, self.name, source)
        self.allowance = Allowance(self._reserved)
        self.grace_until = now + self.owner.grace.seconds

    def end_grace(self, now: float) -> Allowance | None:
        """End the grace, if there is one, and return the bytes that were not spent to the pool.

        Returns:
            The allowance that the caller must lift, because the verdict accepts the device; else None.
        """
        allowance = self.allowance
        if allowance is None:
            return None
        self.owner.vacant.pop(self, None)
        self.owner.pool.give_back(self._reserved, allowance.left, now, self.name)
        self.allowance = None
        if self.refusal is None:
            return allowance
        allowance.left = 0  # these bytes are the pool's again, so the sessions must not move them while they end
        return None
