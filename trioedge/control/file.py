"""Services out of a file, read again whenever it changes."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

import trio

from ..errors import ConfigurationError
from ..services.control_plane import Link, SnapshotError
from ..services.snapshot import Snapshot
from ..services.stage_keys import NO_KEYS, StageKeys
from . import toml_lines
from .snapshot_lines import KnownLines, SnapshotReader
from .watched_file import WatchedFile

RETRY_SECONDS: Final = 0.5
"""Until a file that could not be read is read again."""

SILENT_SECONDS: Final = 300.0
"""Until the process that reads it says something; one that waits for a disk that is gone might never."""


def read_services(path: str | os.PathLike[str], stage_keys: StageKeys = NO_KEYS) -> Snapshot:
    """Read a file of services, with a table ``[services.NAME]`` for each. Blocks while it does.

    Args:
        path: of the file.
        stage_keys: the tables of a service that the stages of the edge read.

    Raises:
        ConfigurationError: everything that is wrong with it: the first 100 faults, and how many more there are.
    """
    reader = _read(path, KnownLines(), stage_keys)
    return Snapshot(reader.services, version=reader.version)


def _read(path: str | os.PathLike[str], known: KnownLines, stage_keys: StageKeys) -> SnapshotReader:
    """Read the whole file here and now; raises as :func:`read_services` does."""
    reader = SnapshotReader(known, stage_keys)
    with suppress(SnapshotError):  # there may be more to say
        for line in toml_lines.toml_lines(path):
            deque(reader.read(f"{line}\n".encode()), maxlen=0)
        deque(reader.finish(), maxlen=0)
        deque(reader.check_entries(), maxlen=0)
    if reader.faults:
        raise ConfigurationError(f"{os.fspath(path)}: {reader.faults}")
    return reader


class FileControl:
    """Services as a file of TOML says, read again whenever it changes.

    The first reading is over before anybody is accepted. Later ones happen in a process of their own. A file with
    faults is refused whole, and one that is gone changes nothing: what it said last holds on, and the log says why.
    It has no devices and takes no reports.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Remember the path; nothing is read before the edge serves.

        Args:
            path: of the file, a table ``[services.NAME]`` for each service; see :func:`read_services`. A relative path
                begins at the working directory of the process. Replace the file by a rename. One that is written in
                place is read once it has been left alone for a tenth of a second.
        """
        self._path = Path(path)
        self._served: Link | None = None

    def __repr__(self) -> str:
        return f"FileControl({os.fspath(self._path)!r})"

    def read(self, stage_keys: StageKeys = NO_KEYS) -> Snapshot:
        """Read what the file says now, as :func:`read_services` does; nothing changes."""
        return read_services(self._path, stage_keys)

    async def run(self, link: Link, /, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Apply the file, and every change of it, until cancelled; nothing is left then but what was applied.

        Run again for the same link, which is being served then, it reads the file as after a change.

        Raises:
            ConfigurationError: the file has faults at the start, or is missing.
        """
        file = WatchedFile(self._path)
        known = KnownLines(serving=link is self._served)
        if link is self._served:
            file.forget()
        else:
            try:
                await _read(self._path, known, link.stage_keys).apply(link)
            except SnapshotError as error:
                raise ConfigurationError(f"{self._path}: {error}") from None
            self._served = link
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.run)
            await self._follow(file, known, link)

    async def _follow(self, file: WatchedFile, known: KnownLines, link: Link) -> NoReturn:
        """Apply every change of the file."""
        while True:
            if not await file.changed():
                link.failed(f"{self._path} is gone; its services stay as they were")
                continue
            try:
                async with SnapshotReader(known, link.stage_keys) as reader:
                    async with _lines(self._path) as chunks:
                        await reader.receive(chunks)
                    await reader.apply(link)
            except SnapshotError as error:
                link.failed(f"snapshot refused: {self._path}: {error}")
            except OSError as error:  # the machine has no other process for us, or no memory
                link.failed(f"{self._path} cannot be read now: {error}")
                await trio.sleep(RETRY_SECONDS)
                file.forget()
            else:
                link.reached()


@asynccontextmanager
async def _lines(path: Path) -> AsyncIterator[AsyncIterator[bytes]]:
    """Read the file in a process of its own, which is gone when the context ends.

    Raises:
        OSError: there is no such process, or it is silent, or came to a bad end, which says nothing of the file.
    """
    command = (sys.executable, "-IS", toml_lines.__file__, os.fspath(path))
    process = await trio.lowlevel.open_process(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with process.stdout, aclosing(_in_time(process.stdout)) as chunks:
            yield chunks
        if code := await process.wait():
            raise OSError(f"its reader ended with {code}")
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def _in_time(stream: trio.abc.ReceiveStream) -> AsyncGenerator[bytes, None]:
    while True:
        with trio.move_on_after(SILENT_SECONDS) as silence:
            chunk = await stream.receive_some()
        if silence.cancelled_caught:
            raise OSError(f"its reader says nothing for {SILENT_SECONDS:g} s")
        if not chunk:
            return
        yield bytes(chunk)
