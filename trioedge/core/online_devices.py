"""The devices of one service that are online, in the order in which they came, and which of them a limit sends away."""

from collections import OrderedDict, deque
from collections.abc import Hashable
from itertools import islice
from math import inf
from typing import Generic, TypeVar

from .device_rules import DeviceRules, Handover

D = TypeVar("D", bound=Hashable)


class OnlineDevices(Generic[D]):
    """Devices with a live session, oldest first, and how long one too many of them may be.

    Under ``hold`` each device that comes beyond the limit starts a hold. While so many run, so many devices too many
    may be online, but never more than as many again as the limit: else a client that changes its device every second
    would have as many as fit into a hold. Coming and going are O(1), the rest costs what it returns.
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

    def make_room(self, coming: int, now: float, rules: DeviceRules) -> list[D]:
        """Say who must go at once so that `coming` more devices fit; holds start and end as the rules have it.

        Args:
            coming: 1 for a device that is let in; 0 after the rules have changed.
            now: seconds.
            rules: what holds from now on.

        Returns:
            Devices that are online still: the oldest ones, or with ``reject_new`` the newest, last in first out,
            because had the rules been these before, it is they who would not be here.
        """
        held = self._held(coming, rules)
        while len(self._holds) > max(0, held - coming):  # of devices that have gone since
            self._holds.popleft()
        while len(self._holds) < held:
            self._holds.append(now + rules.hold_seconds)
        return self.surplus(coming, rules)

    def surplus(self, coming: int, rules: DeviceRules) -> list[D]:
        """Say who would have to go, as :meth:`make_room` does; nothing starts or ends."""
        newest_first = rules.handover == Handover.REJECT_NEW
        excess = self._excess(coming, rules) - self._held(coming, rules)
        return list(islice(reversed(self._devices) if newest_first else self._devices, excess))

    def _excess(self, coming: int, rules: DeviceRules) -> int:
        return 0 if rules.limit is None else max(0, len(self._devices) + coming - rules.limit)

    def _held(self, coming: int, rules: DeviceRules) -> int:
        """How many of those that are too many may stay for a while."""
        if rules.limit is None or rules.handover != Handover.HOLD:
            return 0
        return min(self._excess(coming, rules), rules.limit)

    def settle(self, now: float, rules: DeviceRules) -> list[D]:
        """End the holds that are due at `now`, and say who must go: the oldest devices, as many as are too many."""
        while self._holds and self._holds[0] <= now:
            self._holds.popleft()
        if rules.limit is None:
            return []
        return list(islice(self._devices, max(0, len(self._devices) - rules.limit - len(self._holds))))
