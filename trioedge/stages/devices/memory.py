"""Where devices are remembered: so many and no more, and each looked at again when it is due."""

from collections import OrderedDict
from collections.abc import Iterator
from math import inf
from typing import Final

from ...session.session import Session
from ...structures.deadlines import Deadlines
from .grace import Grace
from .records import DeviceRecord, ServiceRecord, Timed

TICK: Final = 0.1
"""How late, in seconds, a deadline may be noticed."""


class DeviceMemory:
    """At most `capacity` devices of at most as many services, found by name, and the deadlines of both.

    At capacity the device that has been idle longest makes room; one with a session, a check in flight or a grace is
    never forgotten for a new one. A service is forgotten with its last device, but not
    before its grace pool is full again, for a new pool would be a gift.
    """

    __slots__ = ("_capacity", "_deadlines", "_fresh_until", "_grace", "_idle", "_size", "services")

    def __init__(self, grace: Grace, capacity: int, fresh_until: float) -> None:
        """Remember nobody.

        Args:
            grace: what unknown devices may do.
            capacity: devices at most, and services.
            fresh_until: until when a new device is as good as accepted: minus infinity for not at all; or infinity,
                and then nothing is remembered of one that is not online, for there is nothing to know.
        """
        self.services: dict[str, ServiceRecord] = {}
        self._grace = grace
        self._fresh_until = fresh_until
        self._capacity = capacity
        self._idle: OrderedDict[DeviceRecord, None] = OrderedDict()  # a dict is slow to give its first key
        self._deadlines: Deadlines[Timed] = Deadlines(TICK)
        self._size = 0

    def __len__(self) -> int:
        """Devices remembered."""
        return self._size

    def find(self, service: str, device: str) -> DeviceRecord | None:
        """Give a device that is remembered."""
        found = self.services.get(service)
        return None if found is None else found.devices.get(device)

    def find_or_make(self, service: str, device: str) -> DeviceRecord:
        """Give a device; one that is not remembered is new, and stays out until :meth:`remember`."""
        owner = self.services.get(service)
        if owner is None:
            owner = ServiceRecord(service, self._grace)
        return owner.devices.get(device) or DeviceRecord(owner, device, self._fresh_until)

    def remember(self, device: DeviceRecord) -> bool:
        """Take a device in, if it is not in. False if there is no room."""
        service = device.service
        if device.name in service.devices:
            return True
        if self._size >= self._capacity:
            if not self._idle:
                return False
            self.forget(next(iter(self._idle)))
        if service.name not in self.services:
            if len(self.services) >= self._capacity:
                return False
            self.services[service.name] = service
        service.devices[device.name] = device
        self._size += 1
        return True

    def forget(self, device: DeviceRecord) -> None:
        """Put a device out, which is remembered."""
        service = device.service
        del service.devices[device.name]
        self._drop(device)
        self.forget_service(service, 0.0)

    def clear(self, name: str) -> Iterator[DeviceRecord]:
        """Put a service out with all that is known of it, at once; its devices follow, each before it is given.

        Until then they take their places, but nobody finds them: who asks for the service by name gets a new one.
        """
        service = self.services.pop(name, None)
        if service is None:
            return
        self._drop_deadline(service)
        while service.devices:
            device = service.devices.popitem()[1]
            self._drop(device)
            yield device

    def _drop(self, device: DeviceRecord) -> None:
        self._size -= 1
        self._idle.pop(device, None)
        self._drop_deadline(device)

    def forget_service(self, service: ServiceRecord, now: float) -> None:
        """Put a service out, if it has no devices and its pool is full; by time 0, if the pool was never used."""
        if service.devices:
            return
        if self.knows(service):
            if service.pool.full_at > now:
                self.bring_forward(service, service.pool.full_at)
                return
            del self.services[service.name]
        self._drop_deadline(service)

    def knows(self, service: ServiceRecord) -> bool:
        """Say whether a service is the one of its name: not if it was put out, even if there is a new one."""
        return self.services.get(service.name) is service

    def hold(self, device: DeviceRecord) -> None:
        """Do not let a device be forgotten: it gets a session, a check or a grace."""
        self._idle.pop(device, None)

    def release(self, device: DeviceRecord) -> None:
        """Let a device be forgotten when there is need, if it has no session, no check and no grace any more."""
        if device.sessions or device.asked_at is not None or device.allowance is not None:
            return
        if self._fresh_until == inf:
            self.forget(device)
        else:
            self._idle[device] = None

    def begin_check(self, device: DeviceRecord, now: float) -> bool:
        """Write down that a device is asked about, and hold it until somebody has answered; False if it is already."""
        if device.asked_at is not None:
            return False
        device.asked_at = now
        device.asked_after = device.service.rechecks
        self.hold(device)
        return True

    def take_offline(self, device: DeviceRecord) -> tuple[Session, ...]:
        """Forget the sessions of a device, and give them."""
        sessions = tuple(device.sessions)
        if sessions:
            device.sessions.clear()
            device.service.online.go(device)
            self.release(device)
        return sessions

    def bring_forward(self, item: Timed, due: float) -> None:
        """Have it looked at by then; who finds it too early brings it forward anew."""
        if due < item.due:
            self._drop_deadline(item)
            item.due = due
            item.tick = self._deadlines.add(item, due)

    def _drop_deadline(self, item: Timed) -> None:
        self._deadlines.discard(item, item.tick)
        item.due = inf

    def next_due(self) -> float:
        """When to take what is due, in seconds; infinity for never. May be early."""
        return self._deadlines.next_due()

    def take_due(self, now: float) -> Timed | None:
        """Give something that is due at `now`, if anything is; no deadline of it stands any more."""
        item = self._deadlines.take(now)
        if item is not None:
            item.due = inf
        return item
