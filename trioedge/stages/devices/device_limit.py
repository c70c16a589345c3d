"""How many devices may use a service, and which: answered from memory, checked in the background."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from ...arguments import check_choice, check_count, check_number
from ...errors import ConfigurationError
from ...services.control_plane import ChecksDevices
from ...services.device_rules import DeviceRules, Handover, Unchecked
from ...session.session import Session
from .checks import Check, is_check
from .grace import Grace
from .live_device_limit import FIELDS, LiveDeviceLimit
from .table import CAPACITY

if TYPE_CHECKING:
    from ...services.context import EdgeContext

_KEYS: Final = ("source", "network")


class DeviceLimit:
    """Admit devices that the checker accepts, and at most so many of each service; refuse with reason ``device``.

    A device is a source address, unless you say otherwise. No session waits for the checker: a fresh verdict is
    used; a stale one is used while the checker is asked again; an unknown device gets in with a grace, so long,
    so many sessions and so many bytes, while the checker is asked once, however many sessions it opens. A denial
    cuts exactly its sessions. A session whose grace is used up pauses until the answer.

    The checker is `check`, or the edge's control plane if that checks devices; without either, every device is
    accepted and only their number counts. The policy of a service goes before the arguments, field by field. 2 µs for a
    device that is known and online, some 5 µs for a new one.

    A verdict is fresh for 90 to 100 % of its seconds, each device for a part of its own. A removed service is
    forgotten with all that was known of its devices.
    """

    kind = "decision"
    provides = ("device",)
    enforces = FIELDS
    once = True

    def __init__(
        self,
        devices: int | None = None,
        key: Literal["source", "network"] | Callable[[Session], str] = "source",
        *,
        check: Check | None = None,
        handover: str = Handover.REJECT_NEW,
        hold_seconds: float = 30.0,
        unchecked: str = Unchecked.STALE_FOR,
        stale_seconds: float = 300.0,
        grace: Grace = Grace(),  # noqa: B008 - frozen
        check_seconds: float = 3.0,
        capacity: int = CAPACITY,
    ) -> None:
        """Set the limit.

        Args:
            devices: online at once, of each service whose policy says no number; None for no limit.
            key: what a device is: a ``source`` address; a ``network``, which is the address or the /64 of an IPv6
                address; or a function of the session that answers from memory, with at most 255 letters.
            check: an async function of service and device that gives a :class:`DeviceVerdict`, or an object that is
                called like one.
            handover: when one device too many comes: ``reject_new``; ``evict_oldest`` cuts the device that came first;
                ``hold`` does so `hold_seconds` later.
            hold_seconds: as that says, at least 0.
            unchecked: when the checker does not answer within the grace: ``fail_open``, ``fail_closed``, or
                ``stale_for``, which uses the verdict of before for `stale_seconds` and denies the unknown.
            stale_seconds: as that says, at least 0.
            grace: what an unknown device may do meanwhile.
            check_seconds: the deadline of one check, above 0; a failed one is repeated while a session waits for it.
            capacity: devices remembered, 65,536 by default. At the bound those longest offline are forgotten; where
                none is, a new one is refused with reason ``capacity``.

        Raises:
            ConfigurationError: names the argument and what is wrong with it.
        """
        if devices is not None:
            check_count("DeviceLimit", "devices", devices)
        if not callable(key):
            check_choice("DeviceLimit", "key", key, _KEYS)
        check_choice("DeviceLimit", "handover", handover, tuple(map(str, Handover)))
        check_number("DeviceLimit", "hold_seconds", hold_seconds)
        check_choice("DeviceLimit", "unchecked", unchecked, tuple(map(str, Unchecked)))
        check_number("DeviceLimit", "stale_seconds", stale_seconds)
        check_number("DeviceLimit", "check_seconds", check_seconds, above=0)
        check_count("DeviceLimit", "capacity", capacity)
        if not isinstance(grace, Grace):
            raise ConfigurationError(f"DeviceLimit(grace={grace!r}) must be a Grace, as in Grace(seconds=5)")
        if check is not None and not is_check(check):
            raise ConfigurationError(
                f"DeviceLimit(check={check!r}) must be an async function: async def check(service, device)"
            )
        self.rules = DeviceRules(devices, Handover(handover), hold_seconds, Unchecked(unchecked), stale_seconds)
        self.key: Literal["source", "network"] | Callable[[Session], str] = key
        self.check = check
        self.grace = grace
        self.check_seconds = check_seconds
        self.capacity = capacity
        self.requires = ("service",) if callable(key) else ("service", "source")

    def __repr__(self) -> str:
        rules = self.rules
        said = {
            "devices": rules.limit,
            "key": self.key if isinstance(self.key, str) else getattr(self.key, "__name__", "…"),
            "check": None if self.check is None else getattr(self.check, "__name__", "…"),
            "handover": None if rules.handover == Handover.REJECT_NEW else str(rules.handover),
            "unchecked": None if rules.unchecked == Unchecked.STALE_FOR else str(rules.unchecked),
            "grace": None if self.grace == Grace() else self.grace,
        }
        return f"DeviceLimit({', '.join(f'{name}={value!r}' for name, value in said.items() if value is not None)})"

    def open(self, context: "EdgeContext") -> LiveDeviceLimit:
        """Make the device table of one run of an edge; no device is known."""
        if not context.relays and (self.check is not None or isinstance(context.control, ChecksDevices)):
            raise ConfigurationError(
                "DeviceLimit bounds the bytes of devices that are not checked yet, and the endpoint moves bytes by "
                "itself: let it await context.relay(session, upstream) and say relays = True"
            )
        return LiveDeviceLimit(self, context)
