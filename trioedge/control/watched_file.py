"""Notice that a file is another one: the system says when to look (inotify, by way of watchfiles), and a stat whether.

What is watched are directories, since a file is replaced by a rename: its own, and that of every link on the way to
it, since a mounted configuration changes by a link that is turned over. Of some files the system says nothing, those
of a network's file systems above all, and sometimes it has no watch left to give. So a look now and then is part of
it, and all that is lost without a watch is time.
"""

import os
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final, NoReturn, TypeAlias

import trio
from trio_util import AsyncBool

from ..telemetry.observer import Observer

STEP_SECONDS: Final = 0.1
"""How often a thread asks the system for news, which it hands on after three of these at most; a cancel takes as long
as one. All costs 1 ms of processor time a second, as a stat twice a second would, and twice as much at half of it."""

LOOK_SECONDS: Final = 5.0
"""A file of which the system says nothing is looked at so often."""

UNWATCHED_SECONDS: Final = 0.5
"""So often while the system does not watch."""

SETTLED_SECONDS: Final = 0.1
"""How long a changed file must not have changed again before it counts as changed."""

_Identity: TypeAlias = tuple[int, ...] | None
_UNKNOWN: Final = ()
"""Other than any file, and than none."""


class WatchedFile:
    """A file, and whether it is still the one that was seen last. :meth:`run` is its worker."""

    def __init__(self, path: Path) -> None:
        """See it as it is now.

        Args:
            path: of a file that may be missing, and may be a link or lie behind one.
        """
        from watchfiles import awatch  # a quarter of the time that importing trioedge takes, and few watch files

        self._awatch = awatch
        self._path = path.absolute()
        self._observer = Observer()
        self._watchable = True
        self._look = AsyncBool()
        self._seen = self._identity()

    async def changed(self) -> bool:
        """Wait until it is another file than the one seen last, and stays so for a tenth of a second; that is seen now.

        A change takes 0.4 s at most to be noticed, or 5.1 s where the system says nothing. After a cancel nothing is
        lost.

        Returns:
            Whether there is a file.
        """
        while True:
            await self._look.wait_value(True)
            self._look.value = False
            found = self._identity()
            if found != self._seen:
                self._look.value = True  # again, if it has not settled, or after a cancel
                await trio.sleep(SETTLED_SECONDS)
                if self._identity() == found:
                    self._seen = found
                    return found is not None

    def forget(self) -> None:
        """What was seen last counts as not seen: it changes at once."""
        self._seen = _UNKNOWN
        self._look.value = True

    async def run(self) -> NoReturn:
        """Watch it until cancelled, which takes a tenth of a second at most, until a thread has noticed."""
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_set_on_cancel, stop)
            while True:
                try:
                    await self._watch(stop)
                except* FileNotFoundError:  # there is no such directory now
                    pass
                except* (OSError, RuntimeError) as errors:  # RuntimeError is what watchfiles has for most faults
                    self._say(errors.exceptions[0])
                await trio.sleep(UNWATCHED_SECONDS)
                self._look.value = True

    async def _watch(self, stop: trio.Event) -> None:
        """Look when the system says so, and now and then. Never returns; raises when the system cannot watch."""
        while True:
            places = self._places()
            self._look.value = True  # for what came before; the waiting task goes on when this one waits, below
            changes = self._awatch(
                *places,
                watch_filter=None,
                recursive=False,
                step=round(STEP_SECONDS * 1000),
                debounce=round(STEP_SECONDS * 1000),
                rust_timeout=round(LOOK_SECONDS * 1000),
                yield_on_timeout=True,
                stop_event=stop,
            )
            async with aclosing(changes):
                async for _ in changes:
                    self._look.value = True
                    if self._places() != places:
                        break

    def _places(self) -> dict[Path, _Identity]:
        """Give what to watch: the file's directory, those of links on the way to it, and the file itself, if there is.

        The file because it may be written under another name: one that is mounted into a container, say. A directory
        that is made anew is another place, so each has its number.
        """
        directories = _directories(self._path, set())
        places: dict[Path, _Identity] = {each: _number(each.stat()) for each in directories}
        with suppress(OSError):
            places[self._path] = _number(self._path.stat())
        return places

    def _identity(self) -> _Identity:
        """Tell one state of the file from another; None when there is none."""
        try:
            status = self._path.stat()
        except OSError:
            return None
        return *_number(status), status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def _say(self, error: Exception) -> None:
        if self._watchable:
            self._watchable = False
            seconds = f"every {UNWATCHED_SECONDS:g} s"
            self._observer.notice("file cannot be watched", path=str(self._path), looked_at=seconds, error=str(error))


def _directories(path: Path, links: set[Path]) -> set[Path]:
    """Give a path's directory, and those of all links that it goes through but `links`, which grow by them."""
    directories = {path.parent}
    for each in (path, *path.parents):
        if each not in links and each.is_symlink():
            links.add(each)
            directories |= {each.parent} | _directories(each.parent / each.readlink(), links)
    return directories


def _number(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino


async def _set_on_cancel(event: trio.Event) -> None:
    try:
        await trio.sleep_forever()
    finally:
        event.set()
