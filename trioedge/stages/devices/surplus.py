"""Eviction of devices that exceed the limit of their service, one at a time, because others come and go meanwhile."""

from collections.abc import Iterator

from ...services.device_rules import DeviceRules
from ...session.session import Session
from .answers import LIMIT, DeviceChange
from .memory import TICK, DeviceMemory
from .records import DeviceRecord, ServiceRecord


class DeviceSurplus:
    """Takes devices offline that exceed a limit, as :class:`OnlineDevices` orders them, and keeps holds' deadlines."""

    __slots__ = ("_memory",)

    def __init__(self, memory: DeviceMemory) -> None:
        """Work on the devices of `memory`."""
        self._memory = memory

    def make_room(self, owner: ServiceRecord, now: float, rules: DeviceRules) -> tuple[Session, ...]:
        """Take at most one device offline, if the next device needs its place, and return its sessions.

        O(1) for each session. After the limit was lowered more devices may exceed it; :meth:`reduce` evicts them.
        """
        self._adjust_holds(owner, 1, now, rules)
        device = owner.online.first_to_evict(rules, coming=1)
        return () if device is None else self._evict(device, now, rules)

    def reduce(self, owner: ServiceRecord, now: float, rules: DeviceRules) -> Iterator[DeviceChange]:
        """Apply other rules: take the devices offline that exceed the limit and that no hold tolerates, one a step."""
        self._adjust_holds(owner, 0, now, rules)
        while (change := self._evict_first(owner, now, rules)) is not None:
            yield change

    def expire(self, owner: ServiceRecord, now: float, rules: DeviceRules) -> DeviceChange | None:
        """Handle the deadline of a service: end the holds that are due and take one device offline.

        While more devices may exceed the limit, the service is due again at once. One that has no devices and a full
        pool is forgotten.
        """
        owner.online.end_holds(now)
        change = self._evict_first(owner, now, rules)
        self._memory.bring_forward(owner, owner.online.next_due() if change is None else now - TICK)
        self._memory.forget_service(owner, now)
        return change

    def foresee(self, owner: ServiceRecord, rules: DeviceRules | None) -> Iterator[Session]:
        """Yield the sessions of all devices that :meth:`reduce` would take offline, or of all; nothing changes."""
        for device in owner.online.oldest_first() if rules is None else owner.online.all_to_evict(rules):
            yield from tuple(device.sessions)

    def _adjust_holds(self, owner: ServiceRecord, coming: int, now: float, rules: DeviceRules) -> None:
        owner.online.adjust_holds(coming, now, rules)
        self._memory.bring_forward(owner, owner.online.next_due())

    def _evict_first(self, owner: ServiceRecord, now: float, rules: DeviceRules) -> DeviceChange | None:
        device = owner.online.first_to_evict(rules)
        if device is None:
            return None
        return DeviceChange(owner.service, device.name, False, self._evict(device, now, rules), LIMIT)

    def _evict(self, device: DeviceRecord, now: float, rules: DeviceRules) -> tuple[Session, ...]:
        """Take a device offline; two devices that come again at once would evict each other without end."""
        if rules.pause_seconds:
            device.paused_until = now + rules.pause_seconds
        return self._memory.remove_sessions(device)
