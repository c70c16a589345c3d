"""Which devices are online, and what happens when one comes, goes, is checked or is not.

Seed, layer three: whoever comes is answered from memory, now. What memory cannot say is asked in the background, once
a device, and meanwhile it has a grace. Every transition lives here; asking and cutting are the caller's.
"""

from collections.abc import Callable, Generator, Iterator
from math import inf
from typing import Final

import attrs

from ...services.device_rules import DeviceRules, Handover, Unchecked
from ...session.allowance import Allowance
from ...session.session import Session
from .answers import (
    ADMITTED,
    AT_LIMIT,
    DENIED,
    ENTERED,
    NOT_ANSWERED,
    TABLE_FULL,
    TOO_MANY_SESSIONS,
    TOO_MANY_UNKNOWN,
    DeviceChange,
    DeviceEntry,
)
from .grace import Grace
from .memory import DeviceMemory
from .records import FRESH, IN_GRACE, STALE, UNKNOWN, DeviceRecord, ServiceRecord
from .surplus import DeviceSurplus

CAPACITY: Final = 65_536

MIN_SECONDS: Final = 1.0
"""A verdict is fresh for as long as this at least, so that a checker that says 0 is not asked without pause."""

PROVISIONAL_SECONDS: Final = 10.0
"""How long it holds that nobody answered: the checker has time to recover, and who was denied need not wait long."""


class DeviceTable:
    """At most `capacity` devices, each with its live sessions, its verdict and at most one check in flight.

    The caller does what it is told, and tells the table what comes of it:

    - a `check` is asked for once, and then not before :meth:`answer`, or :meth:`failed` with False;
    - sessions to evict are forgotten already, and a :meth:`leave` of one of them does nothing;
    - :meth:`expire` is called when :meth:`next_due` says so, which all but an ENTERED may bring forward;
    - :meth:`recheck` is called when the rules of a service have changed, and :meth:`forget` when it is no more.

    At capacity the device that has been idle longest is forgotten: known, without session and without check. If there
    is none the new one is refused, so sources that rotate cannot wash out a live one. What concerns many devices goes
    in steps, a device each; all else is O(1), but for the sessions of one device that it returns.
    """

    __slots__ = ("_checked", "_grace", "_memory", "_services", "_surplus")

    def __init__(self, grace: Grace, capacity: int = CAPACITY, *, checked: bool = True) -> None:
        """Know nobody.

        Args:
            grace: what unknown devices may do.
            capacity: devices remembered at most, and services.
            checked: there is somebody to ask. If not, every device is as good as accepted for ever, only limits
                count, and nothing is remembered of a device that is not online.
        """
        self._grace = grace
        self._checked = checked
        self._memory = DeviceMemory(grace, capacity, -inf if checked else inf)
        self._surplus = DeviceSurplus(self._memory)
        self._services = self._memory.services  # one look-up less for nearly everybody

    def __len__(self) -> int:
        """Devices remembered."""
        return len(self._memory)

    def online(self, service: str) -> int:
        """Devices of `service` with a live session."""
        found = self._services.get(service)
        return 0 if found is None else len(found.online)

    def enter(self, service: str, device: str, session: Session, now: float, rules: DeviceRules) -> DeviceEntry:
        """Let a session in at `now` seconds, under the service's `rules`, or say why not.

        It comes once, and if it is let in, it is remembered until :meth:`leave`. About 0.2 µs for a device that is
        online and fresh.
        """
        found = self._services.get(service)
        if found is not None:
            known = found.devices.get(device)
            if known is not None and known.sessions and now < known.fresh_until:  # online, so it is not refused
                known.sessions[session] = None
                return ENTERED
        return self._enter(self._memory.find_or_make(service, device), session, now, rules)

    def _enter(self, device: DeviceRecord, session: Session, now: float, rules: DeviceRules) -> DeviceEntry:
        """Judge by what is known, then by the limit; nothing moves before nothing can refuse any more."""
        service = device.service
        knowledge = device.knowledge(now, rules)
        if knowledge is UNKNOWN and device.sessions:
            knowledge = STALE  # its time is up, and `expire` is about to decide on all of its sessions
        if knowledge is IN_GRACE:
            if len(device.sessions) >= self._grace.sessions:
                return TOO_MANY_SESSIONS
        elif knowledge is UNKNOWN:
            if service.pool.devices >= self._grace.devices:
                return TOO_MANY_UNKNOWN
        elif device.refusal is not None:
            if knowledge is STALE and self._memory.begin_check(device, now):
                return attrs.evolve(device.refusal, check=True)
            return device.refusal
        crowded = not device.sessions and rules.limit is not None and len(service.online) >= rules.limit
        if crowded and rules.handover == Handover.REJECT_NEW:
            return AT_LIMIT
        if not self._memory.remember(device):
            return TABLE_FULL
        evict = self._surplus.make_room(service, now, rules) if crowded else ()
        if not device.sessions:
            service.online.come(device)
            self._memory.hold(device)
        device.sessions[session] = None
        if knowledge is FRESH:
            return DeviceEntry(ADMITTED, evict=evict) if crowded else ENTERED
        if knowledge is UNKNOWN:
            device.begin_grace(now)
            self._memory.bring_forward(device, device.grace_until)
        check = self._memory.begin_check(device, now)
        if knowledge is STALE:
            self._memory.bring_forward(device, device.usable_until(rules))
        return DeviceEntry(ADMITTED, check, device.allowance, evict)

    def leave(self, service: str, device: str, session: Session) -> None:
        """Forget a session that has ended; nothing happens if the table has forgotten it already.

        A grace goes on without sessions, and the next one gets what is left of it: it is the device's.
        """
        known = self._memory.find(service, device)
        if known is None or session not in known.sessions:
            return
        del known.sessions[session]
        if not known.sessions:
            known.service.online.go(known)
            self._memory.release(known)

    def answer(
        self, service: str, device: str, accept: bool, seconds: float, now: float, detail: str = ""
    ) -> DeviceChange:
        """Write the checker's verdict down. Sessions that waited for it go on before this returns.

        One that nobody waits for any more is remembered, if there is room. One that was asked for before a
        :meth:`recheck` is stale from the start, and the checker is to be asked again.

        Args:
            service: whose device.
            device: which.
            accept: whether it may have sessions.
            seconds: how long that is fresh; less than 1 counts as 1.
            now: seconds.
            detail: why, for people.

        Returns:
            With a denial, the live sessions of the device.
        """
        known = self._memory.find_or_make(service, device)
        if not self._memory.remember(known):
            return DeviceChange(service, device)
        wanted = bool(known.sessions) or known.allowance is not None
        if known.asked_at is None:
            known.asked_after = known.service.rechecks
        known.asked_at = None
        known.set_verdict(None if accept else DeviceEntry(DENIED, detail=detail), now + max(seconds, MIN_SECONDS))
        evict, allowance = self._conclude(known, now)
        check = wanted and known.fresh_until <= now and self._memory.begin_check(known, now)
        if allowance is not None:
            allowance.lift()
        return DeviceChange(service, device, check, evict, ADMITTED if accept else DENIED)

    def failed(self, service: str, device: str) -> bool:
        """Take note that the checker did not answer.

        Returns:
            True if somebody waits for it: ask again after a pause, during which the check counts as in flight.
            False if nobody does; the check is over.
        """
        known = self._memory.find(service, device)
        if known is None or known.asked_at is None:
            return False
        if known.sessions or known.allowance is not None:
            known.asked_after = known.service.rechecks
            return True
        known.asked_at = None
        self._memory.release(known)
        return False

    def surplus(self, service: str, rules: DeviceRules) -> Iterator[Session]:
        """Give the live sessions that :meth:`recheck` would have cut at once; whoever iterates can stop in between."""
        found = self._services.get(service)
        return iter(()) if found is None else self._surplus.foresee(found, rules)

    def sessions(self, service: str) -> Iterator[Session]:
        """Give the live sessions of its devices; whoever iterates can stop in between."""
        found = self._services.get(service)
        for device in () if found is None else found.online.oldest_first():
            yield from tuple(device.sessions)

    def recheck(self, service: str, now: float, rules: DeviceRules) -> Generator[DeviceChange | None, None, None]:
        """Let new rules hold for a service: every verdict on its devices is stale from `now` on.

        Devices online keep their sessions while they are checked again. If they are more than the limit, those too
        many go at once: the newest with ``reject_new``, which would not have let them in, and the oldest with
        ``evict_oldest``. With ``hold`` the oldest go after the hold, and those beyond twice the limit at once.

        Yields:
            What is to be done about a device, or None; a device a step, so that whoever iterates can stop in between.
        """
        found = self._services.get(service)
        if found is None:
            return
        yield from self._surplus.reduce(found, now, rules)
        if not self._checked:
            return
        found.rechecks += 1
        found.rechecked_at = now
        for device in found.online.oldest_first():
            change = None
            if device.sessions:  # it may have gone meanwhile
                device.catch_up()
                if device.fresh_until <= now and self._memory.begin_check(device, now):
                    change = DeviceChange(service, device.name, check=True)
                self._memory.bring_forward(device, device.usable_until(rules))
            yield change

    def forget(self, service: str) -> Generator[Session | None, None, None]:
        """Forget a service that is no more, all of it with the first step; the others free a device or give a session.

        One that comes back by its name begins anew, be it in between. Checks from before are the caller's to drop.

        Yields:
            Each live session, and None. One whose grace is used up will not go on any more.
        """
        for device in self._memory.clear(service):
            yield None
            yield from tuple(device.sessions)

    def next_due(self) -> float:
        """When :meth:`expire` has something to do, in seconds; infinity for never. May be early."""
        return self._memory.next_due()

    def expire(self, now: float, rules_of: Callable[[str], DeviceRules]) -> DeviceChange | None:
        """Do one thing that is due, of which there may be thousands: call again while :meth:`next_due` says so.

        Refresh the verdict of a device online, end a grace or a hold, forget what is of no use. Sessions whose grace
        ends well go on before this returns. `now` is in seconds, and `rules_of` gives the rules of a service.
        """
        item = self._memory.take_due(now)
        if isinstance(item, DeviceRecord) and self._memory.knows(item.service):
            change = self._expire(item, now, rules_of(item.service.name))
            return change if change.check or change.evict else None
        if isinstance(item, ServiceRecord) and self._memory.knows(item):
            leaves = self._surplus.settle(item, now, rules_of(item.name))
            self._memory.forget_service(item, now)
            return leaves
        return None  # dropped meanwhile, or being forgotten

    def _expire(self, device: DeviceRecord, now: float, rules: DeviceRules) -> DeviceChange:
        refresh = bool(device.sessions) and device.fresh_until <= now
        # First, for while it is young the verdict may be used.
        check = refresh and self._memory.begin_check(device, now)
        knowledge = device.knowledge(now, rules)
        evict: tuple[Session, ...] = ()
        allowance = None
        if knowledge is FRESH:
            self._memory.bring_forward(device, device.fresh_until)
        elif knowledge is STALE:
            self._memory.bring_forward(device, device.usable_until(rules))
        elif knowledge is IN_GRACE and now < device.grace_until:
            self._memory.bring_forward(device, device.grace_until)
        elif knowledge is IN_GRACE or device.sessions:
            if device.usable_until(rules) <= now:  # else there is an old verdict, which new rules make good
                refusal = None if rules.unchecked == Unchecked.FAIL_OPEN else NOT_ANSWERED
                device.set_verdict(refusal, now + PROVISIONAL_SECONDS, provisional=True)
            evict, allowance = self._conclude(device, now)
        elif device.asked_at is not None:
            self._memory.bring_forward(device, now + self._grace.seconds)  # look again when the check may have ended
        else:
            self._memory.forget(device)
        if allowance is not None:
            allowance.lift()  # last, for who goes on may end, and come back here
        cause = ADMITTED if device.refusal is None else device.refusal.admission
        return DeviceChange(device.service.name, device.name, check, evict, cause)

    def _conclude(self, device: DeviceRecord, now: float) -> tuple[tuple[Session, ...], Allowance | None]:
        """Act on a new verdict; give the sessions that must go, or the allowance that is to be lifted."""
        allowance = device.end_grace(now)
        evict = () if device.refusal is None else self._memory.take_offline(device)
        self._memory.bring_forward(device, device.fresh_until)
        self._memory.release(device)
        return evict, allowance
