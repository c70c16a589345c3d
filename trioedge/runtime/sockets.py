"""The few socket calls that the runtime makes and Python does not name."""

import contextlib
import fcntl
import socket
import struct
import termios
from typing import Final

_RESET: Final = struct.pack("ii", 1, 0)  # linger on, for no time: close() sends a reset and frees everything


def reset(sock: socket.socket) -> None:
    """Close with a reset: the peer learns at once, nothing lingers, what was not sent is dropped."""
    with contextlib.suppress(OSError):  # a socket that is dead already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


def no_delay(sock: socket.socket) -> None:
    """Send small writes at once; accepted sockets inherit it from their listener on Linux."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def unsent_bytes(sock: socket.socket) -> int:
    """Count what the kernel still holds for the peer, sent and not acknowledged included (SIOCOUTQ, tcp(7))."""
    count: int = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0]
    return count
