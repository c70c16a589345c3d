"""A link of a control plane without an edge: it keeps what it is told."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from trioedge.services.control_plane import ControlPlane, SnapshotError
from trioedge.services.policy import Settings
from trioedge.services.snapshot import Plan, Snapshot
from trioedge.services.stage_keys import NO_KEYS, StageKeys

PATIENCE = 10
"""Seconds after which a test has failed; no test comes near."""


class FakeLink:
    """Applies snapshots to a dict, and records every call.

    Attributes:
        services: as the snapshots applied so far leave them.
        snapshots: all that came, refused ones included.
        errors: the arguments of `failed`.
        refuses: faults to refuse every snapshot with; none at first.
        reaches: how many times `reached` was called.
    """

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
        self.reaches += 1
        self._tell()

    def failed(self, error: str, /) -> None:
        self.errors.append(error)
        self._tell()

    def _tell(self) -> None:
        self._told.set()
        self._told = trio.Event()

    async def until(self, done: Callable[["FakeLink"], object]) -> None:
        """Wait until a condition is true; it is looked at after every call of the link."""
        with trio.fail_after(PATIENCE):
            while not done(self):
                await self._told.wait()


@asynccontextmanager
async def linked(control: ControlPlane) -> AsyncIterator[FakeLink]:
    """Run a control plane for a link of its own, from its first snapshot until the block ends."""
    link = FakeLink()
    async with trio.open_nursery() as nursery:
        await nursery.start(control.run, link)
        yield link
        nursery.cancel_scope.cancel()
