"""An ``edge.toml`` while its edges serve: a changed file is read, and what can be applied is applied.

| the file | event | action |
| --- | --- | --- |
| is in order | it or one of its lists changes, or a SIGHUP comes | read it, in a thread: long lists take their time |
| has faults | it was read | log each fault; nothing changes |
| cannot be read, for another reason | it was read | log the exception; nothing changes |
| differs in keys that are live | it was read | apply them |
| differs in other keys | it was read | log them: they need a restart, and nothing of them is applied |
"""

from collections.abc import Callable
from typing import Any, NoReturn

import structlog
import trio

from ..config.differences import LIVE, differences
from ..config.edge_file import EdgeFile, read_edge_file
from ..config.faults import shown
from ..control.watched_file import WatchedFile
from ..errors import ConfigurationError, EdgeFileError
from ..serving.loading import loading
from ..telemetry.level import LogLevel
from ..telemetry.tracebacks import detached


class LiveFile:
    """The file of a process that serves its edges."""

    def __init__(self, file: EdgeFile, set_level: Callable[[LogLevel], object]) -> None:
        """Take the file as it was read.

        Args:
            file: as its edges serve.
            set_level: applies another log level.
        """
        self._file, self._name, self._set_level = file, str(file.path), set_level
        self._watched = WatchedFile(file.path)
        self._asked = False

    def reload(self) -> None:
        """Read the file again within a second, whether it has changed or not."""
        self._asked = True
        self._watched.forget()

    async def run(self) -> None:
        """Read the file whenever it or one of its lists changes, until cancelled."""
        lists = {path for path, _ in self._file.lists.values()}
        async with trio.open_nursery() as nursery:
            for path in lists:
                nursery.start_soon(self._follow_list, WatchedFile(path))
            await self._follow()

    async def _follow_list(self, watched: WatchedFile) -> None:
        """Have the file read again whenever a list of it has changed."""
        while True:
            await watched.changed()
            self._watched.forget()

    async def _follow(self) -> NoReturn:
        log = structlog.get_logger("trioedge")
        while True:
            there = await self._watched.changed()
            asked, self._asked = self._asked, False
            if not there:
                log.warning("edge file is gone, and changes nothing", file=self._name)
                continue
            try:
                found = await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
            except ConfigurationError as error:
                faults = error.faults if isinstance(error, EdgeFileError) else (str(error),)
                log.error("edge file has faults, and changes nothing", faults=[*faults])
            except Exception as fault:  # of a plugin that is new in the file, or for want of memory
                log.critical("edge file cannot be read, and changes nothing", traceback=detached(fault))
            else:
                if found.broken:
                    log.error("edge file has faults, and changes nothing", faults=[*found.broken.values()])
                else:
                    self._apply(found, log, asked=asked)

    def _read(self) -> EdgeFile:
        with loading():
            return read_edge_file(self._file.path, self._name)

    def _apply(self, found: EdgeFile, log: Any, *, asked: bool) -> None:
        """Apply what can be applied, and say what needs a restart."""
        lists = self._file.lists
        before, after = ({"process": {}, **each.document} for each in (self._file, found))  # a file may leave it out
        paths = dict.fromkeys(differences(before, after))
        paths |= dict.fromkeys(path for path, content in found.lists.items() if content != lists.get(path, content))
        level = found.process.log_level
        changes = level != self._file.process.log_level
        if changes:
            self._set_level(level)
            log.info("log level changed", to=level)
        if pending := [shown(path) for path in paths if path not in LIVE]:
            log.warning("edge file: these keys need a restart, and are not applied", keys=pending)
        elif asked and not changes:
            log.info("edge file is unchanged", file=self._name)
        self._file = self._file.as_served(found.process)
