"""The rate at which the kernel sends on a socket."""

import socket
import struct

from trioedge.loop.sockets import SO_MAX_PACING_RATE

UNPACED = 2**64 - 1
"""The rate of a socket without a limit."""


def paced_at(sock: socket.SocketType) -> int:
    """Give the rate in bytes a second."""
    rate: int = struct.unpack("Q", sock.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 8))[0]
    return rate
