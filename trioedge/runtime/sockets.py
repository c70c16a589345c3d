"""The few socket calls that the runtime makes and Python does not name."""

import contextlib
import socket
import struct
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
