"""The devices of one service that are online, in the order in which they came, and which of them a limit sends away."""

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from itertools import islice, repeat
from math import inf
from typing import Generic, TypeVar

from ...services.device_rules import DeviceRules, Handover

D = TypeVar("D", bound=Hashable)


class OnlineDevices(Generic[D]):
    """Devices with a live session, oldest first, and how long one too many of them may be.

    Under ``hold`` each device that comes beyond the limit starts a hold. While so many run, so many devices too many
    may be online, but never more than as many again as the limit: else a client that changes its device every second
    would have as many as fit into a hold. Coming, going and :meth:`surplus` are O(1).
    """

    __slots__ = ("_devices", "_holds")

    def __init__(self) -> None:
        self._devices: OrderedDict[D, None] = OrderedDict()  # a dict is slow to give its first key, over and over
        self._holds: deque[float] = deque()  # when each ends, in the order they began

    def __len__(self) -> int:
        return len(self._devices)

    def come(self, device: D) -> None:
        """Put a device online; it is the newest."""
        self._devices[device] = None

    def go(self, device: D) -> None:
        """Take a device offline."""
        del self._devices[device]

    def oldest_first(self) -> list[D]:
        """Give all of them."""
        return list(self._devices)

    def next_due(self) -> float:
        """When :meth:`settle` has something to do, in seconds; infinity without a hold."""
        return self._holds[0] if self._holds else inf

    def hold(self, coming: int, now: float, rules: DeviceRules) -> None:
        """Let as many holds run as the rules let devices be too many; some end, or others begin.

        Args:
            coming: 1 for a device that is let in; 0 after the rules have changed.
            now: seconds.
            rules: what holds from now on.
        """
        held = self._held(coming, rules)
        while len(self._holds) > max(0, held - coming):  # of devices that have gone since
            self._holds.popleft()
        self._holds.extend(repeat(now + rules.hold_seconds, held - len(self._holds)))

    def settle(self, now: float) -> None:
        """End the holds that are due at `now`."""
        while self._holds and self._holds[0] <= now:
            self._holds.popleft()

    def surplus(self, rules: DeviceRules, coming: int = 0) -> D | None:
        """Say who must go first so that, besides those on hold, no more are online than the rules let; None for nobody.

        One at a time, for it may be thousands, and others come and go between two of them.

        Returns:
            A device that is online still: the oldest one, or with ``reject_new`` the newest, last in first out,
            because had the rules been these before, it is they who would not be here.
        """
        if self._excess(coming, rules) <= len(self._holds):
            return None
        return next(self._in_order(rules), None)

    def would_go(self, rules: DeviceRules) -> list[D]:
        """Give all that would have to go at once if these rules held; nothing begins or ends.

        It is one list, for it must not notice who comes and goes: a thousandth of a second for 65,536.
        """
        return list(islice(self._in_order(rules), self._excess(0, rules) - self._held(0, rules)))

    def _in_order(self, rules: DeviceRules) -> Iterator[D]:
        return reversed(self._devices) if rules.handover == Handover.REJECT_NEW else iter(self._devices)

    def _excess(self, coming: int, rules: DeviceRules) -> int:
        return 0 if rules.limit is None else max(0, len(self._devices) + coming - rules.limit)

    def _held(self, coming: int, rules: DeviceRules) -> int:
        """How many of those that are too many may stay for a while."""
        if rules.limit is None or rules.handover != Handover.HOLD:
            return 0
        return min(self._excess(coming, rules), rules.limit)
