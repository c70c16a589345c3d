"""Sockets that a test passes as systemd does: in this process, or to a command that it starts."""

import fcntl
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO

import pytest
import trio

from trioedge.serving.listening import inherited as module

FIRST = 700
"""In this process, because the descriptors from 3 on are in use."""


@contextmanager
def passed(
    monkeypatch: pytest.MonkeyPatch, sockets: Sequence[tuple[str, int]], *, pid: int | None = None
) -> Iterator[None]:
    """Have this process find descriptors by name, as if systemd had passed them."""
    monkeypatch.setattr(module, "FIRST_DESCRIPTOR", FIRST)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() if pid is None else pid))
    monkeypatch.setenv("LISTEN_FDS", str(len(sockets)))
    monkeypatch.setenv("LISTEN_FDNAMES", ":".join(name for name, _ in sockets))
    numbers = [fcntl.fcntl(fd, fcntl.F_DUPFD, FIRST + place) for place, (_, fd) in enumerate(sockets)]
    assert numbers == [*range(FIRST, FIRST + len(sockets))]
    module.inherited.cache_clear()
    try:
        yield
    finally:
        module.inherited.cache_clear()
        for number in numbers:
            os.close(number)


STARTER = """\
import os, sys
names, *command = sys.argv[1:]
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(names.count(":") + 1), "LISTEN_FDNAMES": names}
os.execv(command[0], command)
"""


async def start(
    arguments: Sequence[str],
    sockets: Sequence[tuple[str, socket.socket]],
    environment: Mapping[str, str],
    *,
    stderr: IO[str] | None = None,
) -> trio.Process:
    """Start `trioedge` with sockets from descriptor 3 on, by name, as a unit of systemd does."""
    copies = [fcntl.fcntl(sock, fcntl.F_DUPFD, FIRST) for _, sock in sockets]

    def put_in_place() -> None:
        for place, fd in enumerate(copies):
            os.dup2(fd, 3 + place)

    try:
        return await trio.lowlevel.open_process(
            [sys.executable, "-c", STARTER, ":".join(name for name, _ in sockets),
             sys.executable, "-m", "trioedge", *arguments],
            preexec_fn=put_in_place, pass_fds=range(3, 3 + len(sockets)), env={**os.environ, **environment},
            stderr=stderr,
        )  # fmt: skip
    finally:
        for fd in copies:
            os.close(fd)
