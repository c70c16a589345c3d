"""What is remembered of one device and of one service: records for the device table, which moves them.

A verdict is fresh, then stale, and then as good as none. Expired, it may be used for as long as the rules say, and
always while it is refreshed, but for no longer than a grace: whoever is online is not cut because a verdict ran out.
"""

from enum import Enum
from math import inf

from ...services.device_rules import DeviceRules, Unchecked
from ...session.allowance import Allowance
from ...session.session import Session
from ...structures.deadlines import NEVER
from .answers import DeviceEntry
from .grace import Grace, GracePool
from .online import OnlineDevices


class Knowledge(Enum):
    """What is known of a device."""

    FRESH = "fresh"
    STALE = "stale"
    GRACE = "grace"
    """Nothing, and it is in its grace."""
    UNKNOWN = "unknown"
    """Nothing, and it has no grace yet, or no more."""


FRESH, STALE = Knowledge.FRESH, Knowledge.STALE  # a look-up in an Enum costs 60 ns
IN_GRACE, UNKNOWN = Knowledge.GRACE, Knowledge.UNKNOWN


class Timed:
    """Something with a deadline that stands, or none."""

    __slots__ = ("due", "tick")

    def __init__(self) -> None:
        self.due = inf
        self.tick = NEVER


class ServiceRecord(Timed):
    """A service that has devices, or grace bytes that are still to come back."""

    __slots__ = ("devices", "grace", "name", "online", "pool", "rechecked_at", "rechecks")

    def __init__(self, name: str, grace: Grace) -> None:
        super().__init__()
        self.name = name
        self.grace = grace
        self.pool = GracePool(grace)
        self.devices: dict[str, DeviceRecord] = {}
        self.online: OnlineDevices[DeviceRecord] = OnlineDevices()
        self.rechecks = 0
        """How often all verdicts were declared stale."""
        self.rechecked_at = -inf
        """When that was last."""


class DeviceRecord(Timed):
    """A device: its live sessions, the latest verdict on it, the check that is in flight, its grace."""

    __slots__ = ("_granted", "allowance", "asked_after", "asked_at", "fresh_until", "grace_until", "name",
                 "provisional", "refusal", "service", "sessions")  # fmt: skip

    def __init__(self, service: ServiceRecord, name: str, fresh_until: float) -> None:
        super().__init__()
        self.service = service
        self.name = name
        self.sessions: dict[Session, None] = {}
        self.refusal: DeviceEntry | None = None
        """What a session gets by the verdict; None if that accepts, or if there is none."""
        self.fresh_until = fresh_until
        """When the verdict expires; minus infinity if there is none."""
        self.provisional = False
        """The verdict is not the checker's, who did not answer."""
        self.asked_at: float | None = None
        """Since when a check is in flight; None if none is."""
        self.asked_after = service.rechecks
        """How many rechecks there had been when the checker was asked last."""
        self.allowance: Allowance | None = None
        """There is one during the grace, and only then."""
        self.grace_until = -inf
        self._granted = 0

    def set_verdict(self, refusal: DeviceEntry | None, fresh_until: float, *, provisional: bool = False) -> None:
        """Write a verdict down."""
        self.refusal = refusal
        self.fresh_until = fresh_until
        self.provisional = provisional
        self.catch_up()

    def catch_up(self) -> None:
        """Count a verdict that was asked for before the latest recheck as stale since then."""
        if self.asked_after != self.service.rechecks and not self.provisional:
            self.fresh_until = min(self.fresh_until, self.service.rechecked_at)

    def knowledge(self, now: float, rules: DeviceRules) -> Knowledge:
        """Say what is known; a grace lasts until somebody ends it, be it a tick late."""
        if self.allowance is not None:
            return IN_GRACE
        self.catch_up()
        if now < self.fresh_until:
            return FRESH
        return STALE if now < self.usable_until(rules) else UNKNOWN

    def usable_until(self, rules: DeviceRules) -> float:
        """When the verdict stops being of any use."""
        until = self.fresh_until
        if rules.unchecked == Unchecked.STALE_FOR and not self.provisional:
            until += rules.stale_seconds
        return until if self.asked_at is None else max(until, self.asked_at + self.service.grace.seconds)

    def begin_grace(self, now: float) -> None:
        """Take a place and bytes from the service's pool."""
        self._granted = self.service.pool.open(now)
        self.allowance = Allowance(self._granted)
        self.grace_until = now + self.service.grace.seconds

    def end_grace(self, now: float) -> Allowance | None:
        """Give back what was not spent, once there is a verdict.

        Returns:
            The allowance, if it is to be lifted.
        """
        allowance = self.allowance
        if allowance is None:
            return None
        self.service.pool.close(self._granted, allowance.left, now)
        self.allowance = None
        if self.refusal is None:
            return allowance
        allowance.left = 0  # the pool has it
        return None
