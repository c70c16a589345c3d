"""How many devices may use a service, and which: answered from memory, checked in the background."""

import socket
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Final, Literal

import trio
from trio_util import AsyncBool

from ...arguments import check_choice, check_count, check_number
from ...errors import ConfigurationError
from ...loop.slices import in_slices
from ...services.context import EdgeContext
from ...services.control_plane import ChecksDevices, DeviceVerdict
from ...services.device_rules import DeviceRules, Handover, Unchecked
from ...services.policy import FATES, Fate, Settings
from ...services.services import Change, Service
from ...session.session import Session
from ...session.verdict import CONTINUE, Reason, Reject, Verdict
from .answers import ADMITTED, DENIED, ENTERED, FULL, Admission, DeviceChange
from .checks import Check, DeviceChecks, is_check
from .grace import Grace
from .table import CAPACITY, DeviceTable

SPREAD: Final = 0.1
"""The part of its time by which a verdict ends earlier, more or less, device by device: those that were checked at
once are not all due again at once."""

MAX_DETAIL_LETTERS: Final = 300
"""Of what a verdict says for people, which is remembered with its device."""

REST: Final = 4
"""How many times longer than its work the worker rests, when thousands of devices are due or sessions are to go."""

_REFUSALS: Final = {
    Admission.UNCHECKED: Reject(Reason.DEVICE, "nobody answered the device check"),
    Admission.LIMIT: Reject(Reason.DEVICE, "as many devices as its service may have are online"),
    Admission.GRACE_SESSIONS: Reject(Reason.DEVICE, "too many sessions of a device that is not checked yet"),
    Admission.GRACE_DEVICES: Reject(Reason.DEVICE, "too many devices of the service are not checked yet"),
    FULL: Reject(Reason.CAPACITY, "the device table is full"),
}
_FIELDS: Final = (
    "device_limit", "device_handover", "device_hold_seconds", "device_unchecked", "device_stale_seconds",
)  # fmt: skip
_RECHECKED: Final = frozenset(field for field in _FIELDS if FATES[field] is Fate.RECHECK)


class DeviceLimit:
    """Admit devices that the checker accepts, and at most so many of each service; refuse with reason ``device``.

    A device is a source address, unless you say otherwise. Nobody waits for the checker: a verdict that is fresh is
    used; one that is stale is used while it is asked for anew; a device that is unknown gets in with a grace, so long,
    so many sessions and so many bytes, while it is asked about once, however many sessions it opens. A denial
    cuts exactly its sessions. A session whose grace is used up pauses until the answer. Seed, layer three.

    The checker is `check`, or the edge's control plane if that checks devices; without either, every device is
    accepted and only their number counts. The policy of a service goes before the arguments, field by field. 2 µs for a
    device that is known and online, some 5 µs for a new one.

    A verdict is fresh for 90 to 100 % of its seconds, each device for a part of its own. A service that is no more is
    forgotten with all that was known of its devices.
    """

    requires = ("service",)
    enforces = _FIELDS

    def __init__(
        self,
        devices: int | None = None,
        key: Literal["source", "network"] | Callable[[Session], str] = "source",
        *,
        check: Check | None = None,
        handover: str = Handover.REJECT_NEW,
        hold_seconds: float = 30.0,
        unchecked: str = Unchecked.STALE_FOR,
        stale_seconds: float = 300.0,
        grace: Grace = Grace(),  # noqa: B008 - frozen
        check_seconds: float = 3.0,
        capacity: int = CAPACITY,
    ) -> None:
        """Set the limit.

        Args:
            devices: online at once, of each service whose policy says no number; None for no limit.
            key: what a device is: a ``source`` address; a ``network``, which is the address or the /64 of an IPv6
                address; or a function of the session that answers from memory.
            check: an async function of service and device that gives a :class:`DeviceVerdict`, or an object that is
                called like one.
            handover: when one device too many comes: ``reject_new``; ``evict_oldest`` cuts the device that came first;
                ``hold`` does so `hold_seconds` later.
            hold_seconds: as that says, at least 0.
            unchecked: when the checker does not answer within the grace: ``fail_open``, ``fail_closed``, or
                ``stale_for``, which uses the verdict of before for `stale_seconds` and denies the unknown.
            stale_seconds: as that says, at least 0.
            grace: what an unknown device may do meanwhile.
            check_seconds: the deadline of one check, above 0; a failed one is repeated while somebody waits.
            capacity: devices remembered, 65,536 by default. At the bound those longest offline are forgotten; where
                none is, a new one is refused with reason ``capacity``.

        Raises:
            ConfigurationError: names the argument and what is wrong with it.
        """
        if devices is not None:
            check_count("DeviceLimit", "devices", devices)
        if not callable(key):
            check_choice("DeviceLimit", "key", key, ("source", "network"))
        check_choice("DeviceLimit", "handover", handover, tuple(map(str, Handover)))
        check_number("DeviceLimit", "hold_seconds", hold_seconds)
        check_choice("DeviceLimit", "unchecked", unchecked, tuple(map(str, Unchecked)))
        check_number("DeviceLimit", "stale_seconds", stale_seconds)
        check_number("DeviceLimit", "check_seconds", check_seconds, above=0)
        check_count("DeviceLimit", "capacity", capacity)
        if not isinstance(grace, Grace):
            raise ConfigurationError(f"DeviceLimit(grace={grace!r}) must be a Grace, as in Grace(seconds=5)")
        if check is not None and not is_check(check):
            raise ConfigurationError(
                f"DeviceLimit(check={check!r}) must be an async function: async def check(service, device)"
            )
        self._rules = DeviceRules(devices, Handover(handover), hold_seconds, Unchecked(unchecked), stale_seconds)
        self._key: Callable[[Session], str] | None = None if key == "source" else _network if key == "network" else key
        self._check = check
        self._grace = grace
        self._check_seconds = check_seconds
        self._capacity = capacity
        self._checks: DeviceChecks | None = None
        said = {
            "devices": devices,
            "key": key if isinstance(key, str) else getattr(key, "__name__", "…"),
            "check": None if check is None else getattr(check, "__name__", "…"),
            "handover": None if handover == Handover.REJECT_NEW else str(handover),
            "unchecked": None if unchecked == Unchecked.STALE_FOR else str(unchecked),
            "grace": None if grace == Grace() else grace,
        }
        self._text = (
            f"DeviceLimit({', '.join(f'{name}={value!r}' for name, value in said.items() if value is not None)})"
        )

    def __repr__(self) -> str:
        return self._text

    def bind(self, context: EdgeContext) -> None:
        """Belong to the edge that begins to serve; nothing is known of any device."""
        check = self._check
        if check is None and isinstance(context.control, ChecksDevices):
            check = context.control.check_device
        self._services = context.services
        self._reactor = context.reactor
        self._observer = context.observer
        self._table = DeviceTable(self._grace, self._capacity, checked=check is not None)
        self._checks = None if check is None else DeviceChecks(check, self, context.observer, self._check_seconds)
        self._rules_by_policy: dict[str, DeviceRules] = {}  # of services whose policy says anything of devices
        self._condemned: deque[Session] = deque()
        self._wakeup, self._timer = AsyncBool(), trio.CancelScope()
        context.services.watch(self)

    def decide(self, session: Session) -> Verdict:
        """Let the session's device in, or refuse."""
        name = session.service
        service = self._services.find(name)
        if service is None:
            return self._services.refusal(name)
        device = session.source if self._key is None else self._key(session)
        now = session.started_at if session.scope is None else self._reactor.refresh()  # a handshake takes its time
        rules = self._rules_by_policy.get(name, self._rules)
        entry = self._table.enter(name, device, session, now, rules)
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
        session.device = device
        session.defer(partial(self._leave, name, device))
        return CONTINUE

    def _leave(self, service: str, device: str, session: Session) -> None:
        self._table.leave(service, device, session)

    def _rules_of(self, name: str) -> DeviceRules:
        return self._rules_by_policy.get(name, self._rules)

    def changed(self, service: Service, change: Change) -> Generator[None, None, None]:
        """A policy goes before the arguments, field by field; devices are judged again if it is about their number.

        Of a service that is no more nothing is remembered. All of it a device or a session a step.
        """
        name = service.name
        rules = self._rules if change.after is None else change.after.policy.device_rules(self._rules)
        if rules == self._rules:
            self._rules_by_policy.pop(name, None)
        else:
            self._rules_by_policy[name] = rules
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
        """Its sessions are about to be cut, but for those that became another's since they came in: they go here."""
        if self._checks is not None:
            self._checks.forget(name)
        for session in self._table.forget(name):
            if session is not None and session.service != name:
                session.cut(Reason.EVICTED)
            yield

    def foresee(self, service: Service, after: Settings | None) -> Iterator[Session | None]:
        """Give the sessions of devices that would be too many, or those that :meth:`_forget` would cut."""
        if after is not None:
            yield from self._table.surplus(service.name, after.policy.device_rules(self._rules))
        else:
            for session in self._table.sessions(service.name):
                yield session if session.service != service.name else None

    def answered(self, service: str, device: str, verdict: DeviceVerdict) -> None:
        """The checker has spoken: its word holds now, for sessions that live and for those to come."""
        now = self._reactor.refresh()
        seconds = float(verdict.seconds) * (1 - SPREAD * _part(service, device))
        detail = str(verdict.detail or "")[:MAX_DETAIL_LETTERS]
        self._carry_out(self._table.answer(service, device, verdict.accept, seconds, now, detail))
        self._arm()

    def unanswered(self, service: str, device: str) -> bool:
        """The checker has not spoken."""
        return self._table.failed(service, device)

    def _carry_out(self, change: DeviceChange) -> None:
        if change.evict:
            self._observer.notice(
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
        """Have sessions cut by the worker, presently: a device may have thousands, and each takes its time."""
        if sessions:
            self._condemned.extend(sessions)
            self._wakeup.value = True

    def _cut(self) -> Generator[None, None, None]:
        while self._condemned:
            self._condemned.popleft().cut(Reason.DEVICE)
            yield

    def _arm(self) -> None:
        """Have the worker look when the table has something to do."""
        due = self._table.next_due()
        if due < self._timer.deadline:
            self._timer.deadline = due

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Ask the checker what there is to ask, end what has run out, and cut who must go, until cancelled."""
        async with trio.open_nursery() as nursery:
            if self._checks is not None:
                await nursery.start(self._checks.run)
            task_status.started()
            while True:
                with trio.CancelScope(deadline=self._table.next_due()) as self._timer:
                    await self._wakeup.wait_value(True)
                    self._wakeup.value = False
                try:
                    await in_slices(self._catch_up(), rest=REST)
                except Exception as fault:
                    self._observer.fault("device limit failed", fault)
                    self._wakeup.value = True  # for those behind it

    def _catch_up(self) -> Generator[None, None, None]:
        """Do what is due, a grace, a hold or a verdict a step; who must go, goes before the next is looked at."""
        yield from self._cut()
        while self._table.next_due() <= (now := self._reactor.refresh()):
            change = self._table.expire(now, self._rules_of)
            if change is not None:
                self._carry_out(change)
            yield
            yield from self._cut()


def _part(service: str, device: str) -> float:
    """Give a number below 1 that is the device's own, in this process."""
    return hash((service, device)) % 1024 / 1024


def _network(session: Session) -> str:
    """Give an IPv6 client's /64, which is one household's, and any other client's address."""
    packed = session.source_bytes
    if len(packed) != 16:
        return session.source
    return socket.inet_ntop(socket.AF_INET6, packed[:8] + bytes(8)) + "/64"
