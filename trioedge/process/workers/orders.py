"""Orders between the parent and one child: small messages, with a file descriptor where one is passed on.

| from the parent | then the child |
| --- | --- |
| ``listen``, an edge | accepts clients of the edge: the parent listens |
| ``drain``, maybe an edge, seconds | stops to accept, and ends when its sessions have ended, or at the deadline |
| ``cut`` | cuts its sessions |
| ``reload`` | reads sources and reopens files, as after a SIGHUP |
| ``level``, a level | logs by it |
| ``refused``, why | (the control process) tells operators that a restart was refused |
| ``retire`` | the control process lets its successor take over, and ends |
| ``end`` | the control process sends the last reports, and ends |
| the end of the connection | drains: the parent is dead |

| from a child | then the parent |
| --- | --- |
| ``ready``, an edge | listens on the addresses of the edge, and steers clients to this worker |
| ``keep``, an edge, an address, a socket | keeps the listener of a service |
| ``forget``, an edge, an address | closes it |
| ``end``, an edge, seconds | has all workers drain it; with the last edge, all |
| ``restart`` | begins a restart, as after a SIGUSR2 |
| ``level``, a level | passes it on to all |

A socket pair of packets (``SOCK_SEQPACKET``) keeps messages apart and in order. Neither side ever waits to send: a
message that finds the buffer full is sent later.
"""

import array
import json
import os
import socket
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import trio

Message: TypeAlias = Mapping[str, Any]

MAX_BYTES: Final = 4_096
"""Of one message."""

MAX_AT_ONCE: Final = 256
"""Messages that one call gives, so that a side that sends without pause does not hold up the other."""

RETRY_SECONDS: Final = 0.05
"""Between two tries to send what found the buffer full."""


class Orders:
    """One end. The parent calls :meth:`receive` when the socket is readable; a child awaits :meth:`next`.

    Attributes:
        sock: non-blocking.
        over: whether the other end is closed.
    """

    def __init__(self, sock: socket.socket) -> None:
        """Take one end of a socket pair."""
        sock.setblocking(False)
        self.sock = sock
        self.over = False
        self._later: deque[tuple[bytes, int | None]] = deque()
        self._found: deque[tuple[Message, int | None]] = deque()

    @property
    def waits(self) -> bool:
        """Whether something is to be sent later."""
        return bool(self._later)

    def send(self, message: Message, fd: int | None = None) -> None:
        """Send a message, at once or by a later :meth:`flush`.

        Args:
            message: of what JSON can write.
            fd: a file descriptor that the other side gets a copy of; this one may be closed when the call returns.
        """
        copy = None if fd is None else os.dup(fd)
        self._later.append((json.dumps(message).encode(), copy))
        self.flush()

    def flush(self) -> None:
        """Send what has waited, as far as the buffer has room."""
        while self._later and not self.over:
            data, fd = self._later[0]
            rights = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
            try:
                self.sock.sendmsg([data], rights)
            except BlockingIOError:
                return
            except OSError:
                self.over = True
            self._drop_first()
        while self._later:
            self._drop_first()

    def _drop_first(self) -> None:
        _, fd = self._later.popleft()
        if fd is not None:
            os.close(fd)

    def receive(self) -> list[tuple[Message, int | None]]:
        """Give the messages that have come, each with its file descriptor, which is the caller's from now on.

        One that cannot be read is an empty message.
        """
        self._read()
        found = [*self._found]
        self._found.clear()
        return found

    def _read(self) -> None:
        for _ in range(MAX_AT_ONCE):
            if self.over:
                return
            try:
                data, fds, _, _ = socket.recv_fds(self.sock, MAX_BYTES, 1)
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", []
            if not data:
                self.over = True
                return
            for fd in fds:
                os.set_inheritable(fd, False)
            for fd in fds[1:]:  # the kernel may pass one more than was asked for
                os.close(fd)
            self._found.append((_message(data), fds[0] if fds else None))

    async def next(self) -> Message | None:
        """Wait for a message, in a child, which is passed no descriptor; None when the parent is dead."""
        while not self._found:
            self._read()
            if self._found or self.over:
                break
            await trio.lowlevel.wait_readable(self.sock)
        return self._found.popleft()[0] if self._found else None

    async def run(self) -> None:
        """Send what waits, in a child, until cancelled."""
        while True:
            await trio.sleep(RETRY_SECONDS)
            self.flush()

    def close(self) -> None:
        """Close this end; what waits is dropped."""
        self.over = True
        self.flush()
        self.sock.close()


def _message(data: bytes) -> Message:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):  # cut off, or no JSON
        return {}
    return found if isinstance(found, dict) else {}


def order_pair() -> tuple[Orders, socket.socket]:
    """Make the parent's end, and the socket of the child's."""
    parent, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Orders(parent), child
