"""The memory of the device table: a bounded number of devices, found by service and name, with their deadlines."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from math import inf
from typing import Final, TypeAlias

from ...services.service import Service
from ...session.session import Session
from ...structures.deadlines import Deadlines
from .grace import Grace
from .records import DeviceRecord, ServiceRecord, Timed

TICK: Final = 0.1
"""The resolution of deadlines in seconds: never early, at most so late."""

Move: TypeAlias = tuple[bool, str, str]
"""Whether a device came online or went, and the names of its service and of the device."""


class DeviceMemory:
    """At most `capacity` devices, of at most as many services.

    A device with a session, a check in flight or a grace is *pinned*. At capacity a new device takes the place of the
    device that has been unpinned for longest; where every device is pinned, the new one is refused. A service is
    forgotten with its last device, but not before its grace pool is full, because a new record has a full pool.

    A service is found by its incarnation: one that was removed and named again shares nothing with the former one.
    """

    # A device is in `devices` of a record in `services`, or its service is being cleared. `size` counts both.
    # `_idle` has those of both that are not pinned, in the order in which they were unpinned.
    # `_deadlines` has every item whose `due` is finite, once.
    __slots__ = ("_capacity", "_deadlines", "_fresh_until", "_grace", "_idle", "_moves", "services", "size")

    def __init__(self, grace: Grace, capacity: int, *, checked: bool, moves: deque[Move] | None = None) -> None:
        """Start empty.

        Args:
            grace: the grace of unknown devices.
            capacity: the maximum number of devices, and of services; at least 1.
            checked: whether there is a checker. If not, every device has an acceptance that never expires, and is
                forgotten with its last session.
            moves: every device that comes online or goes is appended; None if nothing follows them.
        """
        self.services: dict[int, ServiceRecord] = {}
        self._grace = grace
        self._fresh_until = -inf if checked else inf
        self._capacity = capacity
        self._moves = moves
        self._idle: OrderedDict[DeviceRecord, None] = OrderedDict()  # a dict gets slow when its first key is taken
        self._deadlines: Deadlines[Timed] = Deadlines(TICK)
        self.size = 0

    def find(self, service: Service, device: str) -> DeviceRecord | None:
        """Return a device, or None if it is not remembered."""
        owner = self.services.get(service.incarnation)
        return None if owner is None else owner.devices.get(device)

    def find_or_make(self, service: Service, device: str) -> DeviceRecord:
        """Return a device; a new one is not remembered before :meth:`remember`."""
        owner = self.services.get(service.incarnation)
        if owner is None:
            owner = ServiceRecord(service, self._grace)
        return owner.devices.get(device) or DeviceRecord(owner, device, self._fresh_until)

    def remember(self, device: DeviceRecord) -> bool:
        """Remember a device; it does nothing if the device is remembered already.

        Returns:
            False if there is no place for it.
        """
        owner = device.owner
        if device.name in owner.devices:
            return True
        if self.size >= self._capacity:
            if not self._idle:
                return False
            self.forget(next(iter(self._idle)))
        incarnation = owner.service.incarnation
        if incarnation not in self.services:
            if len(self.services) >= self._capacity:
                return False
            self.services[incarnation] = owner
        owner.devices[device.name] = device
        self.size += 1
        return True

    def forget(self, device: DeviceRecord) -> None:
        """Forget a device, and its service if it was the last one."""
        del device.owner.devices[device.name]
        self._drop(device)
        self.forget_service(device.owner, 0.0)

    def forget_service(self, owner: ServiceRecord, now: float) -> None:
        """Forget a service if it has no devices and its pool is full at `now`; at 0, if its pool was never used."""
        if owner.devices:
            return
        if self.has(owner):
            if owner.pool.full_at > now:
                self.bring_forward(owner, owner.pool.full_at)
                return
            del self.services[owner.service.incarnation]
        self._drop_deadline(owner)

    def clear(self, service: Service) -> Iterator[DeviceRecord]:
        """Forget a service at the first step, and yield its devices one by one as they are freed.

        Until a device is freed it counts against the capacity, but it cannot be found.
        """
        owner = self.services.pop(service.incarnation, None)
        if owner is None:
            return
        self._drop_deadline(owner)
        while owner.devices:
            _, device = owner.devices.popitem()
            self._drop(device)
            if device.sessions and self._moves is not None:
                self._moves.append((False, owner.service.name, device.name))
            yield device

    def has(self, owner: ServiceRecord) -> bool:
        """Return whether this record of a service is in use; False if it was forgotten or is being cleared."""
        return self.services.get(owner.service.incarnation) is owner

    def _drop(self, device: DeviceRecord) -> None:
        self.size -= 1
        self._idle.pop(device, None)
        self._drop_deadline(device)

    # Sessions and checks pin a device.

    def add_session(self, device: DeviceRecord, session: Session) -> None:
        """Add a session to a device that is remembered; the first one puts it online."""
        if not device.sessions:
            device.owner.online.add(device)
            device.owner.vacant.pop(device, None)
            self._idle.pop(device, None)
            if self._moves is not None:
                self._moves.append((True, device.owner.service.name, device.name))
        device.sessions[session] = None

    def remove_session(self, device: DeviceRecord, session: Session) -> None:
        """Remove a session that the device has; the last one takes it offline."""
        del device.sessions[session]
        if not device.sessions:
            self._go_offline(device)

    def remove_sessions(self, device: DeviceRecord) -> tuple[Session, ...]:
        """Remove all sessions of a device, which takes it offline, and return them."""
        sessions = tuple(device.sessions)
        if sessions:
            device.sessions.clear()
            self._go_offline(device)
        return sessions

    def _go_offline(self, device: DeviceRecord) -> None:
        device.owner.online.remove(device)
        if self._moves is not None:
            self._moves.append((False, device.owner.service.name, device.name))
        if device.allowance is not None:
            device.owner.vacant[device] = None
        self.unpin(device)

    def has_grace_place(self, owner: ServiceRecord, source: bytes, now: float) -> bool:
        """Return whether a new device may begin its grace; devices in their grace without a session lose theirs for it.

        A client that connects, leaves and comes back with another address has one place, and not all.
        """
        while not owner.pool.has_place(source):
            if not owner.vacant:
                return False
            device = next(iter(owner.vacant))
            device.end_grace(now)
            if device.asked_at is None:
                self.forget(device)
        return True

    def begin_check(self, device: DeviceRecord, now: float) -> bool:
        """Note that a check of a device begins; False if one is in flight already."""
        if device.asked_at is not None:
            return False
        device.asked_at = now
        device.asked_after = device.owner.rechecks
        self._idle.pop(device, None)
        return True

    def lapse(self, device: DeviceRecord, now: float) -> None:
        """Without a checker, end a denial that has expired at `now` seconds: the device counts as accepted again."""
        if self._fresh_until == inf and device.fresh_until <= now:
            device.set_verdict(None, inf)

    def end_check(self, device: DeviceRecord) -> None:
        """Note that the check of a device has ended without an answer."""
        device.asked_at = None
        device.overruled = False
        self.unpin(device)

    def unpin(self, device: DeviceRecord) -> None:
        """Let a device be forgotten when its place is needed, unless a session, a check or a grace still pins it.

        Without a checker it is forgotten now, because there is nothing to remember but a pause or a denial.
        """
        if device.waits or device.asked_at is not None:
            return
        if self._fresh_until == inf and device.paused_until == -inf and device.refusal is None:
            self.forget(device)
            return
        self._idle[device] = None
        if device.paused_until > -inf:
            self.bring_forward(device, device.paused_until)

    @property
    def checked(self) -> bool:
        """Whether there is a checker."""
        return self._fresh_until != inf

    # Deadlines.

    def bring_forward(self, item: Timed, due: float) -> None:
        """Have :meth:`take_due` return an item at `due` seconds; an earlier deadline remains instead."""
        if due < item.due:
            self._drop_deadline(item)
            item.due = due
            item.tick = self._deadlines.add(item, due)

    def next_due(self) -> float:
        """Return when to call :meth:`take_due`, in seconds; infinity for never. May be too early, never too late."""
        return self._deadlines.next_due()

    def take_due(self, now: float) -> Timed | None:
        """Return one item that is due at `now` seconds, and remove its deadline; None if no item is due."""
        item = self._deadlines.take(now)
        if item is not None:
            item.due = inf
        return item

    def _drop_deadline(self, item: Timed) -> None:
        self._deadlines.discard(item, item.tick)
        item.due = inf
