"""The signals of a process that serves an edge.

| signal | action |
| --- | --- |
| SIGTERM, SIGINT, SIGQUIT: the first | drain |
| the second | cut the sessions |
| the third | end the process at once, also if the event loop is blocked or a stage holds back its cancel |
| one of them, and the event loop is blocked for a second | a line in the log says in which function |
| the second, and sessions are left after a second | a line in the log says how many |
| SIGHUP | reload, and nothing else |
| SIGUSR2 | a line in the log: a restart in place needs several workers |
| any, and the system has no thread left | the same without a line |

The handlers only ask the event loop, which acts when it is free. Lines come from threads of their own, because a
handler may have interrupted the logging of another line; and these are started without the module `threading`, because
it may have interrupted the start of a thread as well.
"""

import os
import signal
import sys
import threading
import time
from _thread import LockType, allocate_lock, start_new_thread
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

import structlog
import trio

from ..telemetry.line_writer import flush_all

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

PATIENCE_SECONDS: Final = 1.0
"""How long a signal may go without effect before the log says why."""

CLOSE_SECONDS: Final = 5.0
"""How long the end of the signals waits for their threads: the interpreter crashes if one begins while it ends."""

LAST_WORDS_SECONDS: Final = 0.5
"""How long a process that a third signal ends waits for its last log line."""

_PACKAGE: Final = str(Path(__file__).parent.parent) + os.sep


class StopSignals:
    """Counts the signals that end a process, and acts on each."""

    def __init__(
        self, drain: Callable[[], object], cut: Callable[[], object], live: Callable[[], int], exit_code: int
    ) -> None:
        """Take no signal yet; call it within a Trio run, in its thread.

        Args:
            drain: called in the event loop after the first signal.
            cut: the same, after the second.
            live: gives the number of live sessions.
            exit_code: of the process that a third signal ends.
        """
        self._actions = [drain, cut]
        self._live = live
        self._exit_code = exit_code
        self._ask = trio.lowlevel.current_trio_token().run_sync_soon
        self._loop = threading.get_ident()
        self._count = self._done = 0
        self._over = allocate_lock()
        self._over.acquire()
        # Appends, because a signal may interrupt an addition.
        self._threads: list[None] = []
        self._ended: list[None] = []

    def on_signal(self, _: int, frame: FrameType | None) -> None:
        """Handle a signal that has interrupted `frame`."""
        self._count += 1
        if self._count > len(self._actions):
            self._end(_place(frame))
        self._ask(self._act)
        with suppress(RuntimeError):  # no thread is left, and an exception would end the edge
            start_new_thread(self._wait, (self._count,))
            self._threads.append(None)

    def close(self) -> None:
        """Explain nothing any more, and wait for the threads, which end at once."""
        self._over.release()
        until = time.monotonic() + CLOSE_SECONDS
        while len(self._ended) < len(self._threads) and time.monotonic() < until:
            time.sleep(0.001)

    def _act(self) -> None:
        action = self._actions[self._done]
        self._done += 1
        action()

    def _wait(self, count: int) -> None:
        """Wait a second for the effect of a signal; in a thread."""
        try:
            if self._over.acquire(timeout=PATIENCE_SECONDS):
                self._over.release()  # for the thread of another signal
            else:
                self._explain(count)
        finally:
            self._ended.append(None)

    def _explain(self, count: int) -> None:
        """Say why a signal has no effect yet."""
        log = structlog.get_logger("trioedge")
        if self._done < count:
            place = _place(sys._current_frames().get(self._loop))
            log.warning("the event loop is blocked: a signal waits for it", at=place, **self._hint(count))
        elif count == len(self._actions):
            live = self._live()
            log.warning("sessions that were cut have not ended: a stage holds back its cancel", live=live,
                        **self._hint(count))  # fmt: skip

    def _hint(self, count: int) -> dict[str, str]:
        return {"so": "one more signal ends the process at once"} if count == len(self._actions) else {}

    def _end(self, place: str) -> NoReturn:
        said = allocate_lock()
        said.acquire()
        try:
            start_new_thread(self._last_words, (place, said))
            said.acquire(timeout=LAST_WORDS_SECONDS)
        finally:
            os._exit(self._exit_code)

    def _last_words(self, place: str, said: LockType) -> None:
        try:
            structlog.get_logger("trioedge").critical("ended at once by a third signal", live=self._live(), at=place)
            flush_all(LAST_WORDS_SECONDS)
        finally:
            said.release()


@contextmanager
def handled(stops: StopSignals, reload: Callable[[], object]) -> Iterator[None]:
    """Handle the signals in this block, and put back the former handlers behind it.

    Args:
        stops: takes those that end the process.
        reload: called in the event loop after a SIGHUP.
    """
    ask = trio.lowlevel.current_trio_token().run_sync_soon
    handlers: dict[int, Callable[..., object]] = dict.fromkeys(STOP_SIGNALS, stops.on_signal)
    handlers[signal.SIGHUP] = lambda *_: ask(reload, idempotent=True)
    handlers[signal.SIGUSR2] = lambda *_: ask(_refuse_restart, idempotent=True)
    before: dict[int, Any] = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        stops.close()


def _refuse_restart() -> None:
    structlog.get_logger("trioedge").warning("a restart in place needs several workers: run with --workers 2, or more")


def _place(frame: FrameType | None) -> str:
    """Say where a thread is: in the function that the edge called last, and that is not the edge's own."""
    outer = frame
    while outer is not None and not outer.f_code.co_filename.startswith(_PACKAGE):
        frame, outer = outer, outer.f_back
    if frame is None:
        return "an unknown place"
    return f"{frame.f_code.co_qualname}, line {frame.f_lineno} of {frame.f_code.co_filename}"
