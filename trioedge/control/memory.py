"""MemoryControl: a control plane in memory, for tests and for programs that set policies themselves."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from inspect import isawaitable
from typing import Final, TypeAlias, TypeVar

import trio

from ..errors import ConfigurationError, EdgeError, quote
from ..services.applying.turn import Turn
from ..services.control_plane import DeviceVerdict, Link, SnapshotError
from ..services.policy import Policy, Settings
from ..services.report import Report, Usage
from ..services.services import name_fault
from ..services.snapshot import Plan, Snapshot

T = TypeVar("T")
Check: TypeAlias = Callable[[str, str], "DeviceVerdict | bool | Awaitable[DeviceVerdict | bool]"]

MAX_REMEMBERED: Final = 10_000
"""Device checks, and reports, that are remembered; of more, the oldest are forgotten."""

_EXAMPLE: Final = "{'shop': Policy(session_rate=20)}"
_SETTINGS_EXAMPLE: Final = "{'shop': Settings(Policy(session_rate=20))}"


class MemoryControl:
    """A control plane in memory: the program puts and removes services, and reads which checks and reports came.

    While no edge runs, changes collect for the first snapshot. While edges run, a change is in force on all of them
    when the call returns. One object may serve several edges at once.

    Attributes:
        checked: the last 10,000 device checks as (service, device), the oldest first, with or without an answer.
        reports: the last 10,000 reports, the oldest first, refused ones included.
        down: while True, checks and reports fail as if the control plane did not answer.
        delay: seconds before a check or a report is answered; 0 by default.
    """

    def __init__(self, services: Mapping[str, Policy | Settings] | None = None, *, check: Check | None = None) -> None:
        """Start with these services.

        Args:
            services: policies or settings by service name.
            check: called with service and device; returns whether the device may use the service. It may be async, and
                an exception counts as no answer. Without one every device is accepted.

        Raises:
            ConfigurationError: ``MemoryControl(5) must be policies by name, as in {'shop': Policy(session_rate=20)}``.
        """
        services = {} if services is None else services
        if not isinstance(services, Mapping):
            raise ConfigurationError(f"MemoryControl({quote(services)}) must be policies by name, as in {_EXAMPLE}")
        if check is not None and not callable(check):
            raise ConfigurationError(f"MemoryControl(check={quote(check)}) must be a function of service and device")
        self._services = {name: _settings(name, each) for name, each in services.items()}
        self._check = check
        self._links: list[Link] = []
        """Of the edges that run now; each has applied `_services`."""
        self._one_at_a_time = trio.Lock()
        """Of those that give the links a snapshot."""
        self._under_way = 0
        """Snapshots that the links are given, or are applying."""
        self._ended = trio.Event()
        self._usage: dict[tuple[str, str, str, int], tuple[int, Usage]] = {}
        """The newest usage and its report's sequence, by edge, epoch, service and incarnation."""
        self.checked: list[tuple[str, str]] = []
        self.reports: list[Report] = []
        self.down = False
        self.delay = 0.0

    def __repr__(self) -> str:
        return f"MemoryControl({len(self._services)} services)"

    async def put(self, name: str, settings: Policy | Settings) -> Plan:
        """Add a service, or replace its settings; see :meth:`apply`.

        Raises:
            ConfigurationError: `name` cannot be a name, or `settings` are something else.
        """
        return await self.apply(Snapshot({name: _settings(name, settings)}, full=False))

    async def remove(self, name: str) -> Plan:
        """Remove a service; see :meth:`apply`.

        Raises:
            ConfigurationError: `name` is no text.
        """
        if not isinstance(name, str):
            raise ConfigurationError(f"MemoryControl.remove({quote(name)}) must be the name of a service, as in 'shop'")
        return await self.apply(Snapshot({}, frozenset({name}), full=False))

    async def apply(self, snapshot: Snapshot) -> Plan:
        """Apply a snapshot to every edge that runs, and keep it for edges that start later.

        May be called again before an earlier call has returned: an edge applies at once what a snapshot takes away, and
        the rest in the order of the calls. After a cancel some of the edges may have applied it; edges that start later
        do not get it.

        Returns:
            The plan of all edges together; an empty plan while no edge runs.

        Raises:
            ConfigurationError: `snapshot` is something else.
            SnapshotError: an edge refuses the snapshot. All edges check alike, so as a rule all refuse it; `applied` of
                the error has been taken away all the same, also from edges that start later. If not all do, the last
                fault says how many edges have applied it, and these keep it.
        """
        if not isinstance(snapshot, Snapshot):
            like = f"Snapshot({_SETTINGS_EXAMPLE})"
            raise ConfigurationError(f"MemoryControl.apply({quote(snapshot)}) must be a Snapshot, as in {like}")
        plans: list[Plan] = []
        refusals: list[SnapshotError] = []

        async def give(link: Link, *, task_status: trio.TaskStatus[None]) -> None:
            task_status.started()  # the link has the snapshot before the next task runs, so calls stay in order
            try:
                plans.append(await link.apply(snapshot))
            except SnapshotError as error:
                refusals.append(error)

        with ExitStack() as until_applied:
            async with trio.open_nursery() as nursery, self._one_at_a_time:
                until_applied.enter_context(self._changing())
                for link in tuple(self._links):
                    if link in self._links:  # its edge has not stopped meanwhile
                        await nursery.start(give, link)
        if refusals:
            self._take_away(snapshot, refusals[0].applied)
            if not plans:
                raise refusals[0]
            applied = f"edges that have applied it: {len(plans)}"
            raise SnapshotError([*refusals[0].faults, applied], refusals[0].applied)
        if snapshot.full:
            self._services = dict(snapshot.services)
        else:
            self._services.update(snapshot.services)
            for name in snapshot.removed:
                self._services.pop(name, None)
        return plans[0] if len(plans) == 1 else _together(plans)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Count a snapshot as under way while the block lasts."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._ended.set()
            self._ended = trio.Event()

    def _take_away(self, snapshot: Snapshot, applied: Plan) -> None:
        """Keep what edges have applied of a snapshot that they refused."""
        turn = Turn(snapshot)
        for name in applied.removed:
            self._services.pop(name, None)
        for name in applied.changed:
            left = turn.leaves(name, self._services[name]) if name in self._services else None
            if left is not None:
                self._services[name] = left

    async def run(self, link: Link, /, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Apply the services, and every change from then on, until cancelled; then the link is told nothing more.

        Raises:
            ConfigurationError: the edge refuses the first snapshot.
        """
        async with self._one_at_a_time:
            while self._under_way:
                await self._ended.wait()  # other edges apply a snapshot that is not in `_services` yet
            try:
                await link.apply(Snapshot(dict(self._services)))
            except SnapshotError as error:
                raise ConfigurationError(str(error)) from None
            self._links.append(link)
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            self._links.remove(link)

    def judge(self, service: str, device: str, verdict: DeviceVerdict | bool) -> None:
        """Accept or deny a device on every edge that runs now, without being asked; see :meth:`Link.judge`.

        A bool is a verdict for 60 s. Edges that start later ask `check`.

        Raises:
            ConfigurationError: an edge has no :class:`DeviceLimit`, or an argument has a fault.
        """
        judged = DeviceVerdict(verdict) if isinstance(verdict, bool) else verdict
        for link in tuple(self._links):
            link.judge(service, device, judged)

    async def check_device(self, service: str, device: str, /) -> DeviceVerdict:
        """Answer with the result of `check`."""
        _remember(self.checked, (service, device))
        await self._answer()
        answer = True if self._check is None else self._check(service, device)
        if isawaitable(answer):
            answer = await answer
        return DeviceVerdict(answer) if isinstance(answer, bool) else answer

    async def report(self, report: Report, /) -> None:
        """Remember a report and acknowledge it."""
        _remember(self.reports, report)
        await self._answer()
        for usage in report.services:
            key = report.edge, report.epoch, usage.service, usage.incarnation
            if key not in self._usage or self._usage[key][0] < report.sequence:
                self._usage[key] = report.sequence, usage

    async def _answer(self) -> None:
        await trio.sleep(self.delay)
        if self.down:
            raise EdgeError("the control plane is down")

    def totals(self, service: str) -> Usage:
        """Add up the acknowledged usage of a service: the newest of each incarnation in each run of each edge."""
        last = [usage for _, usage in self._usage.values() if usage.service == service]
        return Usage(
            service,
            incarnation=0,
            bytes_up=sum(each.bytes_up for each in last),
            bytes_down=sum(each.bytes_down for each in last),
            opened=sum(each.opened for each in last),
            live=sum(each.live for each in last),
            sources=sum(each.sources for each in last),
            listen_errors=tuple(error for each in last for error in each.listen_errors),
        )


def _settings(name: str, settings: Policy | Settings) -> Settings:
    """Return the settings of a service, whose fields are checked when an edge applies them."""
    if wrong := name_fault(name):
        raise ConfigurationError(f"MemoryControl: services.{quote(name)}: {wrong}")
    if isinstance(settings, Policy):
        return Settings(settings)
    if isinstance(settings, Settings):
        return settings
    wanted = "must be a Policy or Settings, as in Policy(session_rate=20)"
    raise ConfigurationError(f"MemoryControl: services.{name} = {quote(settings)} {wanted}")


def _remember(past: list[T], new: T) -> None:
    past.append(new)
    if len(past) > MAX_REMEMBERED:
        del past[0]


def _together(plans: list[Plan]) -> Plan:
    """Join the plans of several edges: every name once, the numbers of sessions added up."""
    changed: dict[str, tuple[str, ...]] = {}
    for plan in plans:
        changed |= plan.changed
    return Plan(
        added=tuple(dict.fromkeys(name for plan in plans for name in plan.added)),
        changed=changed,
        removed=tuple(dict.fromkeys(name for plan in plans for name in plan.removed)),
        retuned=sum(plan.retuned for plan in plans),
        rechecked=sum(plan.rechecked for plan in plans),
        evicted=sum(plan.evicted for plan in plans),
    )
