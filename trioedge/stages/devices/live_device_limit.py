"""The live device limit: its decision, and the worker that applies deadlines."""

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from functools import partial
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Final

import trio
from trio_util import AsyncBool

from ...errors import quote
from ...loop.slices import in_slices
from ...services.context import EdgeContext
from ...services.control_plane import DeviceVerdict, FollowsDevices
from ...services.device_rules import DeviceRules
from ...services.linking.device_facts import DeviceFacts
from ...services.policy import FATES, Fate, Policy, Settings
from ...services.service import Service
from ...services.snapshot import Change
from ...session.session import MAX_DEVICE_LETTERS, Session
from ...session.verdict import CONTINUE, Reason, Reject, Verdict
from ...telemetry.log import STOPS
from .answers import ADMITTED, DENIED, ENTERED, FULL, Admission, DeviceChange, DeviceEntry
from .checks import Check, DeviceChecks
from .listing import listed
from .news import DeviceNews
from .table import DeviceTable

if TYPE_CHECKING:
    from .device_limit import DeviceLimit

SPREAD: Final = 0.1
"""The maximum part of its time by which a verdict ends earlier. Each device has its own part, so that devices that were
checked at the same time are not checked again at the same time."""

REST: Final = 4
"""How many times longer than its work the worker rests when thousands of devices are due."""

FIELDS: Final = (
    "device_limit", "device_handover", "device_hold_seconds", "device_pause_seconds", "device_unchecked",
    "device_stale_seconds",
)  # fmt: skip
_RECHECKED: Final = frozenset(field for field in FIELDS if FATES[field] is Fate.RECHECK)

_REFUSALS: Final = {
    Admission.UNCHECKED: Reject(Reason.DEVICE, "the device check had no answer"),
    Admission.LIMIT: Reject(Reason.DEVICE, "as many devices as its service may have are online"),
    Admission.PAUSE: Reject(Reason.DEVICE, "another device took its place a moment ago"),
    Admission.GRACE_SESSIONS: Reject(Reason.DEVICE, "too many sessions of a device that is not checked yet"),
    Admission.GRACE_DEVICES: Reject(Reason.DEVICE, "too many devices of the service are not checked yet"),
    FULL: Reject(Reason.CAPACITY, "the device table is full"),
}


class LiveDeviceLimit:
    """The device table of one run of an edge, and what the edge does about its answers."""

    # `_rules` has the rules of services whose policies set any, by incarnation; `_otherwise` applies to the others.
    # `_news` is None, and `_moves` is always empty, unless the control plane follows devices.
    # `_due` is the deadline set in the reactor at `_tick`, infinity for none: never later than the table's next one.
    __slots__ = ("_checks", "_cut_all", "_cut_from", "_due", "_key", "_leave", "_log", "_meters", "_moves", "_news",
                 "_otherwise", "_reactor", "_rules", "_sources", "_table", "_tick", "_wakeup")  # fmt: skip

    def __init__(self, recipe: "DeviceLimit", context: EdgeContext, check: Check | None) -> None:
        """Start without devices.

        Args:
            recipe: the arguments.
            context: the running edge.
            check: the checker; None for none.
        """
        key = recipe.key
        self._key: Callable[[Session], object] | None = key if callable(key) else None
        self._sources = context.source_prefix.finer(recipe.source_bits)
        self._cut_from = self._sources.cut_from
        self._reactor, self._log, self._meters = context.reactor, context.log, context.log.meters
        control = context.control
        self._news = DeviceNews(control, context.log) if isinstance(control, FollowsDevices) else None
        moves = None if self._news is None else self._news.moves
        self._moves: Collection[object] = moves if moves is not None else ()
        self._table = DeviceTable(recipe.grace, recipe.capacity, checked=check is not None, moves=moves)
        self._meters.add_table("devices", partial(attrgetter("size"), self._table.memory), recipe.capacity)
        self._leave = self._table.leave if self._news is None else self._leave_and_tell
        self._checks = None if check is None else DeviceChecks(check, self, context.log, recipe.check_seconds)
        self._otherwise = recipe.rules
        self._rules: dict[int, DeviceRules] = {}
        self._cut_all = context.cut
        self._wakeup = AsyncBool()
        self._due, self._tick = inf, 0
        context.watch(self)
        context.judge_devices(self)

    def decide(self, session: Session) -> Verdict:
        """Admit the session of a device, or refuse it."""
        service = session.service
        if service.refusal is not None:  # removed or disabled since a stage named it
            return service.refusal
        if self._key is not None:
            device = _checked(self._key(session))
        elif len(session.source_bytes) < self._cut_from:  # an IPv4 address is its own name: no call for most sessions
            device = session.source
        else:
            device = self._sources.text(self._sources.key(session.source_bytes))
        rules = self._rules.get(service.incarnation, self._otherwise)
        entry = self._table.enter(service, device, session, session.now, rules)
        if entry is not ENTERED:
            self._arm()
            if entry.check:
                self._ask(service, device)
            self._cut(entry.evict)
            if entry.admission is not ADMITTED:
                return _refusal(entry)
            if entry.allowance is not None:
                session.allowance, self._meters.graces = entry.allowance, self._meters.graces + 1
        session.defer(partial(self._leave, service, device))
        session.device = device
        if self._moves:
            self._tell()  # the control plane may deny this very device, and then the session is being cut
        return CONTINUE

    def changed(self, service: Service, change: Change) -> Generator[None, None, None]:
        """Apply a policy, whose fields go before the arguments, in steps of one device or one session.

        If a field changed that limits their number, devices are checked again. A removed service is forgotten.
        """
        if change.after is None:
            self._rules.pop(service.incarnation, None)
            yield from self._forget(service)
            return
        rules = self._learn(service, change.after.policy)
        if not _RECHECKED.isdisjoint(change.fields):
            for each in self._table.recheck(service, self._reactor.refresh(), rules):
                if each is not None:
                    self._apply(each)
                self._tell()
                yield
            self._arm()

    def _learn(self, service: Service, policy: Policy) -> DeviceRules:
        """Keep the rules of a service, and return them."""
        rules = policy.device_rules(self._otherwise)
        if rules == self._otherwise:
            self._rules.pop(service.incarnation, None)
        else:
            self._rules[service.incarnation] = rules
        return rules

    def _forget(self, service: Service) -> Generator[None, None, None]:
        """Forget a service, and cut the sessions of its devices that moved to another one; the edge cuts its own."""
        for session in self._table.forget(service):
            if session is not None and session.service is not service:
                self._cut_all((session,), Reason.EVICTED)
            self._tell()
            yield

    def foresee(self, service: Service, after: Settings | None) -> Iterator[Session | None]:
        """Give the sessions that :meth:`changed` would cut at once, with None between."""
        rules = None if after is None else after.policy.device_rules(self._otherwise)
        for session in self._table.foresee(service, rules):
            yield None if after is None and session.service is service else session

    def answered(self, service: Service, device: str, verdict: DeviceVerdict) -> None:
        """Apply the checker's verdict to live sessions and to those that come."""
        seconds = verdict.seconds * (1 - SPREAD * _part(service.name, device))
        now = self._reactor.refresh()
        self._apply(self._table.answer(service, device, verdict.accept, seconds, now, verdict.detail))
        self._tell()
        self._arm()

    def judge(self, service: Service, device: str, verdict: DeviceVerdict) -> None:
        """Apply a verdict of the control plane that was not asked for; see :meth:`Link.judge`."""
        seconds = verdict.seconds * (1 - SPREAD * _part(service.name, device))
        now = self._reactor.refresh()
        self._apply(self._table.judge(service, device, verdict.accept, seconds, now, verdict.detail))
        self._tell()
        self._arm()

    def rules(self, service: Service | None) -> DeviceRules:
        """Return the rules that apply to a service now; see :meth:`Link.rules`."""
        return self._otherwise if service is None else self._rules.get(service.incarnation, self._otherwise)

    def online(self, service: Service) -> Sequence[str]:
        """Return the devices of a service that have a live session; see :meth:`Link.online`."""
        return self._table.online(service)

    def known(self, service: Service) -> Iterator[DeviceFacts]:
        """Return what is known of the devices of a service; see :class:`ListsDevices`."""
        owner = self._table.memory.services.get(service.incarnation)
        return listed(owner, self._reactor.refresh(), self.rules(service))

    def wanted(self, service: Service, device: str) -> bool:
        """Return whether the checker must still be asked about a device."""
        return self._table.wanted(service, device)

    def unanswered(self, service: Service, device: str) -> bool:
        """Note that the checker did not answer; True to ask again after a pause."""
        return self._table.failed(service, device)

    def _leave_and_tell(self, service: Service, device: str, session: Session) -> None:
        """Remove a session that has ended, and notify the control plane if it was the last one of its device."""
        self._table.leave(service, device, session)
        self._tell()

    def _tell(self) -> None:
        """Notify the control plane of the devices that came and went."""
        if self._moves and self._news is not None:
            self._news.tell()

    def _apply(self, change: DeviceChange) -> None:
        """Do what the table says about a device."""
        if change.evict:
            self._log.notice(
                "device cut", service=change.service.name, device=change.device, cause=change.cause.value,
                sessions=len(change.evict),
            )  # fmt: skip
            self._cut(change.evict)
        if change.check:
            self._ask(change.service, change.device)

    def _ask(self, service: Service, device: str) -> None:
        if self._checks is not None:
            self._checks.ask(service, device)

    def _cut(self, sessions: Sequence[Session]) -> None:
        """Have sessions cut: a device may have thousands of them, and each takes its time."""
        if sessions:
            self._cut_all(sessions, Reason.DEVICE)

    def _arm(self) -> None:
        """Set the table's next deadline in the reactor, if it is earlier than the one that is set."""
        due = self._table.next_due()
        if due < self._due:
            if self._due < inf:
                self._reactor.drop_deadline(self, self._tick)
            self._due, self._tick = due, self._reactor.set_deadline(self, due)

    def expire(self, now: float) -> None:  # noqa: ARG002 - the worker reads the clock itself
        """Wake the worker; the reactor calls this at the deadline."""
        self._due = inf
        self._wakeup.value = True

    def crashed(self, fault: BaseException) -> None:
        """Do nothing, because the reactor has logged the exception."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Ask the checker and apply deadlines, until cancelled."""
        async with trio.open_nursery() as nursery:
            if self._checks is not None:
                await nursery.start(self._checks.run)
            task_status.started()
            while True:
                await self._wakeup.wait_value(True)
                self._wakeup.value = False
                try:
                    await in_slices(self._catch_up(), rest=REST)
                except STOPS:
                    raise
                except BaseException as fault:
                    self._log.fault("device limit failed", fault)
                    self._wakeup.value = True  # more may be due behind it
                self._arm()

    def _catch_up(self) -> Generator[None, None, None]:
        """Apply every deadline that has passed, one a step."""
        while self._table.next_due() <= (now := self._reactor.refresh()):
            change = self._table.expire(now, self.rules)
            if change is not None:
                self._apply(change)
            self._tell()
            yield


def _checked(device: object) -> str:
    """Refuse the result of a user's key function that is no device, before the table remembers it."""
    if not isinstance(device, str) or len(device) > MAX_DEVICE_LETTERS:
        raise TypeError(f"DeviceLimit(key=…) returned {quote(device)}: a device is text of at most 255 letters")
    return device if type(device) is str else str.__str__(device)


def _refusal(entry: DeviceEntry) -> Reject:
    if entry.admission is DENIED:
        return Reject(Reason.DEVICE, entry.detail or "denied")
    return _REFUSALS[entry.admission]


def _part(service: str, device: str) -> float:
    """Return a number from 0 to below 1 that is always the same for a device in this process."""
    return hash((service, device)) % 1024 / 1024
