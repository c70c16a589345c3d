"""The online devices of one service, oldest first, and which of them exceed its limit.

Under the rule ``hold`` a device beyond the limit is tolerated for a while. Such a *hold* belongs to no particular
device: when it ends, the oldest device exceeds the limit, if the service still has too many.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from itertools import islice, repeat
from math import inf
from typing import Generic, TypeVar

from ...services.device_rules import DeviceRules, Handover

D = TypeVar("D", bound=Hashable)


class OnlineDevices(Generic[D]):
    """Devices with a live session, in the order in which they came online, and the holds that run.

    A device exceeds the limit if the number of devices beyond the limit is larger than the number of holds. At most
    as many holds run as the limit has devices. Without this bound, a client that changes its address every second would
    have one device for each second of a hold. Every method is O(1), but for those that return a list and for the
    change of a limit, which may begin or end many holds.
    """

    # `_holds` has the end of each hold, in seconds, in the order in which they began. After a change to shorter holds
    # this is not the order of their ends; a new hold then lasts as long as those before it.
    __slots__ = ("_devices", "_holds")

    def __init__(self) -> None:
        self._devices: OrderedDict[D, None] = OrderedDict()  # a dict gets slow when its first key is taken repeatedly
        self._holds: deque[float] = deque()

    def __len__(self) -> int:
        return len(self._devices)

    def add(self, device: D) -> None:
        """Add a device as the newest."""
        self._devices[device] = None

    def remove(self, device: D) -> None:
        """Remove a device that is online."""
        del self._devices[device]

    def oldest_first(self) -> list[D]:
        """Return all devices."""
        return list(self._devices)

    def next_due(self) -> float:
        """Return when the earliest hold ends, in seconds; infinity without a hold."""
        return self._holds[0] if self._holds else inf

    def adjust_holds(self, coming: int, now: float, rules: DeviceRules) -> None:
        """Begin or end holds, so that each device that `rules` tolerate beyond the limit has one.

        Args:
            coming: 1 for a device that is about to be added; 0 after a change of rules.
            now: seconds.
            rules: the rules from now on.
        """
        tolerated = self._tolerated(coming, rules)
        while len(self._holds) > max(0, tolerated - coming):  # some devices have gone offline since
            self._holds.popleft()
        self._holds.extend(repeat(now + rules.hold_seconds, tolerated - len(self._holds)))

    def end_holds(self, now: float) -> None:
        """End the holds that are due at `now` seconds."""
        while self._holds and self._holds[0] <= now:
            self._holds.popleft()

    def first_to_evict(self, rules: DeviceRules, coming: int = 0) -> D | None:
        """Return the device that must go offline first, because it exceeds the limit and no hold tolerates it.

        The device stays online until the caller removes it. The caller repeats this, because thousands of devices may
        exceed the limit, and others come and go between two calls.

        Args:
            rules: the rules of the service.
            coming: 1 for a device that is about to be added.

        Returns:
            The oldest device; with ``reject_new`` the newest, which the limit would have refused; None if no device
            must go.
        """
        if self._excess(coming, rules) <= len(self._holds):
            return None
        return next(self._in_order(rules), None)

    def all_to_evict(self, rules: DeviceRules) -> list[D]:
        """Return every device that would have to go offline at once under other rules; no hold begins or ends.

        One list, because an iterator would notice devices that come and go. It takes 1 ms for 65,536 devices.
        """
        return list(islice(self._in_order(rules), self._excess(0, rules) - self._tolerated(0, rules)))

    def _in_order(self, rules: DeviceRules) -> Iterator[D]:
        return reversed(self._devices) if rules.handover == Handover.REJECT_NEW else iter(self._devices)

    def _excess(self, coming: int, rules: DeviceRules) -> int:
        """Return how many devices are beyond the limit."""
        return 0 if rules.limit is None else max(0, len(self._devices) + coming - rules.limit)

    def _tolerated(self, coming: int, rules: DeviceRules) -> int:
        """Return how many of the devices beyond the limit may stay for a while."""
        if rules.limit is None or rules.handover != Handover.HOLD:
            return 0
        return min(self._excess(coming, rules), rules.limit)
