"""A limit on the devices of each service: how many, and which; answered from memory, checked in the background."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from ...addresses.source_prefix import parse_per
from ...arguments import Fixed, check_choice, check_count, check_number, check_plain, is_async
from ...errors import ConfigurationError, quote
from ...services.control_plane import ChecksDevices
from ...services.device_rules import DeviceRules, Handover, Unchecked
from ...services.linking.device_pool import PoolsDevices
from ...services.service import Service
from ...session.session import Session
from .checks import Check
from .grace import Grace
from .live_device_limit import FIELDS, LiveDeviceLimit
from .pool import DevicePool, SharedDeviceLimit
from .table import CAPACITY

if TYPE_CHECKING:
    from ...services.context import EdgeContext


class DeviceLimit(Fixed):
    """Admit devices that the checker accepts, up to a number for each service; refuse others with reason ``device``.

    A device is a source, unless `key` says otherwise. No session waits for the checker. A fresh verdict is
    used; a stale one is used while the device is checked again. An unknown device is admitted for a grace, which bounds
    time, sessions and bytes, and is checked once, however many sessions it opens. A session that has used up the bytes
    of its grace pauses until the answer. A denial cuts the sessions of its device and no others.

    The checker is `check`, or the edge's control plane if that checks devices. Without a checker every device is
    accepted and only their number is limited. The policy of a service goes before the arguments, field by field. A
    removed service is forgotten with all its devices; one that is named again starts anew.

    A verdict is fresh for 90 to 100 % of its seconds, each device for its own part. About 2 µs for a known device that
    is online, 6 µs for a new one.
    """

    kind = "decision"
    provides = ("device",)
    enforces = FIELDS
    once = True

    def __init__(
        self,
        devices: int | None = None,
        key: str | Callable[[Session], str] = "source",
        *,
        check: Check | None = None,
        handover: Handover | Literal["reject_new", "evict_oldest", "hold"] = Handover.REJECT_NEW,
        hold_seconds: float = 30.0,
        pause_seconds: float = 10.0,
        unchecked: Unchecked | Literal["fail_open", "fail_closed", "stale_for"] = Unchecked.STALE_FOR,
        stale_seconds: float = 300.0,
        grace: Grace = Grace(),  # noqa: B008 - frozen
        check_seconds: float = 3.0,
        capacity: int = CAPACITY,
    ) -> None:
        """Set the limit.

        Args:
            devices: the maximum number of devices online, for each service whose policy sets none; None for no limit.
                Without it, a `check` and a `key` the edge needs a control plane, or the stage would have no effect.
            key: what a device is: the ``source``, which is an IPv4 address or an IPv6 /64, as ``Edge(source_prefix=…)``
                says; ``source/128`` or another IPv6 prefix that is no coarser than the edge's; or a function of the
                session that returns text of at most 255 letters from memory.
                A function that raises or returns anything else costs that session.
            check: the checker: an async function of the names of a service and a device that returns a
                :class:`DeviceVerdict`, or an object that is called like one.
            handover: what happens when one device too many comes: ``reject_new`` refuses it; ``evict_oldest`` cuts the
                device that came first; ``hold`` does so after `hold_seconds`.
            hold_seconds: how long ``hold`` waits, at least 0.
            pause_seconds: how long a device that was cut for another one may cut none itself, at least 0; until then it
                is refused while there is no place. Without a pause two devices that connect again at once would cut
                each other without end.
            unchecked: what happens to a device whose check is not answered within the grace: ``fail_open`` accepts it,
                ``fail_closed`` denies it, ``stale_for`` uses its earlier verdict for `stale_seconds` and denies a
                device without one.
            stale_seconds: how long ``stale_for`` uses an expired verdict, at least 0.
            grace: what an unknown device may do before its check is answered.
            check_seconds: the time limit of one check, above 0. A failed check is repeated while a session waits.
            capacity: the maximum number of devices in memory, 65,536 by default. At capacity the device that has been
                offline for longest is forgotten; if all are online or being checked, a new device is refused with
                reason ``capacity``.

        Raises:
            ConfigurationError: names the argument and its fault.
        """
        if devices is not None:
            check_count("DeviceLimit", "devices", devices)
        self.source_bits = None if callable(key) else parse_per("DeviceLimit", "key", key, ("source",))[1]
        if callable(key):
            check_plain("DeviceLimit", key)
        check_choice("DeviceLimit", "handover", handover, tuple(map(str, Handover)))
        check_number("DeviceLimit", "hold_seconds", hold_seconds)
        check_number("DeviceLimit", "pause_seconds", pause_seconds)
        check_choice("DeviceLimit", "unchecked", unchecked, tuple(map(str, Unchecked)))
        check_number("DeviceLimit", "stale_seconds", stale_seconds)
        check_number("DeviceLimit", "check_seconds", check_seconds, above=0)
        check_count("DeviceLimit", "capacity", capacity)
        if not isinstance(grace, Grace):
            raise ConfigurationError(f"DeviceLimit(grace={quote(grace)}) must be a Grace, as in Grace(seconds=5)")
        if check is not None and not is_async(check):
            raise ConfigurationError(
                f"DeviceLimit(check={quote(check)}) must be an async function: async def check(service, device)"
            )
        self.rules = DeviceRules(
            devices, Handover(handover), hold_seconds, Unchecked(unchecked), stale_seconds, pause_seconds
        )
        self.key = key
        self.check = check
        self.grace = grace
        self.check_seconds = check_seconds
        self.capacity = capacity
        self.requires = ("service",) if callable(key) else ("service", "source")
        self.needs_control = devices is None and check is None and key == "source"  # another key names devices at least

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
        """Make the device table of one run of an edge, without devices; in a worker its share of one for all workers.

        Raises:
            ConfigurationError: there is a checker, and an endpoint that does not relay with the edge's relay, so that
                the bytes of a grace have no bound.
        """
        control = context.control
        checked = control.pools_devices if isinstance(control, PoolsDevices) else isinstance(control, ChecksDevices)
        if not context.relays and (self.check is not None or checked):
            raise ConfigurationError(
                "DeviceLimit bounds the bytes of devices that are not checked yet, and the endpoint moves bytes by "
                "itself: let it await context.relay(session, upstream) and say relays = True"
            )
        if isinstance(control, PoolsDevices) and isinstance(control, ChecksDevices):
            return SharedDeviceLimit(self, context, control.check_device)
        return LiveDeviceLimit(self, context, self._checker(control))

    def open_pool(
        self, context: "EdgeContext", changed: Callable[[Service, str], object],
        judged: Callable[[Service, str], object],
    ) -> DevicePool:  # fmt: skip
        """Make the one device table of several workers, for the control process; see :class:`DevicePool`."""
        return DevicePool(self, context, self._checker(context.control), changed, judged)

    def _checker(self, control: object) -> Check | None:
        if self.check is None and isinstance(control, ChecksDevices):
            return control.check_device
        return self.check
