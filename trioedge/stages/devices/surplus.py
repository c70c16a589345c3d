"""Devices that are too many for the limit: one at a time they go, for others come and go in between."""

from collections.abc import Iterator

from ...services.device_rules import DeviceRules
from ...session.session import Session
from .answers import LIMIT, DeviceChange
from .memory import TICK, DeviceMemory
from .records import ServiceRecord


class DeviceSurplus:
    """Sends devices away for the limit's sake, by the order and the holds of :class:`OnlineDevices`."""

    __slots__ = ("_memory",)

    def __init__(self, memory: DeviceMemory) -> None:
        """Take devices out of `memory`, and keep the deadlines of holds there."""
        self._memory = memory

    def make_room(self, service: ServiceRecord, now: float, rules: DeviceRules) -> tuple[Session, ...]:
        """Take out the device that must go so that one more fits, if one must; give its sessions. O(1) but for them.

        After a limit was lowered there may be more than one, and :meth:`reduce` sees to the others.
        """
        self._hold(service, 1, now, rules)
        device = service.online.surplus(rules, coming=1)
        return () if device is None else self._memory.take_offline(device)

    def reduce(self, service: ServiceRecord, now: float, rules: DeviceRules) -> Iterator[DeviceChange]:
        """Let other rules hold: take out those too many, but for those on hold, one a step."""
        self._hold(service, 0, now, rules)
        while (change := self._send_away(service, rules)) is not None:
            yield change

    def settle(self, service: ServiceRecord, now: float, rules: DeviceRules) -> DeviceChange | None:
        """End the holds that are due and take one device out; while there may be more it is due again at once."""
        service.online.settle(now)
        change = self._send_away(service, rules)
        self._memory.bring_forward(service, service.online.next_due() if change is None else now - TICK)
        return change

    def foresee(self, service: ServiceRecord, rules: DeviceRules) -> Iterator[Session]:
        """Give the sessions of devices that :meth:`reduce` would take out at once."""
        for device in service.online.would_go(rules):
            yield from tuple(device.sessions)

    def _hold(self, service: ServiceRecord, coming: int, now: float, rules: DeviceRules) -> None:
        service.online.hold(coming, now, rules)
        self._memory.bring_forward(service, service.online.next_due())

    def _send_away(self, service: ServiceRecord, rules: DeviceRules) -> DeviceChange | None:
        device = service.online.surplus(rules)
        if device is None:
            return None
        return DeviceChange(service.name, device.name, False, self._memory.take_offline(device), LIMIT)
