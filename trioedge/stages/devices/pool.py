"""The device limit over several workers: the one table in the control process, and the share of a worker.

In the control process each device that a worker has online has one session that stands for it. So the limit of a
service, its handover, the checks and the verdicts are those of one process. In a worker a device is unknown, and in its
grace, until the control process has judged it.

| a device in a worker is | event | action |
| --- | --- | --- |
| unknown | its first session | admit it in a grace; tell the control process, which checks it and its limit |
| in grace | accepted | lift the allowance |
| any | denied | cut its sessions, and refuse new ones while the verdict is fresh |
| any | refused, because of the limit | the same for a second; then the device is unknown |
| fresh | the verdict expires | as for a check: ask the control process |
"""

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING

import attrs

from ...services.context import EdgeContext
from ...services.control_plane import DeviceVerdict
from ...services.device_rules import DeviceRules
from ...services.policy import Policy, Settings
from ...services.service import Service
from ...services.snapshot import Change
from ...session.session import Session
from ...session.verdict import Reason
from .answers import LIMIT, DeviceChange
from .checks import Check
from .live_device_limit import LiveDeviceLimit
from .standing import DeviceStanding, refresh, standing

if TYPE_CHECKING:
    from collections.abc import Generator

    from .device_limit import DeviceLimit


class DevicePool(LiveDeviceLimit):
    """The one table. Its sessions have their device already, whatever the key of the limit."""

    __slots__ = ("_changed", "_judged")

    def __init__(
        self, recipe: "DeviceLimit", context: EdgeContext, check: Check | None,
        changed: Callable[[Service, str], object], judged: Callable[[Service, str], object],
    ) -> None:  # fmt: skip
        """Start without devices.

        Args:
            recipe: the arguments.
            context: of the edge in the control process.
            check: the checker; None for none.
            changed: called when there is another verdict on a device.
            judged: called when the control plane has judged a device without being asked.
        """
        super().__init__(recipe, context, check)
        self._key = attrgetter("device")
        self._changed, self._judged = changed, judged

    def judge(self, service: Service, device: str, verdict: DeviceVerdict) -> None:
        """Apply a verdict of the control plane that was not asked for; see :meth:`Link.judge`."""
        super().judge(service, device, verdict)
        self._judged(service, device)

    def foresee(self, service: Service, after: Settings | None) -> Iterator[Session | None]:  # noqa: ARG002 - its shape
        """Give no session, because the workers have them."""
        return iter(())

    def surplus(self, service: Service, after: Settings) -> Iterator[Session]:
        """Give what stands here for the sessions of devices that these settings would take offline at once."""
        return self._table.foresee(service, after.policy.device_rules(self._otherwise))

    def standing(self, service: Service, device: str) -> DeviceStanding:
        """Return the verdict on a device."""
        return standing(self._table.memory, service, device, self._reactor.refresh(), self.rules(service))

    def refresh(self, service: Service, device: str) -> bool:
        """Ask about a device whose verdict is stale; False if there is nothing to ask, because it is fresh or none."""
        asks = refresh(self._table.memory, service, device, self._reactor.refresh(), self.rules(service))
        if asks:
            self._ask(service, device)
        return asks

    def _forget(self, service: Service) -> "Generator[None, None, None]":
        for session in self._table.forget(service):
            if session is not None:
                self._cut_all((session,), Reason.EVICTED)
            self._tell()
            yield

    def _apply(self, change: DeviceChange) -> None:
        super()._apply(change)
        self._changed(change.service, change.device)


class SharedDeviceLimit(LiveDeviceLimit):
    """The share of a worker: it limits no number, because the control process does."""

    __slots__ = ()

    def __init__(self, recipe: "DeviceLimit", context: EdgeContext, check: Check) -> None:
        """Start without devices.

        Args:
            recipe: the arguments.
            context: the running edge.
            check: asks the control process.
        """
        super().__init__(recipe, context, check)
        self._otherwise = attrs.evolve(self._otherwise, limit=None)

    def refuse(self, service: Service, device: str, seconds: float, detail: str) -> None:
        """See :meth:`DeviceShare.refuse`."""
        now = self._reactor.refresh()
        change = self._table.judge(service, device, False, seconds, now, detail, provisional=True)
        self._apply(attrs.evolve(change, cause=LIMIT))
        self._tell()
        self._arm()

    def changed(self, service: Service, change: Change) -> "Generator[None, None, None]":
        """Learn the rules of a service; the control process checks its devices again. A removed one is forgotten."""
        if change.after is None:
            yield from super().changed(service, change)
        else:
            self._learn(service, change.after.policy)

    def foresee(self, service: Service, after: Settings | None) -> Iterator[Session | None]:
        """Give the sessions that :meth:`changed` would cut at once: none but those of a service that is removed."""
        return super().foresee(service, None) if after is None else iter(())

    def _learn(self, service: Service, policy: Policy) -> DeviceRules:
        return super()._learn(service, attrs.evolve(policy, device_limit=None))
