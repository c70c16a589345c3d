"""What an edge wants of a control plane, and what it gives it."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import attrs
import trio

from ..errors import EdgeError
from .plan import Plan
from .report import Report
from .snapshot import Snapshot
from .stage_keys import StageKeys


class SnapshotError(EdgeError):
    """A snapshot with faults, refused whole; what held before still holds.

    Attributes:
        faults: the first 100 faults, each beginning with its path, and then, as text, how many more there are.
    """

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


@attrs.frozen(slots=True)
class DeviceVerdict:
    """What a checker says of a device.

    Attributes:
        accept: whether it may use the service.
        seconds: how long that is fresh, above 0; the edge goes by 90 to 100 % of it, so that devices that came at once
            are not all due again at once.
        detail: why, for people. Never a secret.
    """

    accept: bool
    seconds: float = 60.0
    detail: str = ""


class Link(Protocol):
    """The edge's end of the line: what a control plane calls."""

    @property
    def stage_keys(self) -> StageKeys:
        """The keys of users' stages that a service may have. Text is read with them, see `control.settings`."""

    async def apply(self, snapshot: Snapshot, /) -> Plan:
        """Let a snapshot hold, all of it or nothing. The loop is never held for long.

        Returns:
            What it did.

        Raises:
            SnapshotError: it has faults. Nothing has changed.
        """

    def reached(self) -> None:
        """The control plane answers."""

    def failed(self, error: str, /) -> None:
        """It does not; `error` says why, for people. Sessions go on as they were told last."""


@runtime_checkable
class ControlPlane(Protocol):
    """Says which services there are and what holds for them."""

    async def run(self, link: Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        """Apply snapshots as they come, until cancelled.

        The edge accepts nobody before `task_status.started()`, which is called after the first good snapshot.

        Raises:
            ConfigurationError: there never can be a snapshot (a file that is missing at start, say).
        """


@runtime_checkable
class ChecksDevices(Protocol):
    """A control plane that can be asked about a device."""

    async def check_device(self, service: str, device: str, /) -> DeviceVerdict:
        """Say whether a device may use a service. Any exception counts as no answer."""


@runtime_checkable
class TakesReports(Protocol):
    """A control plane that wants to know what services used."""

    async def report(self, report: Report, /) -> None:
        """Store a report; return when it is safe. Any exception means that nobody knows, and it comes again."""
