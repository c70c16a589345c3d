"""The live device limit: its decision, and the worker that asks the checker and cuts sessions."""

import socket
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

import trio
from trio_util import AsyncBool

from ...loop.slices import in_slices
from ...services.context import EdgeContext
from ...services.control_plane import ChecksDevices, DeviceVerdict
from ...services.device_rules import DeviceRules, Handover
from ...services.policy import FATES, Fate, Settings
from ...services.service import Service
from ...services.snapshot import Change
from ...session.session import MAX_DEVICE_LETTERS, Session
from ...session.verdict import CONTINUE, Reason, Reject, Verdict
from .answers import ADMITTED, DENIED, ENTERED, FULL, Admission, DeviceChange
from .checks import DeviceChecks
from .table import DeviceTable

if TYPE_CHECKING:
    from .device_limit import DeviceLimit

SPREAD: Final = 0.1
"""The part of its time by which a verdict ends earlier, more or less, device by device, so that devices that were
checked at once are not all due again at once."""

MAX_DETAIL_LETTERS: Final = 300
"""Of a verdict's detail, which is remembered with its device."""

REST: Final = 4
"""How many times longer than its work the worker rests, when thousands of devices are due or sessions are to be cut."""

FIELDS: Final = (
    "device_limit", "device_handover", "device_hold_seconds", "device_unchecked", "device_stale_seconds",
)  # fmt: skip
_RECHECKED: Final = frozenset(field for field in FIELDS if FATES[field] is Fate.RECHECK)

_REFUSALS: Final = {
    Admission.UNCHECKED: Reject(Reason.DEVICE, "the device check had no answer"),
    Admission.LIMIT: Reject(Reason.DEVICE, "as many devices as its service may have are online"),
    Admission.GRACE_SESSIONS: Reject(Reason.DEVICE, "too many sessions of a device that is not checked yet"),
    Admission.GRACE_DEVICES: Reject(Reason.DEVICE, "too many devices of the service are not checked yet"),
    FULL: Reject(Reason.CAPACITY, "the device table is full"),
}


class LiveDeviceLimit:
    """The device table of one run of an edge, and what the edge does about its answers."""

    def __init__(self, recipe: "DeviceLimit", context: EdgeContext) -> None:
        """Know no device.

        Args:
            recipe: the arguments.
            context: the running edge; its control plane is the checker if it checks devices and the recipe has none.
        """
        check = recipe.check
        if check is None and isinstance(context.control, ChecksDevices):
            check = context.control.check_device
        self._rules = recipe.rules
        key = recipe.key
        self._key: Callable[[Session], str] | None = None if key == "source" else _network if key == "network" else key
        self._reactor = context.reactor
        self._log = context.log
        self._table = DeviceTable(recipe.grace, recipe.capacity, checked=check is not None)
        self._checks = None if check is None else DeviceChecks(check, self, context.log, recipe.check_seconds)
        self._rules_by_service: dict[str, DeviceRules] = {}  # of services whose policy says anything of devices
        self._condemned: deque[Session] = deque()
        self._wakeup = AsyncBool()
        self._due, self._tick = inf, 0  # the deadline that is set in the reactor
        context.watch(self)

    def decide(self, session: Session) -> Verdict:
        """Let the session's device in, or refuse."""
        name = session.service.name
        device = session.source if self._key is None else _checked(self._key(session))
        rules = self._rules_by_service.get(name, self._rules)
        entry = self._table.enter(name, device, session, session.now, rules)
        if entry is not ENTERED or rules.handover == Handover.HOLD:  # a hold may have begun
            self._arm()
        if entry is not ENTERED:
            if entry.check:
                self._ask(name, device)
            self._condemn(entry.evict)
            if entry.admission is not ADMITTED:
                if entry.admission is DENIED:
                    return Reject(Reason.DEVICE, entry.detail or "denied")
                return _REFUSALS[entry.admission]
            session.allowance = entry.allowance
        session.defer(partial(self._leave, name, device))
        session.device = device
        return CONTINUE

    def _leave(self, service: str, device: str, session: Session) -> None:
        self._table.leave(service, device, session)

    def _rules_of(self, name: str) -> DeviceRules:
        return self._rules_by_service.get(name, self._rules)

    def changed(self, service: Service, change: Change) -> Generator[None, None, None]:
        """Apply a policy: it goes before the arguments, field by field. A device or a session a step.

        Devices are judged again if the change is about their number. Nothing is remembered of a removed service.
        """
        name = service.name
        rules = self._rules if change.after is None else change.after.policy.device_rules(self._rules)
        if rules == self._rules:
            self._rules_by_service.pop(name, None)
        else:
            self._rules_by_service[name] = rules
        if change.after is None:
            yield from self._forget(name)
        elif not _RECHECKED.isdisjoint(change.fields):
            for each in self._table.recheck(name, self._reactor.refresh(), rules):
                if each is not None:
                    self._carry_out(each)
                    yield from self._cut()
                yield
            self._arm()

    def _forget(self, name: str) -> Generator[None, None, None]:
        """Forget a service; the snapshot cuts its sessions, but those that moved to another service are cut here."""
        if self._checks is not None:
            self._checks.forget(name)
        for session in self._table.forget(name):
            if session is not None and session.service.name != name:
                session.cut(Reason.EVICTED)
            yield

    def foresee(self, service: Service, after: Settings | None) -> Iterator[Session | None]:
        """Give the sessions of devices that would be too many, or those that :meth:`_forget` would cut."""
        if after is not None:
            yield from self._table.surplus(service.name, after.policy.device_rules(self._rules))
        else:
            for session in self._table.sessions(service.name):
                yield session if session.service is not service else None

    def answered(self, service: str, device: str, verdict: DeviceVerdict) -> None:
        """Apply the checker's verdict, to live sessions and to those to come."""
        now = self._reactor.refresh()
        seconds = float(verdict.seconds) * (1 - SPREAD * _part(service, device))
        detail = str(verdict.detail or "")[:MAX_DETAIL_LETTERS]
        self._carry_out(self._table.answer(service, device, verdict.accept, seconds, now, detail))
        self._arm()

    def unanswered(self, service: str, device: str) -> bool:
        """Take note that the checker did not answer; True to ask again after a pause."""
        return self._table.failed(service, device)

    def _carry_out(self, change: DeviceChange) -> None:
        if change.evict:
            self._log.notice(
                "device cut", service=change.service, device=change.device, cause=change.cause.value,
                sessions=len(change.evict),
            )  # fmt: skip
            self._condemn(change.evict)
        if change.check:
            self._ask(change.service, change.device)

    def _ask(self, service: str, device: str) -> None:
        if self._checks is not None:
            self._checks.ask(service, device)

    def _condemn(self, sessions: Iterable[Session]) -> None:
        """Have the worker cut sessions soon: a device may have thousands, and each takes its time."""
        if sessions:
            self._condemned.extend(sessions)
            self._wakeup.value = True

    def _cut(self) -> Generator[None, None, None]:
        while self._condemned:
            self._condemned.popleft().cut(Reason.DEVICE)
            yield

    def _arm(self) -> None:
        """Have the reactor call :meth:`expire` when the table has something to do."""
        due = self._table.next_due()
        if due < self._due:
            if self._due < inf:
                self._reactor.drop_deadline(self, self._tick)
            self._due, self._tick = due, self._reactor.set_deadline(self, due)

    def expire(self, now: float) -> None:  # noqa: ARG002 - the worker reads the clock itself
        """Wake the worker; the reactor calls this at the deadline."""
        self._due = inf
        self._wakeup.value = True

    def crashed(self, fault: Exception) -> None:
        """Do nothing: the reactor has logged it."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Ask the checker, apply deadlines and cut condemned sessions, until cancelled."""
        async with trio.open_nursery() as nursery:
            if self._checks is not None:
                await nursery.start(self._checks.run)
            task_status.started()
            while True:
                await self._wakeup.wait_value(True)
                self._wakeup.value = False
                try:
                    await in_slices(self._catch_up(), rest=REST)
                except Exception as fault:
                    self._log.fault("device limit failed", fault)
                    self._wakeup.value = True  # because of those behind it
                self._arm()

    def _catch_up(self) -> Generator[None, None, None]:
        """Apply every deadline that has passed, one a step; condemned sessions are cut before the next one."""
        yield from self._cut()
        while self._table.next_due() <= (now := self._reactor.refresh()):
            change = self._table.expire(now, self._rules_of)
            if change is not None:
                self._carry_out(change)
            yield
            yield from self._cut()


def _checked(device: object) -> str:
    """Refuse what a user's key function gave if it is no device, before the table knows it."""
    if not isinstance(device, str) or len(device) > MAX_DEVICE_LETTERS:
        raise TypeError(f"DeviceLimit(key=…) returned {device!r:.100}: a device is text of at most 255 letters")
    return device


def _part(service: str, device: str) -> float:
    """Give a number below 1 that is the device's own, in this process."""
    return hash((service, device)) % 1024 / 1024


def _network(session: Session) -> str:
    """Give an IPv6 client's /64, which is one household's, and any other client's address."""
    packed = session.source_bytes
    if len(packed) != 16:
        return session.source
    return socket.inet_ntop(socket.AF_INET6, packed[:8] + bytes(8)) + "/64"
