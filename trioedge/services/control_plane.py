"""The protocols between an edge and its control plane."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import attrs

from ..errors import EdgeError
from .device_rules import DeviceRules
from .report import Report
from .snapshot import Plan, Snapshot
from .stage_keys import StageKeys

if TYPE_CHECKING:
    import trio

_NOTHING: Final = Plan()

MAX_DETAIL_LETTERS: Final = 300
"""The maximum length of a verdict's detail, which the edge keeps with its device; the rest is dropped."""


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
        seconds: how long the verdict is fresh; less than 1 counts as 1. The edge uses 90 to 100 % of it, so that
            devices that came at the same time are not all checked again at the same time.
        detail: the reason, for people. Never a secret.
    """

    accept: bool
    seconds: float = 60.0
    detail: str = ""


class DeviceGoneError(EdgeError):
    """There is no verdict on a device, because it went before it was checked; it stays unknown."""


def read_verdict(verdict: object) -> DeviceVerdict | None:
    """Return a verdict whose fields have the types that they should have; None for a value that is no verdict.

    A field may be of any class, so this may raise whatever its conversion raises.
    """
    # A value that is no number raises, and so does one that is too large for a float; NaN is not >= 0.
    if isinstance(verdict, DeviceVerdict) and verdict.seconds >= 0:
        detail = str(verdict.detail or "")[:MAX_DETAIL_LETTERS]
        return DeviceVerdict(bool(verdict.accept), float(verdict.seconds), detail)
    return None


class Link(Protocol):
    """The methods of an edge that its control plane calls, from :meth:`ControlPlane.run` or from any other method.

    Services are named by their names. All but :meth:`apply` are plain functions that do not wait, and may be called
    from within :meth:`FollowsDevices.came` and :meth:`FollowsDevices.went`.
    """

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

    def judge(self, service: str, device: str, verdict: DeviceVerdict, /) -> None:
        """Accept or deny a device, whether the edge has asked about it or not.

        A denial cuts the sessions of the device, as its service's device limit counts them, and refuses new ones for
        ``verdict.seconds``. An acceptance ends a grace and an earlier denial. A later verdict replaces an earlier one,
        and the answer to a check that was asked before this call is dropped. When the verdict has expired the device is
        checked again, or is accepted if nothing checks devices.

        An unknown service is ignored. So is a device that is offline, while the device table is full of devices that
        are online or being checked. At capacity the verdict on the device that has been offline for longest is
        forgotten.

        Raises:
            ConfigurationError: the edge has no :class:`DeviceLimit`, or an argument has a fault.
        """

    def evict(self, *, service: str | None = None, source: str | None = None, device: str | None = None) -> int:
        """Cut the live sessions that match everything named, and return how many; see :meth:`Edge.evict`.

        Within `came` the session that brings the device may not be live yet, and is not found: :meth:`judge` ends it.

        Raises:
            TypeError: nothing is named, or a device without its service.
            ConfigurationError: `source` is no address and no prefix.
        """

    def rules(self, service: str, /) -> DeviceRules:
        """Return the device rules that apply to a service now.

        Its policy goes before the arguments of :class:`DeviceLimit`, field by field. For an unknown service these are
        the arguments. On an edge without a :class:`DeviceLimit` there is no limit.
        """

    def online(self, service: str, /) -> Sequence[str]:
        """Return the devices of a service that have a live session on this edge, the oldest first.

        For an unknown service there are none. On an edge without a :class:`DeviceLimit` these are its sources, in no
        order. Takes a microsecond for ten devices.
        """


@runtime_checkable
class ControlPlane(Protocol):
    """Names the services of an edge and their settings."""

    async def run(self, link: Link, /, *, task_status: "trio.TaskStatus[None]") -> None:
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
class NamesUsers(Protocol):
    """A control plane whose users log in with other names than those of their services.

    A handshake with ``auth="services"`` asks it for the service of a user, and checks the password against that of the
    service. Without these names the user is the name of the service.
    """

    def service_of(self, user: str, /) -> str | None:
        """Return the name of a user's service, from memory; None for an unknown user. It must not wait.

        An exception costs the session of the client that logs in.
        """


@runtime_checkable
class AsksForUsers(NamesUsers, Protocol):
    """The control plane of a worker, whose `service_of` knows the users that it has asked the control process for."""

    def knows_user(self, user: str, /) -> bool:
        """Tell whether :meth:`service_of` has an answer for a user."""

    async def find_user(self, user: str, /) -> None:
        """Ask for a user; afterwards :meth:`service_of` answers as well as it can."""


@runtime_checkable
class Reloads(Protocol):
    """A control plane that an operator can ask to read its source again."""

    def reload(self) -> None:
        """Read the source again soon, whether it has changed or not; SIGHUP calls this. It must not wait."""


@runtime_checkable
class FollowsDevices(Protocol):
    """A control plane that is notified when devices come online and when they go.

    For each device of a service on an edge with a :class:`DeviceLimit`, the calls alternate and begin with `came`. They
    come from within decisions and the ends of sessions, so they must be plain functions that do not wait: note the
    device, and let a task do the rest. An exception is logged, and has no other effect. They may call the link. After
    the edge has cancelled `run`, the devices of its last sessions may still go.
    """

    def came(self, service: str, device: str, /) -> None:
        """Note that the first live session of a device of a service has been admitted by the device limit."""

    def went(self, service: str, device: str, /) -> None:
        """Note that the last session of a device has ended, is being cut, or lost its service."""
