"""A link without an edge, for the tests of a control plane: it keeps what it is told."""

from collections.abc import Callable, Sequence
from typing import Final

import trio

from ..services.control_plane import DeviceVerdict, SnapshotError
from ..services.device_rules import DeviceRules
from ..services.linking.edge_link import checked_judgement
from ..services.policy import Settings
from ..services.snapshot import Plan, Snapshot
from ..services.stage_keys import NO_KEYS, StageKeys

PATIENCE: Final = 10.0
"""How long :meth:`FakeLink.until` waits, in seconds of the test's clock."""

_NO_RULES: Final = DeviceRules()


class FakeLink:
    """A :class:`Link` for the tests of a control plane: applies snapshots to a dict, and keeps every call.

    ``await nursery.start(control.run, link)`` runs a control plane until its first snapshot.

    Attributes:
        services: as the snapshots applied so far leave them.
        snapshots: all that came, refused ones included.
        refuses: faults to refuse every snapshot with; none at first.
        reaches: how many times `reached` was called.
        errors: the arguments of `failed`.
        devices: the names of the devices online, by service; the test sets them. A denial and an eviction remove them.
        verdicts: the arguments of `judge`: service, device and verdict.
        evictions: the arguments of `evict`: service, source and device.
    """

    def __init__(self, stage_keys: StageKeys = NO_KEYS) -> None:
        """Start without services.

        Args:
            stage_keys: the keys of users' stages that a service may have.
        """
        self.stage_keys = stage_keys
        self.services: dict[str, Settings] = {}
        self.snapshots: list[Snapshot] = []
        self.refuses: tuple[str, ...] = ()
        self.reaches = 0
        self.errors: list[str] = []
        self.devices: dict[str, list[str]] = {}
        self.verdicts: list[tuple[str, str, DeviceVerdict]] = []
        self.evictions: list[tuple[str | None, str | None, str | None]] = []
        self._called = trio.Event()

    async def apply(self, snapshot: Snapshot, /) -> Plan:
        """Apply a snapshot, unless it has faults of reading or the test refuses it; other values are not checked."""
        await trio.lowlevel.checkpoint()
        if not snapshot.faults:
            self.snapshots.append(snapshot)
        if refuses := (*snapshot.faults, *self.refuses):
            self._tell()
            raise SnapshotError(refuses)
        gone = set(self.services) - set(snapshot.services) if snapshot.full else snapshot.removed & set(self.services)
        added = tuple(name for name in snapshot.services if name not in self.services)
        self.services.update(snapshot.services)
        for name in gone:
            del self.services[name]
        self._tell()
        return Plan(added=added, removed=tuple(gone))

    def reached(self) -> None:
        """Count the call."""
        self.reaches += 1
        self._tell()

    def failed(self, error: str, /) -> None:
        """Keep the error."""
        self.errors.append(error)
        self._tell()

    def judge(self, service: str, device: str, verdict: DeviceVerdict, /) -> None:
        """Keep the verdict; a denied device is online no more."""
        good = checked_judgement(service, device, verdict)
        self.verdicts.append((service, device, good))
        if not good.accept:
            self._remove(service, device)
        self._tell()

    def evict(self, *, service: str | None = None, source: str | None = None, device: str | None = None) -> int:
        """Keep the arguments, and remove the devices of the service, or the one that is named; return how many."""
        if service is None and source is None and device is None:
            raise TypeError("link.evict() needs a service, a source or a device")
        self.evictions.append((service, source, device))
        removed = 0 if service is None else self._remove(service, device)
        self._tell()
        return removed

    def rules(self, service: str, /) -> DeviceRules:
        """Return the device rules of the policy in `services`, as an edge with ``DeviceLimit()`` does."""
        settings = self.services.get(service)
        return _NO_RULES if settings is None else settings.policy.device_rules(_NO_RULES)

    def online(self, service: str, /) -> Sequence[str]:
        """Return what the test has set in `devices`."""
        return tuple(self.devices.get(service, ()))

    async def until(self, done: Callable[["FakeLink"], object]) -> None:
        """Wait until a condition is true; it is looked at after every call of the link.

        Raises:
            trio.TooSlowError: it is not true after 10 s.
        """
        with trio.fail_after(PATIENCE):
            while not done(self):
                await self._called.wait()

    def _remove(self, service: str, device: str | None) -> int:
        online = self.devices.get(service, [])
        gone = [each for each in online if device in (None, each)]
        self.devices[service] = [each for each in online if each not in gone]
        return len(gone)

    def _tell(self) -> None:
        self._called.set()
        self._called = trio.Event()
