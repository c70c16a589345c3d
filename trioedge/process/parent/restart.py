"""A restart in place: the parent becomes the new version of the program, with its sockets, memory and children.

| step | if it fails |
| --- | --- |
| a trial: the same command in a process of its own, up to the point at which it would serve | the old version goes on |
| the parent replaces itself (execve(2)), and passes on its descriptors | the old version goes on |
| the new image makes its edges again, and adopts the descriptors | it ends; the workers see that, and drain |
| it forks a control process and workers | the old workers go on while it tries again |
| they are ready: the old ones are told to drain | |

The trial binds the addresses that are new, and closes them again. The process id stays, so a service manager or a
container sees one process. Signals are blocked meanwhile, so that none ends the image that has no handlers yet.
"""

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from ...serving.listening.inherited import hand_on

TRIAL: Final = "TRIOEDGE_TRIAL"
"""The variable of a trial: the edges and addresses that it need not try to bind."""

ADOPT: Final = "TRIOEDGE_ADOPT"
"""The variable that names the descriptor of what is passed on."""


def is_trial() -> bool:
    """Whether this process is to make its edges, and to end where it would serve them."""
    return TRIAL in os.environ


def start_folder() -> str:
    """Give the folder that the command was called in: a link such as ``current`` may point elsewhere after a while."""
    said, real = Path(os.environ.get("PWD", "")), Path.cwd()
    try:
        return str(said if said.is_absolute() and said.samefile(real) else real)
    except OSError:
        return str(real)


def _command() -> list[str]:
    return [sys.executable, *sys.orig_argv[1:]]


def bound_already() -> list[tuple[str, str]]:
    """Give the edges and addresses that a trial need not try to bind, because the new version finds them bound."""
    return [(edge, address) for edge, address in json.loads(os.environ[TRIAL])]


def start_trial(folder: str, bound: Iterable[tuple[str, str]]) -> int:
    """Start a trial of the same command, and give the id of its process; it writes its faults to stderr.

    Args:
        folder: in which the command was called.
        bound: the edges and addresses that the new version finds bound.

    Raises:
        OSError: the system has no process left, or the folder is gone.
    """
    os.chdir(folder)
    return os.posix_spawn(sys.executable, _command(), {**os.environ, TRIAL: json.dumps([*bound])}, setsigmask=())


def kill_trial(pid: int, number: int) -> None:
    """Send a signal to a trial, if it lives."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


@attrs.frozen
class Passed:
    """What one image of the parent passes on to the next.

    Attributes:
        generation: of its children.
        memory: the descriptor of the shared memory.
        hub: the descriptor of the hub's socket.
        secret: of the hub.
        groups: of listening sockets: as :class:`~.sockets.SocketGroup` describes itself.
        admins: those of the admin APIs.
        kept: listeners of services: edge, address and descriptor.
        children: pid, column, number, generation, ready edges, and the descriptor of the orders.
        signals: that have come and were not handled yet.
    """

    generation: int
    memory: int
    hub: int
    secret: str
    groups: list[dict[str, Any]]
    admins: list[dict[str, Any]]
    kept: list[tuple[str, str, int]]
    children: list[dict[str, Any]]
    signals: list[int]

    def descriptors(self) -> Iterable[int]:
        """Give every descriptor."""
        yield from (self.memory, self.hub)
        for group in (*self.groups, *self.admins):
            yield from group["sockets"]
        yield from (fd for _, _, fd in self.kept)
        yield from (child["orders"] for child in self.children)


def replace_image(pass_on: Callable[[], Passed], folder: str, blocked: Iterable[int]) -> None:
    """Become the new version; returns only by an exception.

    Args:
        pass_on: gives all that the next image needs, when no signal can come any more.
        folder: in which the command was called.
        blocked: signals that wait for the next image.

    Raises:
        OSError: the program cannot be executed; the process is as it was.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        passed = pass_on()
        state = os.memfd_create("trioedge-restart", 0)  # passed on
        try:
            with open(state, "wb", closefd=False) as file:
                file.write(json.dumps(attrs.asdict(passed)).encode())
            os.lseek(state, 0, os.SEEK_SET)
            for fd in passed.descriptors():
                os.set_inheritable(fd, True)
            os.chdir(folder)
            flush_prints()
            os.execve(sys.executable, _command(), {**os.environ, **hand_on(), ADOPT: str(state)})
        finally:
            for fd in passed.descriptors():
                os.set_inheritable(fd, False)
            os.close(state)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def adopted() -> Passed | None:
    """Give what an earlier image has passed on, once; None in a process that was started."""
    number = os.environ.pop(ADOPT, None)
    if number is None:
        return None
    with open(int(number), "rb") as state:  # noqa: PTH123 - a descriptor
        found: Mapping[str, Any] = json.load(state)
    passed = Passed(**{**found, "kept": [tuple(each) for each in found["kept"]]})
    for fd in passed.descriptors():
        os.set_inheritable(fd, False)
    return passed


def flush_prints() -> None:
    """Write what the program has printed: a fork would copy it, and an exec or an exit without clean-up drop it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # there is none, or its reader has gone
            stream.flush()


def socket_of(fd: int) -> socket.socket:
    """Make the socket of a descriptor that was passed on."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock
