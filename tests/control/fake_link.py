"""The link of a control plane to an edge, without an edge."""

from collections.abc import Callable

import trio

from trioedge.services.control_plane import SnapshotError
from trioedge.services.plan import Plan
from trioedge.services.policy import Settings
from trioedge.services.snapshot import Snapshot
from trioedge.services.stage_keys import NO_KEYS, StageKeys

PATIENCE = 10
"""Seconds after which a test has failed. Every test takes far less."""


class FakeLink:
    """Applies snapshots to a dict, and records the calls."""

    def __init__(self, stage_keys: StageKeys = NO_KEYS) -> None:
        self.stage_keys = stage_keys
        self.services: dict[str, Settings] = {}
        self.snapshots: list[Snapshot] = []
        self.errors: list[str] = []
        self.refuses: tuple[str, ...] = ()
        self.reaches = 0
        self._told = trio.Event()

    async def apply(self, snapshot: Snapshot, /) -> Plan:
        await trio.lowlevel.checkpoint()
        self.snapshots.append(snapshot)
        if self.refuses:
            self._tell()
            raise SnapshotError(self.refuses)
        gone = set(self.services) - set(snapshot.services) if snapshot.full else snapshot.removed & set(self.services)
        added = tuple(name for name in snapshot.services if name not in self.services)
        self.services.update(snapshot.services)
        for name in gone:
            del self.services[name]
        self._tell()
        return Plan(added=added, removed=tuple(gone))

    def reached(self) -> None:
        self.reaches += 1
        self._tell()

    def failed(self, error: str, /) -> None:
        self.errors.append(error)
        self._tell()

    def _tell(self) -> None:
        self._told.set()
        self._told = trio.Event()

    async def until(self, done: Callable[["FakeLink"], object]) -> None:
        """Wait until `done(link)` is true. It is called after each call of the link."""
        with trio.fail_after(PATIENCE):
            while not done(self):
                await self._told.wait()
