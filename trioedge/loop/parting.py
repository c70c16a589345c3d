"""Close a client's socket in order behind the last words to it.

A close while bytes of the client are unread, or still on their way, is a reset, which may overtake the words. So the
sending side is closed first, and what the client sends is read and dropped until it has read all and closes. Bytes of
TLS are dropped as they come: nothing is in them any more, and those behind a handshake that failed cannot be decrypted.

| state | event | action |
| --- | --- | --- |
| parting | bytes | drop them |
| parting | the client's end, an error, :data:`PARTING_SECONDS`, more than :data:`PARTING_BYTES` | close; closed |
| parting | more than :data:`MAX_PARTING` are | close the one that began first; closed |
| parting | the reactor ends | close; closed |
"""

import socket
from typing import Final

from .reactor import Reactor
from .sockets import close, reset

PARTING_SECONDS: Final = 2.0
PARTING_BYTES: Final = 1 << 20
MAX_PARTING: Final = 256
"""Sockets of one reactor that are parting at a time."""

_recv_into = socket.SocketType.recv_into  # the kernel's, beneath TLS


def part(reactor: Reactor, sock: socket.SocketType, words: bytes = b"") -> None:
    """Send `words` and close a socket in order. It is not registered, and is the reactor's from now on."""
    try:
        if words:
            sock.send(words)  # a client whose buffers are full does not read them
        sock.shutdown(socket.SHUT_WR)
        parting = Parting(reactor, sock)
        reactor.add_reader(sock.fileno(), parting)
    except OSError:
        close(sock)
        return
    parting.begin()
    if len(reactor.parting) > MAX_PARTING:
        next(iter(reactor.parting)).close()


class Parting:
    """A socket that is closed once its client has read the last words."""

    __slots__ = ("_left", "_reactor", "_sock", "_tick")

    def __init__(self, reactor: Reactor, sock: socket.SocketType) -> None:
        self._reactor = reactor
        self._sock = sock
        self._left = PARTING_BYTES
        self._tick = 0

    def begin(self) -> None:
        """Wait for the client's end from now on."""
        self._reactor.parting[self] = None
        self._tick = self._reactor.set_deadline(self, self._reactor.now + PARTING_SECONDS)

    def on_ready(self, fd: int, mask: int) -> None:  # noqa: ARG002 - the reactor's shape
        try:  # to the end, because the client's is reported once, maybe with its last bytes
            while self._left > 0 and (count := _recv_into(self._sock, self._reactor.buffer)):
                self._left -= count
        except BlockingIOError:
            return
        except OSError:
            pass
        self.close()

    def expire(self, now: float) -> None:  # noqa: ARG002 - the reactor's shape
        self.close(abort=True)

    def crashed(self, fault: BaseException) -> None:  # noqa: ARG002 - the reactor has logged it
        self.close(abort=True)

    def close(self, *, abort: bool = False) -> None:
        """Close it now; `abort` gives up what the client has not taken."""
        reactor = self._reactor
        if self not in reactor.parting:
            return
        del reactor.parting[self]
        reactor.drop_deadline(self, self._tick)
        reactor.forget(self._sock.fileno())
        (reset if abort else close)(self._sock)
