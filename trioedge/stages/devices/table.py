"""The device table: which devices of which services are online, and what happens when a session or an answer comes.

A device is answered from memory, at once. If memory has no answer, the device is admitted for a grace while the checker
is asked in the background. Every transition is in this file and in `expiry.py`; asking the checker and ending sessions
is the caller's.

| a device is | event | it is then | action |
| --- | --- | --- | --- |
| unknown | a session comes | in grace | admit within the bounds of the grace and the device limit; ask the checker |
| in grace | a session comes | in grace | admit with the same allowance, within the grace and the device limit |
| in grace | the last session goes | in grace | none: the next session has the rest |
| in grace, offline | another device needs its place | unknown | forget the device, unless a check is in flight |
| in grace | no answer | in grace | ask again after a pause |
| in grace | its time is up | provisional | decide by ``unchecked`` |
| fresh, accepted | a session comes | the same | admit within the device limit |
| fresh, denied | a session comes | the same | refuse |
| fresh | the verdict expires | stale | ask the checker if the device is online |
| stale, accepted | a session comes | the same | admit within the device limit; ask the checker |
| stale, denied | a session comes | the same | refuse; ask the checker |
| stale | no answer | stale | ask again after a pause if the device is online |
| stale, offline | the stale verdict is of no more use | unknown | forget the device, unless a check is in flight |
| stale, online | the stale verdict is of no more use | provisional | decide by ``unchecked`` |
| provisional | a session comes | the same | admit or refuse, as for a fresh verdict |
| provisional, offline | the verdict expires | unknown | forget the device, unless a check is in flight |
| provisional, online | the verdict expires, a check is in flight | provisional | decide by ``unchecked`` again |
| provisional, online | the verdict expires, no check is in flight | stale, as long as a grace | ask the checker |
| any | an answer: accepted | fresh, accepted | lift the allowance of a grace |
| any | an answer: denied | fresh, denied | evict its sessions |
| any | a judgement | fresh | as for an answer; the answer to a check in flight is dropped, see `verdicts.py` |
| any with the checker's verdict | recheck | stale | ask the checker if the device is online |
| in grace | recheck | in grace | none: the answer to come is stale at once, and the checker is asked again |
| online | the device limit falls, or a hold ends | offline | evict its sessions if the device exceeds the limit |
| evicted for another device | a session comes, the pause is not over, there is no room | the same | refuse |
| any | forget | unknown | give its sessions to the caller |

*Decide by* ``unchecked``: with ``fail_open`` accept the device and lift the allowance, else deny it and evict its
sessions; an older verdict that changed rules allow to be used is used instead. *Ask the checker*: unless a check is in
flight. How long a stale verdict is of use: see :mod:`~trioedge.stages.devices.records`. A session is refused as well if
memory has no place for its device. Without a checker every device is fresh and accepted, and is forgotten with its last
session, or after its pause; one that a judgement denies is accepted again when the denial expires.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Final

import attrs

from ...services.device_rules import DeviceRules, Handover
from ...services.service import Service
from ...session.session import Session
from .answers import (
    ADMITTED,
    AT_LIMIT,
    ENTERED,
    IN_PAUSE,
    TABLE_FULL,
    TOO_MANY_SESSIONS,
    TOO_MANY_UNKNOWN,
    DeviceChange,
    DeviceEntry,
)
from .expiry import expire
from .grace import Grace
from .memory import DeviceMemory, Move
from .records import FRESH, IN_GRACE, STALE, UNKNOWN, DeviceRecord, ServiceRecord
from .surplus import DeviceSurplus
from .verdicts import answer, judge, unanswered, wanted

CAPACITY: Final = 65_536


class DeviceTable:
    """At most `capacity` devices, each with its live sessions, its verdict and at most one check in flight.

    The caller does what the answers say, and keeps to these rules:

    - after a `check` it asks the checker once, and reports :meth:`answer`, or :meth:`failed` until that is False;
    - it ends the sessions in `evict`, which the table has removed; :meth:`leave` of one of them does nothing;
    - it calls :meth:`expire` at :meth:`next_due`, which every call may bring forward, unless it returned ENTERED;
    - it calls :meth:`recheck` when the rules of a service have changed, and :meth:`forget` when a service is removed.

    At capacity a new device takes the place of one that has no session, no grace and no check in flight, or is refused;
    so clients that change their addresses displace no device that is online. Work on many devices is done in steps of
    one device. Every other method is O(1), plus the sessions of one device that it returns.

    `memory` has the devices, to read.
    """

    # Others may read `memory`, and change nothing in it.
    __slots__ = ("_checked", "_grace", "_services", "_surplus", "memory")

    def __init__(
        self, grace: Grace, capacity: int = CAPACITY, *, checked: bool = True, moves: deque[Move] | None = None
    ) -> None:
        """Start without devices.

        Args:
            grace: what unknown devices may do.
            capacity: the maximum number of devices, and of services; at least 1.
            checked: whether there is a checker. If not, every device is accepted for ever and only the limits apply.
            moves: every device that comes online or goes is appended; None if nothing follows them.
        """
        self._grace, self._checked = grace, checked
        self.memory = DeviceMemory(grace, capacity, checked=checked, moves=moves)
        self._surplus = DeviceSurplus(self.memory)
        self._services = self.memory.services  # saves most sessions a look-up

    def enter(self, service: Service, device: str, session: Session, now: float, rules: DeviceRules) -> DeviceEntry:
        """Admit a session at `now` seconds under the `rules` of its service, or refuse it.

        A session enters once. If it is admitted, it counts until :meth:`leave` or until the table evicts it. The
        service must not be removed. About 0.2 µs for a device that is online and fresh.
        """
        owner = self._services.get(service.incarnation)
        if owner is not None:
            known = owner.devices.get(device)
            if known is not None and known.sessions and now < known.fresh_until:  # online, so it is not denied
                known.sessions[session] = None
                return ENTERED
        return self._enter(self.memory.find_or_make(service, device), session, now, rules)

    def _enter(self, device: DeviceRecord, session: Session, now: float, rules: DeviceRules) -> DeviceEntry:
        """Decide by the verdict, then by the limit. No session or grace begins before the admission is certain."""
        self.memory.lapse(device, now)
        owner = device.owner
        knowledge = device.knowledge(now, rules)
        if knowledge is UNKNOWN and device.sessions:
            knowledge = STALE  # `expire` is about to decide on all of its sessions
        if knowledge is IN_GRACE:
            if len(device.sessions) >= self._grace.sessions:
                return TOO_MANY_SESSIONS
        elif knowledge is UNKNOWN:
            if not self.memory.has_grace_place(owner, session.source_key, now):
                return TOO_MANY_UNKNOWN
        elif device.refusal is not None:
            check = knowledge is STALE and self.memory.begin_check(device, now)
            return attrs.evolve(device.refusal, check=True) if check else device.refusal
        crowded = not device.sessions and rules.limit is not None and len(owner.online) >= rules.limit
        if crowded and rules.handover == Handover.REJECT_NEW:
            return AT_LIMIT
        if crowded and now < device.paused_until:
            return IN_PAUSE
        if not self.memory.remember(device):
            return TABLE_FULL
        evict = self._surplus.make_room(owner, now, rules) if crowded else ()
        self.memory.add_session(device, session)
        if knowledge is FRESH:
            return DeviceEntry(ADMITTED, evict=evict) if crowded else ENTERED
        if knowledge is UNKNOWN:
            device.begin_grace(now, session.source_key)
            self.memory.bring_forward(device, device.grace_until)
        check = self.memory.begin_check(device, now)
        if knowledge is STALE:
            self.memory.bring_forward(device, device.usable_until(rules))
        return DeviceEntry(ADMITTED, check, device.allowance, evict)

    def leave(self, service: Service, device: str, session: Session) -> None:
        """Remove a session that has ended; does nothing if it was evicted or its service was forgotten."""
        known = self.memory.find(service, device)
        if known is not None and session in known.sessions:
            self.memory.remove_session(known, session)

    def answer(
        self, service: Service, device: str, accept: bool, seconds: float, now: float, detail: str = ""
    ) -> DeviceChange:
        """Store a verdict of the checker and apply it to the device's sessions.

        If there is room, it is also stored when no session waits for it. If the checker was asked before the latest
        :meth:`recheck`, the verdict is stale, and the checker must be asked again.

        Args:
            service: the service of the device.
            device: the name of the device.
            accept: whether the device may have sessions.
            seconds: how long the verdict is fresh; less than 1 counts as 1.
            now: seconds.
            detail: the reason, for people.

        Returns:
            The sessions to end, after a denial. After an acceptance, sessions that waited have continued already.
        """
        known = self.memory.find_or_make(service, device)
        if not self.memory.remember(known):
            return DeviceChange(service, device)
        return answer(self.memory, known, now, accept, seconds, detail)

    def judge(
        self, service: Service, device: str, accept: bool, seconds: float, now: float, detail: str = "",
        *, provisional: bool = False,
    ) -> DeviceChange:  # fmt: skip
        """Store a verdict that was not asked for, in place of every earlier one; the arguments are those of `answer`.

        The answer to a check that is in flight is dropped. After a `provisional` verdict the device is unknown again.
        """
        known = self.memory.find_or_make(service, device)
        if not self.memory.remember(known):
            return DeviceChange(service, device)
        return judge(self.memory, known, now, accept, seconds, detail, provisional=provisional)

    def online(self, service: Service) -> list[str]:
        """Return the devices of a service that have a live session, oldest first."""
        owner = self._services.get(service.incarnation)
        return [] if owner is None else [device.name for device in owner.online.oldest_first()]

    def wanted(self, service: Service, device: str) -> bool:
        """Return whether a check that has not begun is still to be made; if not, it is over."""
        known = self.memory.find(service, device)
        return known is not None and known.asked_at is not None and wanted(self.memory, known)

    def failed(self, service: Service, device: str) -> bool:
        """Note that the checker did not answer.

        Returns:
            True to ask again after a pause, because a session or a grace waits: the check is still in flight.
        """
        known = self.memory.find(service, device)
        return known is not None and known.asked_at is not None and unanswered(self.memory, known)

    def foresee(self, service: Service, rules: DeviceRules | None) -> Iterator[Session]:
        """Yield the sessions that :meth:`recheck` would evict under `rules`, or that :meth:`forget` would give."""
        owner = self._services.get(service.incarnation)
        return iter(()) if owner is None else self._surplus.foresee(owner, rules)

    def recheck(self, service: Service, now: float, rules: DeviceRules) -> Generator[DeviceChange | None, None, None]:
        """Apply changed rules to a service: every verdict is stale from `now` on, and a lower limit evicts devices.

        Devices keep their sessions while they are checked again. Devices that exceed the limit are evicted at once, but
        for those that a hold tolerates: with ``reject_new`` the newest, else the oldest.

        Yields:
            What the caller must do about a device, or None; one device a step.
        """
        owner = self._services.get(service.incarnation)
        if owner is None:
            return
        yield from self._surplus.reduce(owner, now, rules)
        if not self._checked:
            return
        owner.recheck(now)
        for device in owner.online.oldest_first():
            change = None
            if device.sessions:  # it may have gone offline since the step before
                device.apply_recheck()
                if device.fresh_until <= now and self.memory.begin_check(device, now):
                    change = DeviceChange(service, device.name, check=True)
                self.memory.bring_forward(device, device.usable_until(rules))
            yield change

    def forget(self, service: Service) -> Generator[Session | None, None, None]:
        """Forget a removed service at the first step. The caller drops the answers to checks in flight.

        Yields:
            Each live session of its devices, or None; one device or session a step. No allowance is lifted.
        """
        for device in self.memory.clear(service):
            yield None
            yield from tuple(device.sessions)

    def next_due(self) -> float:
        """Return when to call :meth:`expire`, in seconds; infinity for never. May be too early, never too late."""
        return self.memory.next_due()

    def expire(self, now: float, rules_of: Callable[[Service], DeviceRules]) -> DeviceChange | None:
        """Handle one deadline that has passed at `now` seconds; `rules_of` gives the device rules of a service.

        Thousands may have passed, so call it again while :meth:`next_due` is not later. Sessions whose grace ends with
        an acceptance have continued when this returns.

        Returns:
            What the caller must do about a device, or None.
        """
        item = self.memory.take_due(now)
        if isinstance(item, DeviceRecord) and self.memory.has(item.owner):
            change = expire(self.memory, item, now, rules_of(item.owner.service))
            return change if change.check or change.evict else None
        if isinstance(item, ServiceRecord):
            return self._surplus.expire(item, now, rules_of(item.service))
        return None  # no item is due, or the service of the device is being forgotten
