"""How many devices may use a service, and which: answered from memory, checked in the background."""

import socket
from collections.abc import Callable, Iterator
from functools import partial
from math import inf
from typing import Final, Literal

import attrs
import trio

from ..core.bounds import check_choice, check_count, check_number
from ..core.device_answers import ADMITTED, DENIED, ENTERED, FULL, Admission
from ..core.device_answers import Change as DeviceChange
from ..core.device_rules import DeviceRules, Handover, Unchecked
from ..core.device_table import CAPACITY, DeviceTable
from ..core.errors import ConfigurationError
from ..core.grace import Grace
from ..core.policy import FATES, Fate, Settings
from ..core.services import Change, Service
from ..core.session import Session
from ..core.verdict import CONTINUE, Reason, Reject, Verdict
from ..runtime.control_plane import ChecksDevices, DeviceVerdict
from ..runtime.device_checks import Check, DeviceChecks
from ..runtime.ground import Ground

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
    accepted and only their number counts. The policy of a service goes before the arguments. 2 µs for a device that
    is known and online, some 5 µs for a new one.
    """

    needs = ("service",)
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
            check: an async function of service and device that gives a :class:`DeviceVerdict`.
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
        if check is not None and not callable(check):
            raise ConfigurationError(f"DeviceLimit(check={check!r}) must be an async function of service and device")
        self._rules = DeviceRules(devices, Handover(handover), hold_seconds, Unchecked(unchecked), stale_seconds)
        self._key: Callable[[Session], str] | None = None if key == "source" else _network if key == "network" else key
        self._check = check
        self._grace = grace
        self._check_seconds = check_seconds
        self._capacity = capacity
        self._checks: DeviceChecks | None = None
        said = {"devices": devices, "key": key if isinstance(key, str) else getattr(key, "__name__", "…")}
        self._text = (
            f"DeviceLimit({', '.join(f'{name}={value!r}' for name, value in said.items() if value is not None)})"
        )

    def __repr__(self) -> str:
        return self._text

    def bind(self, ground: Ground) -> None:
        """Belong to the edge that begins to serve; nothing is known of any device."""
        check = self._check
        if check is None and isinstance(ground.control, ChecksDevices):
            check = ground.control.check_device
        self._services = ground.services
        self._reactor = ground.reactor
        self._observer = ground.observer
        self._table = DeviceTable(self._grace, self._capacity, checked=check is not None)
        self._checks = None if check is None else DeviceChecks(check, self, ground.observer, self._check_seconds)
        self._armed = inf
        ground.services.watch(self)

    def decide(self, session: Session) -> Verdict:
        """Let the session's device in, or refuse."""
        name = session.service
        service = self._services.find(name)
        if service is None:
            return self._services.refusal(name)
        device = session.source if self._key is None else self._key(session)
        now = session.started_at if session.scope is None else self._reactor.refresh()  # a handshake takes its time
        rules = self._rules_of(service)
        entry = self._table.enter(name, device, session, now, rules)
        if entry is not ENTERED or rules.handover == Handover.HOLD:  # a hold may have begun
            self._arm()
        if entry is not ENTERED:
            if entry.check:
                self._ask(name, device)
            for each in entry.evict:
                each.cut(Reason.DEVICE)
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

    def _rules_of(self, service: Service | None) -> DeviceRules:
        return self._rules if service is None else self._complete(service.device_rules)

    def _complete(self, rules: DeviceRules) -> DeviceRules:
        """Put the stage's own words where a policy says nothing."""
        if rules.limit is not None:
            return rules
        if rules == _NO_RULES:
            return self._rules
        return rules if self._rules.limit is None else attrs.evolve(rules, limit=self._rules.limit)

    def changed(self, service: Service, change: Change) -> Iterator[None]:
        """A policy says something else of how many there may be: devices online are judged again, one a step."""
        if change.after is not None and not _RECHECKED.isdisjoint(change.fields):
            rules = self._rules_of(service)
            for each in self._table.recheck(service.name, self._reactor.refresh(), rules):
                if each is not None:
                    self._carry_out(each)
                yield
            self._arm()

    def foresee(self, service: Service, after: Settings) -> Iterator[Session]:
        """Give the sessions of devices that would be too many."""
        return self._table.surplus(service.name, self._complete(after.policy.device_rules))

    def answered(self, service: str, device: str, verdict: DeviceVerdict) -> None:
        """The checker has spoken: its word holds now, for sessions that live and for those to come."""
        now = self._reactor.refresh()
        change = self._table.answer(service, device, verdict.accept, verdict.seconds, now, verdict.detail)
        self._carry_out(change)
        self._arm()

    def unanswered(self, service: str, device: str) -> bool:
        """The checker has not spoken."""
        return self._table.failed(service, device)

    def expire(self, now: float) -> None:
        """A grace, a hold or a verdict has run out."""
        self._armed = inf
        for change in self._table.expire(now, lambda name: self._rules_of(self._services.get(name))):
            self._carry_out(change)
        self._arm()

    def crashed(self, fault: Exception) -> None:  # noqa: ARG002 - the reactor's shape
        """What is due is looked at again a little later."""
        self._arm()

    def _carry_out(self, change: DeviceChange) -> None:
        if change.evict:
            self._observer.notice(
                "device cut", service=change.service, device=change.device, cause=change.cause.value,
                sessions=len(change.evict),
            )  # fmt: skip
        for session in change.evict:
            session.cut(Reason.DEVICE)
        if change.check:
            self._ask(change.service, change.device)

    def _ask(self, service: str, device: str) -> None:
        if self._checks is not None:
            self._checks.ask(service, device)

    def _arm(self) -> None:
        """Have the reactor call when the table has something to do."""
        due = self._table.next_due()
        if due < self._armed:
            self._armed = due
            self._reactor.set_deadline(self, due)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Ask the checker what there is to ask."""
        if self._checks is None:
            task_status.started()
        else:
            await self._checks.run(task_status=task_status)


_NO_RULES: Final = DeviceRules()


def _network(session: Session) -> str:
    """Give an IPv6 client's /64, which is one household's, and any other client's address."""
    packed = session.source_bytes
    if len(packed) != 16:
        return session.source
    return socket.inet_ntop(socket.AF_INET6, packed[:8] + bytes(8)) + "/64"
