"""Services out of a program's memory: for tests, and for programs that are their own control plane."""

from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import TypeAlias

import trio

from ..errors import ConfigurationError, EdgeError
from ..services.control_plane import DeviceVerdict, Link, SnapshotError
from ..services.plan import Plan
from ..services.policy import Policy, Settings
from ..services.report import Report, Usage
from ..services.snapshot import Snapshot

Check: TypeAlias = Callable[[str, str], "DeviceVerdict | bool | Awaitable[DeviceVerdict | bool]"]


class MemoryControl:
    """Services that a program puts and removes; it remembers what it was asked and told.

    Before the edge runs, changes make up the first snapshot; while it runs each holds once it returns.

    Attributes:
        checked: the device checks that were asked for, as (service, device); those that were never answered too.
        reports: the reports that came, the oldest first; those that were refused too.
        down: set it to True, and checks and reports fail as if nobody answered.
        delay: seconds before anything is answered, 0 at first.
    """

    def __init__(self, services: Mapping[str, Policy | Settings] | None = None, *, check: Check | None = None) -> None:
        """Begin with these services.

        Args:
            services: by name.
            check: says whether a service may be used by a device; may be async, and may raise, which is no answer.
                Without one every device is accepted.
        """
        self._services = {name: _settings(each) for name, each in (services or {}).items()}
        self._check = check
        self._link: Link | None = None
        self._one_at_a_time = trio.Lock()
        self._usage: dict[tuple[str, str, str, int], tuple[int, Usage]] = {}
        self.checked: list[tuple[str, str]] = []
        self.reports: list[Report] = []
        self.down = False
        self.delay = 0.0

    def __repr__(self) -> str:
        return f"MemoryControl({len(self._services)} services)"

    async def put(self, name: str, settings: Policy | Settings) -> Plan:
        """Let a service be there, or be otherwise; see :meth:`apply`."""
        return await self.apply(Snapshot({name: _settings(settings)}, full=False))

    async def remove(self, name: str) -> Plan:
        """Let a service be no more; see :meth:`apply`."""
        return await self.apply(Snapshot({}, frozenset({name}), full=False))

    async def apply(self, snapshot: Snapshot) -> Plan:
        """Let a snapshot hold. After a cancel it may or may not.

        Returns:
            What it did; nothing while no edge runs.

        Raises:
            SnapshotError: it has faults, and an edge runs. Nothing has changed.
        """
        async with self._one_at_a_time:
            plan = Plan() if self._link is None else await self._link.apply(snapshot)
            if snapshot.full:
                self._services = dict(snapshot.services)
            else:
                self._services.update(snapshot.services)
                for name in snapshot.removed:
                    self._services.pop(name, None)
            return plan

    async def run(self, link: Link, /, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Apply the services as they are, and every change from then on, until cancelled.

        Raises:
            ConfigurationError: they have faults.
        """
        async with self._one_at_a_time:
            try:
                await link.apply(Snapshot(self._services))
            except SnapshotError as error:
                raise ConfigurationError(str(error)) from None
            self._link = link
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            self._link = None

    async def check_device(self, service: str, device: str, /) -> DeviceVerdict:
        """Answer as `check` does."""
        self.checked.append((service, device))
        await self._answer()
        answer = True if self._check is None else self._check(service, device)
        if isawaitable(answer):
            answer = await answer
        return DeviceVerdict(answer) if isinstance(answer, bool) else answer

    async def report(self, report: Report, /) -> None:
        """Remember a report and acknowledge it."""
        self.reports.append(report)
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
        """Add up what was acknowledged of a service: the last word of each of its lives in each run of each edge."""
        last = [usage for _, usage in self._usage.values() if usage.service == service]
        return Usage(
            service,
            incarnation=0,
            bytes_up=sum(each.bytes_up for each in last),
            bytes_down=sum(each.bytes_down for each in last),
            opened=sum(each.opened for each in last),
            live=sum(each.live for each in last),
            sources=sum(each.sources for each in last),
        )


def _settings(settings: Policy | Settings) -> Settings:
    return Settings(settings) if isinstance(settings, Policy) else settings
