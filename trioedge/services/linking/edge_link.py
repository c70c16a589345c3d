"""The link of one run of an edge: what its control plane may call."""

from collections.abc import Callable, Sequence

from ...errors import ENDS, ConfigurationError, quote
from ...session.session import MAX_DEVICE_LETTERS
from ...session.verdict import Reason
from ..apply import SnapshotApplier
from ..control_plane import DeviceVerdict, read_verdict
from ..device_rules import DeviceRules
from ..registry import Registry
from ..service import Service
from ..services import Services
from ..snapshot import Plan, Snapshot
from ..stage_keys import StageKeys

_NO_RULES = DeviceRules()


class EdgeLink:
    """The :class:`Link` of one run of an edge; and for the control plane of a worker, what a link has not.

    Attributes:
        report_soon: have the next report say what is new about a service.
    """

    def __init__(self, applier: SnapshotApplier, services: Services, live: Registry) -> None:
        """Join the parts of a run that a control plane acts on.

        Args:
            applier: applies snapshots.
            services: every service, and the live stage that judges devices.
            live: every live session.
        """
        self._applier = applier
        self._services = services
        self._live = live
        self.report_soon: Callable[[Service], object] = lambda _: None

    @property
    def applier(self) -> SnapshotApplier:
        """It applies snapshots, and follows those of another process."""
        return self._applier

    @property
    def services(self) -> Services:
        """Every service of the run."""
        return self._services

    @property
    def stage_keys(self) -> StageKeys:
        """See :attr:`Link.stage_keys`."""
        return self._applier.stage_keys

    async def apply(self, snapshot: Snapshot, /) -> Plan:
        """See :meth:`Link.apply`."""
        return await self._applier.apply(snapshot)

    def reached(self) -> None:
        """See :meth:`Link.reached`."""
        self._applier.reached()

    def failed(self, error: str, /) -> None:
        """See :meth:`Link.failed`."""
        self._applier.failed(error)

    def judge(self, service: str, device: str, verdict: DeviceVerdict, /) -> None:
        """See :meth:`Link.judge`."""
        judge = self._services.device_judge
        if judge is None:
            raise ConfigurationError("link.judge() needs a stage that judges devices: add DeviceLimit() to the edge")
        good = checked_judgement(service, device, verdict)
        found = self._services.get(service)
        if found is not None:
            judge.judge(found, str.__str__(device), good)  # it becomes a key, and a subclass may have a hash of its own

    def evict(self, *, service: str | None = None, source: str | None = None, device: str | None = None) -> int:
        """See :meth:`Link.evict`."""
        if service is None and source is None and device is None:
            raise TypeError("link.evict() needs a service, a source or a device")
        found = self._live.search(service=service, source=source, device=device)
        return self._live.evictions.search(found, Reason.EVICTED)

    def rules(self, service: str, /) -> DeviceRules:
        """See :meth:`Link.rules`."""
        judge = self._services.device_judge
        return _NO_RULES if judge is None else judge.rules(self._services.get(service))

    def online(self, service: str, /) -> Sequence[str]:
        """See :meth:`Link.online`."""
        found = self._services.get(service)
        if found is None:
            return ()
        judge = self._services.device_judge
        if judge is not None:
            return judge.online(found)
        text = self._live.source_prefix.text
        return [text(key) for key in found.by_source]


def checked_judgement(service: object, device: object, verdict: object) -> DeviceVerdict:
    """Check the arguments of :meth:`Link.judge`.

    Returns:
        The verdict, its fields as numbers and text.

    Raises:
        ConfigurationError: names the argument and its fault.
    """
    if not isinstance(service, str):
        raise ConfigurationError(f"link.judge(service={quote(service)}) must be the name of a service")
    if not isinstance(device, str) or len(device) > MAX_DEVICE_LETTERS:
        raise ConfigurationError(
            f"link.judge(device={quote(device)}) must be the name of a device, text of at most "
            f"{MAX_DEVICE_LETTERS} letters"
        )
    try:
        good = read_verdict(verdict)
    except ENDS:
        raise
    except BaseException:  # its fields are of any type
        good = None
    if good is None:
        raise ConfigurationError(
            f"link.judge(verdict={quote(verdict)}) must be a DeviceVerdict, as in DeviceVerdict(False, seconds=60)"
        )
    return good
