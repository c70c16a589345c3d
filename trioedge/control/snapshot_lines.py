"""Snapshots as lines of JSON, the form in which an edge reads them from a control plane and from a file.

A head, a line for each service, and an end that counts those lines, so that a truncated snapshot is noticed::

    {"version": "7", "full": true}
    {"name": "shop", "session_rate": 20}
    {"name": "cafe", "enabled": false}
    {"end": 2}

If `full` is false, services that are not named stay as they are, and ``{"removed": "cafe"}`` removes one. If it is
true, ``"allow_removal": true`` in the head allows to leave out any number of services. A sender that cannot complete a
snapshot writes ``{"fault": "why"}``. Blank lines are skipped, but counted where a fault names a line.

A line that is equal to the applied line of a service is known by its hash. It is neither parsed nor compared.
"""

import json
import re
from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, NoReturn, Self

import trio

from ..arguments import flag_fault
from ..errors import Faults, quote
from ..loop.collector import no_full_pass
from ..loop.slices import Slices, Stepwise
from ..services.control_plane import Link, SnapshotError
from ..services.policy import Settings
from ..services.services import name_fault
from ..services.snapshot import Snapshot
from ..services.stage_keys import NO_KEYS, StageKeys
from .settings import checking_entries, read_settings

MAX_LINE_BYTES: Final = 1 << 19

MAX_LISTS: Final = 10_000
"""Lists and objects in one line. Each is allocated by itself, and 100,000 take 50 ms."""

MAX_VALUES: Final = 25_000
"""Values in one line, source entries as a rule. A line is parsed in one step, which then takes some 4 ms."""

MAX_BYTES: Final = 64 << 20
"""The size of a whole snapshot."""

_NAMED: Final = re.compile(rb'\{"name": ?"([^"\\]{1,100})"')

CHUNK_SECONDS: Final = 0.0002
"""Processor time of receiving a chunk, which is counted as work too."""


class KnownLines:
    """The applied line of each service, as a hash. Python keys these hashes anew in each process.

    Invariant: `hashes` and `seen` have the same keys: every applied service, and maybe some of snapshots that were
    refused. ``names[hashes[name]] == name``, unless the line of the service is not known any more.
    """

    __slots__ = ("applied", "hashes", "names", "rounds", "seen")

    def __init__(self) -> None:
        """Know no line."""
        self.applied = False
        """Whether a snapshot has been applied."""
        self.names: dict[int, str] = {}
        """Services by the hash of their line."""
        self.hashes: dict[str, int] = {}
        """Hashes by service."""
        self.rounds = 0
        """Snapshots begun."""
        self.seen: dict[str, int] = {}
        """The last round in which each service was named. One table for all rounds: a long one is slow to free."""

    def remember(self, hashes: dict[str, int], removed: Mapping[str, None]) -> Generator[None, None, None]:
        """Know the lines of a snapshot that is to be applied; `hashes` is empty then."""
        for name in removed:
            self._forget(name)
            yield
        while hashes:
            name, line = hashes.popitem()
            self.names.pop(self.hashes.get(name, 0), None)
            self.names[line], self.hashes[name], self.seen[name] = name, line, self.rounds
            yield

    def doubt(self, *named: Mapping[str, object]) -> Stepwise[None]:
        """Know no more the lines of these services, nor whether there are these services."""
        for table in named:
            for name in table:
                self.names.pop(self.hashes.setdefault(name, 0), None)
                self.seen.setdefault(name, 0)
                yield

    def _forget(self, name: str) -> None:
        self.names.pop(self.hashes.pop(name, 0), None)
        self.seen.pop(name, None)


class SnapshotReader:
    """Reads one snapshot: :meth:`receive` its lines, then :meth:`apply` it. No step is longer than a line takes.

    A context that is left by an error frees the services read so far in steps as well, because 100,000 services at
    once would block the loop for 30 ms. After a cancel they are freed at once.
    """

    def __init__(self, known: KnownLines, stage_keys: StageKeys = NO_KEYS) -> None:
        """Begin.

        Args:
            known: the applied lines. Only :meth:`apply` changes them.
            stage_keys: the tables of a service that the stages of the edge read.
        """
        known.rounds += 1
        self._known = known
        self._stage_keys = stage_keys
        self._slices = Slices()
        self._until_left = ExitStack()
        self._open_line = bytearray()
        self.size = self._lines = self._counted = 0
        self.full = self._headed = self._ended = False
        self._broken = False
        """Whether a fault leaves open which services the whole snapshot names."""
        self.version = ""
        """The version in the head."""
        self.allow_removal = False
        """Whether the head allows to leave out any number of services."""
        self.services: dict[str, Settings] = {}
        """Settings read so far that have no fault, without lines that are applied already."""
        self._faulty: dict[str, Settings] = {}
        """The right keys of services with faults."""
        self._hashes: dict[str, int] = {}
        self._removed: dict[str, None] = {}
        self.faults = Faults()
        """Every fault so far."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._until_left:
            if isinstance(error, Exception) and self.services:
                await self._slices.run(self.free())

    async def receive(self, chunks: AsyncIterator[bytes] | trio.abc.ReceiveStream) -> None:
        """Read all chunks, once and within the context. The garbage collector makes no full pass until that is left.

        Raises:
            SnapshotError: this is no snapshot, with every fault so far. The rest was not read.
        """
        self._until_left.enter_context(no_full_pass())
        async for chunk in chunks:
            await self._slices.run(self.read(chunk), beside=CHUNK_SECONDS)

    async def accept(self) -> Snapshot:
        """Return the snapshot, and know its lines if it has no faults; raises as :meth:`finish` does."""
        snapshot = await self._slices.run(self.finish())
        if not snapshot.faults:
            await self._slices.run(self._known.remember(self._hashes, self._removed))
        return snapshot

    async def apply(self, link: Link) -> None:
        """Apply the snapshot and know its lines. After a cancel the known lines must not be used again.

        Raises SnapshotError as :meth:`Link.apply` does; its lines are not known then.
        """
        snapshot = await self.accept()
        try:
            await link.apply(snapshot)
        except SnapshotError:
            await self._slices.run(self.doubt())
            raise
        self._known.applied = True

    def doubt(self) -> Stepwise[None]:
        """Know no more the lines of a snapshot that was accepted, at least in part, and not applied; free it."""
        yield from self._known.doubt(self.services, self._removed)
        yield from self.free()

    def read(self, data: bytes | bytearray) -> Generator[None, None, None]:
        """Read one chunk, a line in each step; raises as :meth:`receive` does."""
        self.size += len(data)
        if self.size > MAX_BYTES:
            self._refuse(f"has more than {MAX_BYTES:,} bytes")
        line, start, searched = self._open_line, 0, len(self._open_line)
        line += data
        while (end := line.find(b"\n", searched)) >= 0:
            self._bound(line, start, end - start, MAX_LINE_BYTES, "bytes")
            self._read_line(bytes(line[start:end]))
            start = searched = end + 1
            yield
        del line[:start]
        self._bound(line, 0, len(line), MAX_LINE_BYTES, "bytes")

    def finish(self) -> Generator[None, None, Snapshot]:
        """Return the snapshot, with its faults: the first in full, a later one as its changes.

        Raises:
            SnapshotError: it is not there whole, or says otherwise that it is not to be applied.
        """
        if self._open_line:
            self._read_line(bytes(self._open_line))
            self._open_line.clear()
        if not self._ended:
            self._spoil("cut short: it has no end")
        yield from _check(self._faulty, self.faults)
        if self._broken:
            yield from self.check_entries()
            raise SnapshotError(self.faults)
        if not self._known.applied and self.faults:
            return Snapshot(self.services, full=False, version=self.version, faults=tuple(self.faults))
        if not self._known.applied:
            return Snapshot(self.services, version=self.version, allow_removal=self.allow_removal)
        if self.full:
            for name, seen in self._known.seen.items():
                if seen != self._known.rounds:
                    self._removed[name] = None
                yield
        allowed = self.allow_removal or not self.full
        removed, faults = frozenset(self._removed), tuple(self.faults)
        return Snapshot(self.services, removed, full=False, version=self.version, allow_removal=allowed, faults=faults)

    def check_entries(self) -> Generator[None, None, None]:
        """Check the source entries of services without another fault; an edge does so when it applies a snapshot."""
        yield from _check(self.services, self.faults)

    def free(self) -> Generator[None, None, None]:
        """Free the services read so far, one in each step. A snapshot that was made of it is empty then."""
        for table in (self.services, self._faulty, self._hashes, self._removed):
            while table:
                table.popitem()
                yield

    def _bound(self, line: bytes | bytearray, start: int, found: int, maximum: int, unit: str) -> None:
        """Refuse a line that is too large. It is named by the service at its start, or else by its number."""
        if found > maximum:
            named = _NAMED.match(line, start)
            where = f"services.{named[1].decode(errors='replace')}" if named else f"line {self._lines + 1}"
            self._refuse(f"{where} has more than {maximum:,} {unit}")

    def _read_line(self, line: bytes) -> None:
        self._bound(line, 0, line.count(b"[") + line.count(b"{"), MAX_LISTS, "lists")
        self._bound(line, 0, line.count(b","), MAX_VALUES, "values")
        self._lines += 1
        if not line or line.isspace():
            return
        if not self._headed:
            self._headed = True
            self._read_head(_parse(line, self._lines))
        elif self._ended:
            self._spoil(f"line {self._lines} is behind the end")
        elif (name := self._known.names.get(hash(line))) is not None:
            self._counted += 1
            self._name(name)
        else:
            self._read_service(_parse(line, self._lines), hash(line))

    def _read_head(self, said: object) -> None:
        match said:
            case {"version": str(version), "full": bool(full), **more}:
                if not (full or self._known.applied):
                    self._refuse("says only what changed, and no snapshot is applied yet")
                allowed = more.get("allow_removal", False)
                if wrong := flag_fault(allowed):
                    self._refuse(f"allow_removal = {quote(allowed)} {wrong}")
                self.version, self.full, self.allow_removal = version, full, allowed is True
            case {"fault": str(why)}:
                self._refuse(why)
            case _:
                self._refuse('does not begin with {"version": text, "full": true or false}')

    def _read_service(self, said: object, line: int) -> None:
        match said:
            case {"name": str(name), **table}:
                self._counted += 1
                if unnameable := name_fault(name):
                    self.faults.note(f"services.{quote(name)}: {unnameable}")
                    return
                settings, faults = read_settings(table, f"services.{name}", self._stage_keys)
                self.faults.extend(faults)
                if self._name(name):
                    if faults:
                        self._faulty[name] = settings
                    else:
                        self.services[name], self._hashes[name] = settings, line
            case {"removed": str(name)} if name.isprintable():
                self._counted += 1
                if self._name(name):
                    self._removed[name] = None
            case {"end": int(count)}:
                self._ended = True
                if count != self._counted:
                    self._spoil(f"cut short: its end counts {count} lines, and there were {self._counted}")
            case {"fault": str(why)}:
                self._spoil(why)
            case _:
                self._spoil(f"line {self._lines} names no service, and is no end")

    def _name(self, name: str) -> bool:
        """Note that a line names this service, and return whether it is the first that does."""
        named = name in self.services or name in self._faulty or name in self._removed
        if named or self._known.seen.get(name) == self._known.rounds:
            self._spoil(f"services.{name} is there twice")
            return False
        if name in self._known.seen:
            self._known.seen[name] = self._known.rounds
        return True

    def _spoil(self, fault: str) -> None:
        """Note a fault for which nothing of the snapshot is to be applied."""
        self.faults.note(fault)
        self._broken = True

    def _refuse(self, fault: str) -> NoReturn:
        """Raise every fault so far; nothing more is read."""
        self.faults.note(fault)
        raise SnapshotError(self.faults)


def _parse(line: bytes, number: int) -> Any:
    """Parse a line. Return None, which no line may be, for one that is not JSON."""
    try:
        return json.loads(line)
    except RecursionError:
        return {"fault": f"line {number} has lists or objects that are nested too deeply"}
    except ValueError:
        return None


def _check(services: Mapping[str, Settings], faults: Faults) -> Generator[None, None, None]:
    """Check the source entries of services."""
    for name, settings in services.items():
        yield from checking_entries(settings.policy, f"services.{name}", faults)
        yield
