"""FileControl: services from a TOML file, which is read again whenever it changes."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, NoReturn
from weakref import WeakSet

import trio

from ..arguments import Fixed
from ..errors import ConfigurationError, quote
from ..loop.slices import in_slices
from ..services.control_plane import Link, SnapshotError
from ..services.snapshot import Snapshot
from ..services.stage_keys import NO_KEYS, StageKeys
from . import toml_lines
from .arrivals import Arrivals, arrivals
from .child_process import child_process
from .snapshot_lines import KnownLines, SnapshotReader
from .watched_file import WatchedFile

RETRY_SECONDS: Final = 0.5
"""Until a file that could not be read is read again."""

SILENT_SECONDS: Final = 300.0
"""How long a reader may give nothing before it is given up: it may wait for a disk that is gone."""

CHUNK_BYTES: Final = 65_536


def read_services(path: str | os.PathLike[str], stage_keys: StageKeys = NO_KEYS) -> Snapshot:
    """Read a TOML file of services, with a table ``[services.NAME]`` for each.

    Blocks the thread while it reads: some 10 s for 100,000 services.

    Args:
        path: of the file.
        stage_keys: the tables of a service that the stages of the edge read.

    Raises:
        ConfigurationError: the first 100 faults of the file, and how many more there are.
    """
    reader = _read(path, KnownLines(), stage_keys)
    return Snapshot(reader.services, version=reader.version, allow_removal=reader.allow_removal)


def _read(path: str | os.PathLike[str], known: KnownLines, stage_keys: StageKeys) -> SnapshotReader:
    """Read the whole file in this thread; raises as :func:`read_services` does."""
    reader = SnapshotReader(known, stage_keys)
    with suppress(SnapshotError):  # the entries of the services read so far may have faults as well
        for line in toml_lines.toml_lines(path):
            deque(reader.read(f"{line}\n".encode()), maxlen=0)
        deque(reader.finish(), maxlen=0)
        deque(reader.check_entries(), maxlen=0)
    if reader.faults:
        raise ConfigurationError(f"{os.fspath(path)}: {reader.faults}")
    return reader


class FileControl(Fixed):
    """A control plane that is a TOML file, read again whenever the file changes.

    The edge accepts no client before the file was read once. Later readings happen in a child process, so a large file
    does not delay sessions. A frozen program, and one within a zip file, has no Python to start: there a thread reads,
    and sessions may wait for 5 ms at a time meanwhile.

    A file with faults is refused whole; while the file has faults or is missing, the services stay as they are and the
    log says why. It checks no devices and takes no reports.

    One object may serve several edges at once. The first reading for an edge blocks the event loop, so start edges that
    share a large file together.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Remember the path; nothing is read before the edge serves.

        Args:
            path: of the file, a table ``[services.NAME]`` for each service; see :func:`read_services`. A relative path
                begins at the working directory of the process. Replace the file by a rename, which is applied at once.
                A file that is written in place may be half of itself for a while, so it is applied once it has been the
                same for 0.1 s, or for 2 s if it is shorter than before or has lost a service.
        """
        if not isinstance(path, (str, os.PathLike)):
            raise ConfigurationError(f"FileControl({quote(path)}) must be the path of a file, as in 'services.toml'")
        self._path = Path(path)
        self._served: WeakSet[Link] = WeakSet()
        """Links whose first snapshot was applied: sessions live on these edges, so no later run may block."""
        self._watched: WeakSet[WatchedFile] = WeakSet()
        """One for each present run."""

    def __repr__(self) -> str:
        return f"FileControl({os.fspath(self._path)!r})"

    def read(self, stage_keys: StageKeys = NO_KEYS) -> Snapshot:
        """Read the file now, as :func:`read_services` does; nothing is applied."""
        return read_services(self._path, stage_keys)

    def reload(self) -> None:
        """Read the file again within a second for every edge, whether it has changed or not."""
        for file in self._watched:
            file.forget()

    async def run(self, link: Link, /, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Apply the file, and every change of the file, until cancelled.

        After a cancel the services stay as they were applied last. A run for a link that was served before, whose edge
        accepts clients already, reads the file as after a change.

        Raises:
            ConfigurationError: at the start the file has faults, or is missing.
        """
        file = WatchedFile(self._path)
        self._watched.add(file)
        known = KnownLines()
        if link in self._served:
            file.forget()
        else:
            try:
                await _read(self._path, known, link.stage_keys).apply(link)
            except SnapshotError as error:
                raise ConfigurationError(f"{self._path}: {error}") from None
            self._served.add(link)
        task_status.started()
        async with arrivals(link, known) as snapshots:
            await self._follow(file, link, snapshots)

    async def _follow(self, file: WatchedFile, link: Link, snapshots: Arrivals) -> NoReturn:
        """Apply every change of the file."""
        while True:
            try:
                await snapshots.next(partial(self._changed, file, link))
            except SnapshotError as error:
                link.failed(f"snapshot refused: {self._path}: {error}")
                if snapshots.gave_up:
                    file.forget()
            except OSError as error:  # the system has no process or no memory left
                link.failed(f"{self._path} cannot be read now: {error}")
                await trio.sleep(RETRY_SECONDS)
                file.forget()

    async def _changed(self, file: WatchedFile, link: Link, reader: SnapshotReader) -> str | None:
        """Wait for a change of the file and read that; return None if there is no whole file then."""
        if not await file.changed():
            link.failed(f"{self._path} is gone; its services stay as they were")
            return None
        try:
            async with _chunks(self._path) as chunks:
                await reader.receive(chunks)
            if not file.whole and await _takes_away(reader) and not await file.stays():
                await in_slices(reader.free())
                return None  # half a file: more of it was written since
        except trio.Cancelled:
            file.forget()
            raise
        return reader.version


async def _takes_away(reader: SnapshotReader) -> bool:
    """Return whether services go with the file that was read, or may go because it is not known which there were."""
    snapshot = await in_slices(reader.finish())
    return snapshot.full or bool(snapshot.removed)


@asynccontextmanager
async def _chunks(path: Path) -> AsyncIterator[AsyncIterator[bytes]]:
    """Read the file beside the loop, and give the lines of its snapshot in chunks.

    Raises:
        OSError: the reader does not start, gives nothing for too long, or fails. The file may be in order.
    """
    if not _has_python():
        async with aclosing(_from_thread(path)) as chunks:
            yield chunks
        return
    command = (sys.executable, "-IS", toml_lines.__file__, os.fspath(path))
    async with child_process(command, stdin=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        async with aclosing(_in_time(child.stdout)) as chunks:
            yield chunks
        if code := await child.wait():
            raise OSError(f"its reader ended with {code}")


def _has_python() -> bool:
    """Return whether a child process can read the file.

    It cannot in a frozen program, whose `sys.executable` is the program itself, nor where the reader is within a zip
    file, or compiled.
    """
    return not getattr(sys, "frozen", False) and bool(sys.executable) and Path(toml_lines.__file__).is_file()


async def _from_thread(path: Path) -> AsyncGenerator[bytes, None]:
    """Read in a thread, which holds the loop up for 5 ms at a time; it is abandoned on a cancel."""

    def read() -> bytes:
        return "".join(f"{line}\n" for line in toml_lines.toml_lines(path)).encode()

    with trio.move_on_after(SILENT_SECONDS) as silence:
        text = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
    if silence.cancelled_caught:
        raise OSError(f"its reader gave nothing for {SILENT_SECONDS:g} s")
    for start in range(0, len(text), CHUNK_BYTES):
        yield text[start : start + CHUNK_BYTES]


async def _in_time(stream: trio.abc.ReceiveStream) -> AsyncGenerator[bytes, None]:
    while True:
        with trio.move_on_after(SILENT_SECONDS) as silence:
            chunk = await stream.receive_some()
        if silence.cancelled_caught:
            raise OSError(f"its reader printed nothing for {SILENT_SECONDS:g} s")
        if not chunk:
            return
        yield bytes(chunk)
