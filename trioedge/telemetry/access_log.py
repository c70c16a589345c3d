"""The access log: one line for each session that ended, if you ask for it.

| step | where | cost |
| --- | --- | --- |
| a session ends | it goes to the queue of ends | 0.3 µs |
| at most 0.1 s later | a task writes the lines of what came meanwhile, 16 in one go | 10 µs a line |
| behind that | a thread writes them to the file | none for the event loop |
| a queue is full, or the file cannot be written | lines are lost, and counted; the log says so | none |
"""

import os
import sys
import time
from math import inf
from pathlib import Path
from typing import Final, Literal, TextIO, TypeAlias

import trio
from trio_util import AsyncBool

from ..arguments import Fixed, check_choice, check_number
from ..errors import ConfigurationError, quote
from .access_lines import FORMATS, AccessFormat, fields, sampled
from .ends import SessionEnd
from .line_writer import Descriptor, LineWriter, Sink, descriptor_of, writer_of
from .log import EdgeLog
from .records import CAPACITY

GATHER_SECONDS: Final = 0.1
"""How long lines are gathered after a session has ended, so that a busy edge does not wake a task for each."""

LINES_AT_ONCE: Final = 16
"""Lines that are made before other tasks have a turn."""

SAY_SECONDS: Final = 1.0
"""Between two log lines that say how many lines of the access log were lost."""

CLOSE_SECONDS: Final = 1.0
"""How long the end of an edge waits for its last lines."""

Only: TypeAlias = Literal["all", "refused"]


class AccessLog(Fixed):
    """Which sessions are logged when they end, how, and where: ``Edge(access_log=te.AccessLog("access.log"))``.

    Attributes:
        to: a path, ``-``, ``stderr`` or a stream.
        format: ``json`` or ``text``.
        only: ``all`` or ``refused``.
        sample: the part of these sessions that is logged.
    """

    def __init__(
        self,
        to: Literal["-", "stderr"] | str | os.PathLike[str] | TextIO = "-",
        *,
        format: AccessFormat = "json",  # noqa: A002 - the word that users expect
        only: Only = "all",
        sample: float = 1.0,
    ) -> None:
        """Check the arguments; the file is opened when the edge serves.

        Args:
            to: the path of a file, which lines are appended to; ``-`` for stdout, ``stderr`` for stderr; or a stream of
                text. A relative path begins at the working directory of the process.
            format: ``json`` is an object a line, ``text`` is ``name=value`` for people.
            only: ``refused`` leaves out the sessions that ran.
            sample: from 0 to 1; 0.01 logs one session in a hundred.

        Raises:
            ConfigurationError: an argument is wrong.
        """
        if not to or not (isinstance(to, (str, os.PathLike)) or hasattr(to, "write")):
            raise ConfigurationError(f"AccessLog({quote(to)}) must be the path of a file, '-', 'stderr' or a stream")
        check_choice("AccessLog", "format", format, tuple(FORMATS))
        check_choice("AccessLog", "only", only, ("all", "refused"))
        check_number("AccessLog", "sample", sample)
        if sample > 1:
            raise ConfigurationError(f"AccessLog(sample={sample}) must be at most 1: 0.01 is one session in a hundred")
        self.to = to
        self.format, self.only, self.sample = format, only, sample

    def __repr__(self) -> str:
        return f"AccessLog({quote(self.to)}, format={self.format!r}, only={self.only!r}, sample={self.sample:g})"

    def open(self, log: EdgeLog) -> "LiveAccessLog":
        """Open the file; the edge calls this when it serves.

        Raises:
            ConfigurationError: it cannot be opened.
        """
        return LiveAccessLog(self, log)


class LiveAccessLog:
    """The access log of one run of an edge."""

    def __init__(self, recipe: AccessLog, log: EdgeLog) -> None:
        """Open the file and read the ends of sessions from now on; :meth:`run` makes their lines.

        Args:
            recipe: the arguments.
            log: has the ends, and says what was lost.

        Raises:
            ConfigurationError: the file cannot be opened.
        """
        self._recipe = recipe
        self._log = log
        self._line = FORMATS[recipe.format]
        self._woken = AsyncBool(True)  # the first look at the queue asks to be woken
        self._file: _File | None = None
        self._shared = False
        self._unwritten = 0  # lines that could not be made
        if recipe.to in ("-", "stderr"):
            stream = sys.stdout if recipe.to == "-" else sys.stderr
            if stream is None:
                raise ConfigurationError(f"{recipe}: this process has no {'stdout' if recipe.to == '-' else 'stderr'}")
            fd = descriptor_of(stream)
            self._shared = fd is not None
            self._writer = _writer(_Stream(stream)) if fd is None else writer_of(fd)
        elif isinstance(recipe.to, (str, os.PathLike)):
            self._file = _File(Path(recipe.to))
            self._writer = _writer(self._file)
        else:
            self._writer = _writer(_Stream(recipe.to))
        self._said, self._said_at = self._writer.lost, -SAY_SECONDS
        self._reader = log.ends.open(self._wake)

    def _wake(self) -> None:
        self._woken.value = True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write the lines of the sessions that end, until cancelled; :meth:`close` writes the last ones."""
        task_status.started()
        while True:
            await self._woken.wait_value(True)
            self._woken.value = False
            await trio.sleep(GATHER_SECONDS)
            for _ in range(CAPACITY // LINES_AT_ONCE):  # a flood has more, and loses them
                if not self._write_some():
                    break
                await trio.lowlevel.checkpoint()
            else:
                self._woken.value = True
            self._say_lost(trio.current_time())

    def reopen(self) -> None:
        """Open the file again, because it was renamed; where that fails, the file that is open stays in use."""
        if self._file is not None:
            self._writer.call(self._file.reopen)
            self._woken.value = True  # to say what came of it

    async def close(self) -> None:
        """Write the lines that are left, at most for a second, also in a cancelled scope; then close the file."""
        while self._write_some():
            pass
        self._reader.close()
        with trio.CancelScope(shield=True):
            try:
                await trio.to_thread.run_sync(self._finish)
            except RuntimeError:  # the system has no thread left, so this one waits
                self._finish()
        self._say_lost(now=inf)

    def _finish(self) -> None:
        if self._shared:
            self._writer.flush(CLOSE_SECONDS)
        else:
            self._writer.close(self._close_file, CLOSE_SECONDS)

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()

    def _write_some(self) -> bool:
        """Make and queue a few lines; say whether there were records."""
        ends = self._reader.take(LINES_AT_ONCE)
        lines = [end for end in ends if self._wanted(end)]
        if lines:
            offset = time.time() - trio.current_time()
            text = "".join(self._text_of(end, offset) for end in lines)
            self._writer.write(text.encode(), text.count("\n"))
        return bool(ends)

    def _text_of(self, end: SessionEnd, offset: float) -> str:
        """Give the line of a session; none, which is lost, if the time of the system is in no year of four digits."""
        try:
            return f"{self._line(fields(end, offset, self._log.stages))}\n"
        except (ValueError, OverflowError):
            self._unwritten += 1
            return ""

    def _wanted(self, end: SessionEnd) -> bool:
        recipe = self._recipe
        return (recipe.only == "all" or end.refused) and (recipe.sample == 1 or sampled(end.id, recipe.sample))

    def _say_lost(self, now: float) -> None:
        """Log how many lines were lost since this was said last, and that the file could not be opened again."""
        lost = self._reader.lost + self._writer.lost + self._unwritten
        if lost > self._said and now >= self._said_at + SAY_SECONDS:
            self._log.notice("access log lines dropped", count=lost - self._said, to=self._name)
            self._said, self._said_at = lost, now
        if self._file is not None and self._file.fault:
            self._log.notice("access log cannot be opened again", to=self._name, error=self._file.fault)
            self._file.fault = ""

    @property
    def _name(self) -> str:
        return quote(self._recipe.to) if self._file is None else str(self._recipe.to)


def _writer(sink: Sink) -> LineWriter:
    return LineWriter(sink, name="access log")


class _Stream:
    """A stream of text that a program gave."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, data: bytes) -> None:
        self._stream.write(data.decode())
        self._stream.flush()


class _File:
    """A file that lines are appended to; only the writer's thread uses it once it is open.

    Attributes:
        fault: why it could not be opened again; empty if it could.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self.fault = ""
        try:
            self._fd = self._opened()
        except OSError as error:
            raise ConfigurationError(f"access log {path} cannot be opened: {error.strerror}") from None
        self._sink = Descriptor(self._fd)

    def _opened(self) -> int:
        # not blocking, so that the edge does not wait for the reader of a named pipe
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        return os.open(self._path, flags, 0o640)

    def write(self, data: bytes) -> None:
        self._sink.write(data)

    def reopen(self) -> None:
        try:
            fd = self._opened()
        except OSError as error:
            self.fault = str(error.strerror)
            return
        os.close(self._fd)
        self._fd, self._sink = fd, Descriptor(fd)

    def close(self) -> None:
        os.close(self._fd)
