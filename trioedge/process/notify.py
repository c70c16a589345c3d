"""Tell the service manager how the process is: the datagrams of sd_notify(3), without a library.

Nothing is sent without ``NOTIFY_SOCKET``. No function waits or raises: a manager that takes no datagram loses it, and
the next one says the same. These are plain functions, so that a process without an event loop can call them, too.
"""

import os
import socket
import time
from contextlib import suppress
from typing import Final

BEAT_SECONDS: Final = 5.0
"""The time between two datagrams where the manager has no watchdog."""

BEATS_A_WATCHDOG: Final = 3
"""Datagrams in the time of the watchdog, so that two may come late."""

PATIENCE_SECONDS: Final = 30
"""How long the manager waits for the next datagram of a process that starts, or that stops beyond its deadline."""


def is_wanted() -> bool:
    """Return whether a manager wants to be told."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def beat_seconds() -> float:
    """Return how often to call one of these functions: three times in the time of the watchdog, or each 5 s."""
    watchdog = _watchdog_seconds()
    return BEAT_SECONDS if watchdog is None else min(BEAT_SECONDS, watchdog / BEATS_A_WATCHDOG)


def starting(status: str) -> None:
    """Say that the process lives and is not ready yet; call it again and again, because the manager waits 30 s."""
    _send(f"EXTEND_TIMEOUT_USEC={PATIENCE_SECONDS * 1_000_000}", _status(status))


def ready(status: str) -> None:
    """Say that the process serves, and feed the watchdog; call it again and again.

    The first call ends the start, and the first one after :func:`reloading` ends the reload.
    """
    _send("READY=1", f"MAINPID={os.getpid()}", _status(status), *_watchdog())


def reloading() -> None:
    """Say that the process reads its configuration again; :func:`ready` ends it."""
    _send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping(status: str, seconds: float) -> None:
    """Say that the process drains, and feed the watchdog; call it again and again.

    Args:
        status: for people.
        seconds: that the sessions may have from now on, below 0 behind the deadline. The manager waits so long and 30 s
            more, also if its ``TimeoutStopSec`` is less.
    """
    patience = round((min(seconds, 10**9) + PATIENCE_SECONDS) * 1_000_000)
    _send("STOPPING=1", *([f"EXTEND_TIMEOUT_USEC={patience}"] if patience > 0 else []), _status(status), *_watchdog())


def _watchdog_seconds() -> float | None:
    text, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not text.isdecimal() or not int(text) or (pid and pid != str(os.getpid())):
        return None
    return int(text) / 1_000_000


def _watchdog() -> list[str]:
    return [] if _watchdog_seconds() is None else ["WATCHDOG=1"]


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"


def _send(*lines: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.sendto("\n".join(lines).encode(), "\0" + path[1:] if path.startswith("@") else path)
