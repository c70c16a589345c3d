"""Snapshots of one control plane, each read while those before it are still being applied.

So a snapshot that takes something away need not wait for a large one before it: :meth:`Link.apply` takes away at once.

| a snapshot is | event | action | then |
| --- | --- | --- | --- |
| being read | it is there whole | know its lines; apply it, and read the next one after 20 ms | being applied |
| being read | it is the first, or has a fault | apply it, and read no other one meanwhile | being applied |
| being read | it breaks off, or is none | wait for those before it; raise the reason | over |
| being read | one before it is refused | read no more of it | over |
| being applied | it is applied | - | over |
| being applied | it is refused | give up those behind it, forget the lines of all of these, raise the reason | over |
| being applied | one before it is refused | cancel it, but keep away what was taken away | over |

A snapshot behind a refused one is given up because it may say only what changed since that one.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import attrs
import trio

from ..loop.slices import in_slices
from ..services.control_plane import Link, SnapshotError
from ..services.snapshot import Snapshot
from .snapshot_lines import MAX_BYTES, KnownLines, SnapshotReader

AHEAD_SECONDS: Final = 0.02
"""How long a snapshot may take to be applied before the next one is asked for. Most take less, and so the control plane
is told nearly always of a version that is applied."""

MAX_AHEAD: Final = 32
"""Snapshots being applied, while the next one is read."""

Receive: TypeAlias = Callable[[SnapshotReader], Awaitable[str | None]]
"""Receives one snapshot, and returns the name of the state that it leads to; None if there is none to apply."""


@attrs.define(eq=False)
class _Arrival:
    """A snapshot that was read and is being applied.

    Attributes:
        reader: has its lines.
        before: the version that is applied if it is refused; see `_sure_version`.
        scope: cancels it.
        ended: set once it is over.
    """

    reader: SnapshotReader
    before: str
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)


class Arrivals:
    """The snapshots of one run of a control plane.

    Attributes:
        version: of the state to which the last snapshot that was read leads, if it is not refused; empty if the control
            plane knows no state that the edge is sure to have.
        gave_up: whether a snapshot was given up because one before it was refused, when :meth:`next` raised last.
    """

    def __init__(self, link: Link, nursery: trio.Nursery, known: KnownLines) -> None:
        """Start with the applied lines.

        Args:
            link: applies the snapshots.
            nursery: of the tasks that apply them.
            known: the lines of the snapshot that was applied last, if there was one.
        """
        self.version = ""
        self.gave_up = False
        self._link = link
        self._nursery = nursery
        self._known = known
        self._reading = trio.CancelScope()
        self._applying: list[_Arrival] = []
        self._doubtful: list[SnapshotReader] = []
        """Snapshots that were not applied, or only in part."""
        self._fault: Exception | None = None

    @property
    def settled(self) -> bool:
        """Whether no snapshot is being applied, and none was refused since :meth:`next` raised last."""
        return not self._applying and self._fault is None

    async def next(self, receive: Receive) -> None:
        """Read one snapshot, and apply it.

        Returns once it is applied, or after 20 ms, when the next one may be read. After a cancel of the nursery the
        known lines must not be used again.

        Args:
            receive: receives the snapshot.

        Raises:
            SnapshotError: this snapshot, or one before it, was refused. None is being applied any more.
            Exception: as `receive` raises it. None is being applied any more.
        """
        with trio.CancelScope() as self._reading:
            if self._fault is None:
                self.gave_up = False
                await self._begin(receive)
        if self._fault is not None:
            await self._until(0)
            while self._doubtful:
                await in_slices(self._doubtful.pop().doubt())
            fault, self._fault = self._fault, None
            raise fault

    async def _begin(self, receive: Receive) -> None:
        try:
            arrival = await self._nursery.start(self._arrive, receive)
        except Exception:
            await self._until(0)
            raise
        if arrival is not None:
            with trio.move_on_after(AHEAD_SECONDS):
                await arrival.ended.wait()
        await self._until(MAX_AHEAD, MAX_BYTES)

    async def _until(self, count: int, size: int = 0) -> None:
        """Wait until at most so many snapshots of at most so many bytes are being applied."""
        while len(self._applying) > count or sum(each.reader.size for each in self._applying) > size:
            await self._applying[0].ended.wait()

    async def _arrive(self, receive: Receive, *, task_status: trio.TaskStatus[_Arrival | None]) -> None:
        """Read a snapshot and apply it; the caller goes on once the next one may be read."""
        async with SnapshotReader(self._known, self._link.stage_keys) as reader:
            try:
                version = await receive(reader)
                snapshot = None if version is None else await reader.accept()
            except trio.Cancelled:
                self._doubtful.append(reader)  # some of its lines may be known already
                raise
            if version is None or snapshot is None:
                task_status.started(None)
            elif self._known.applied and not snapshot.faults:
                arrival = _Arrival(reader, self._sure_version())
                self.version = version
                self._applying.append(arrival)
                task_status.started(arrival)
                with arrival.scope:
                    await self._apply(arrival, snapshot)
            else:
                await self._apply_alone(reader, snapshot)
                self.version = version
                task_status.started(None)

    async def _apply(self, arrival: _Arrival, snapshot: Snapshot) -> None:
        """Apply a snapshot while others are read."""
        try:
            await self._link.apply(snapshot)
        except trio.Cancelled:
            self._doubtful.append(arrival.reader)
            raise
        except Exception as fault:
            self._refuse(arrival, fault)
        else:
            self._link.reached()
        finally:
            self._applying.remove(arrival)
            arrival.ended.set()

    async def _apply_alone(self, reader: SnapshotReader, snapshot: Snapshot) -> None:
        """Apply a snapshot while no other one is read."""
        before = self._sure_version()
        try:
            await self._link.apply(snapshot)
        except trio.Cancelled:  # one before it was refused; this one may have taken something away
            self._doubtful.append(reader)
            self.version, self.gave_up = "", True
            raise
        except SnapshotError as fault:
            self.version = "" if fault.applied else before
            await in_slices(reader.doubt())
            raise
        self._known.applied = True
        self._link.reached()

    def _sure_version(self) -> str:
        """Return the version that is applied if the next snapshot is refused and takes nothing away.

        Those before it that are still being applied do not grant what it takes away, so none of theirs is sure.
        """
        return "" if self._applying else self.version

    def _refuse(self, refused: _Arrival, fault: Exception) -> None:
        """Give up every snapshot behind one that was refused, at once, before its turn comes."""
        behind = [each for each in self._applying if each is not refused]
        for arrival in behind:
            arrival.scope.cancel()
        self._reading.cancel()
        self._doubtful.append(refused.reader)
        taken = behind or not isinstance(fault, SnapshotError) or fault.applied
        self.version = "" if taken or self._fault is not None else refused.before
        self.gave_up = self.gave_up or bool(behind)
        self._fault = self._fault or fault


@asynccontextmanager
async def arrivals(link: Link, known: KnownLines | None = None) -> AsyncIterator[Arrivals]:
    """Read and apply snapshots until the block ends; those that are being applied then are cancelled."""
    fault = None
    async with trio.open_nursery() as nursery:
        try:
            yield Arrivals(link, nursery, known or KnownLines())
        except Exception as error:  # raised as it is, and not in a group of the nursery
            fault = error
        nursery.cancel_scope.cancel()
    if fault is not None:
        raise fault
