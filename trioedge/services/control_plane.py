"""The protocols between an edge and its control plane."""

from collections.abc import Iterable
from typing import Final, Protocol, runtime_checkable

import attrs
import trio

from ..errors import EdgeError
from .report import Report
from .snapshot import Plan, Snapshot
from .stage_keys import StageKeys

_NOTHING: Final = Plan()


class SnapshotError(EdgeError):
    """A snapshot with faults. It grants nothing, but the services and passwords that it takes away are gone.

    Attributes:
        faults: the first 100 faults, each beginning with its path, and then, as text, how many more there are.
        applied: its effect all the same: the services that it disabled or removed or whose former password it took
            away, and the number of sessions evicted by that. False if there is none.
    """

    def __init__(self, faults: Iterable[str], applied: Plan = _NOTHING) -> None:
        self.faults = tuple(faults)
        self.applied = applied
        taken = [f"applied is only what it takes away: {applied}"] if applied else []
        super().__init__("; ".join([*self.faults, *taken]))


@attrs.frozen(slots=True)
class DeviceVerdict:
    """The answer to the check of a device.

    Attributes:
        accept: whether the device may use the service.
        seconds: how long the verdict is fresh, above 0. The edge uses 90 to 100 % of it, so that devices that came at
            the same time are not all checked again at the same time.
        detail: the reason, for people. Never a secret.
    """

    accept: bool
    seconds: float = 60.0
    detail: str = ""


class Link(Protocol):
    """The methods of an edge that its control plane calls."""

    @property
    def stage_keys(self) -> StageKeys:
        """The keys of users' stages that a service may have; text is read with them, see `control.settings`."""

    async def apply(self, snapshot: Snapshot, /) -> Plan:
        """Apply a snapshot without blocking the event loop.

        A snapshot takes away at once, also while earlier snapshots are being applied: it disables and removes services,
        takes former passwords, and evicts the sessions of both. The rest is applied in the order of the calls, whole or
        not at all. A cancel may cost the rest, or all.

        Returns:
            Its effect.

        Raises:
            SnapshotError: it has faults. Nothing has changed, but for what it takes away.
        """

    def reached(self) -> None:
        """Note that the control plane answers."""

    def failed(self, error: str, /) -> None:
        """Note that the control plane does not answer, or has no good snapshot. The last one still applies.

        Args:
            error: the reason, for people.
        """


@runtime_checkable
class ControlPlane(Protocol):
    """Names the services of an edge and their settings."""

    async def run(self, link: Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        """Apply snapshots as they come, until cancelled.

        Call `task_status.started()` after the first good snapshot: the edge accepts no session before.

        Raises:
            ConfigurationError: there can never be a snapshot, because a file is missing at start, for example. The edge
                does not start.
        """


@runtime_checkable
class ChecksDevices(Protocol):
    """A control plane that checks devices."""

    async def check_device(self, service: str, device: str, /) -> DeviceVerdict:
        """Return whether a device may use a service. An exception counts as no answer."""


@runtime_checkable
class TakesReports(Protocol):
    """A control plane that takes usage reports."""

    async def report(self, report: Report, /) -> None:
        """Store a report, and return once it is safe. After an exception the same totals are reported again."""


@runtime_checkable
class Reloads(Protocol):
    """A control plane that an operator can ask to read its source again."""

    def reload(self) -> None:
        """Read the source again soon, whether it has changed or not; SIGHUP calls this. It must not wait."""
