"""The few socket calls that the runtime makes and Python does not name."""

import contextlib
import fcntl
import socket
import struct
import termios
from typing import Final

SO_MAX_PACING_RATE: Final = 47
"""Linux's number for it (asm-generic/socket.h), which Python does not name."""

PIECE_SECONDS: Final = 0.02
"""What a piece carries at the rate of its socket: see :func:`pace`."""

MIN_PIECE: Final = 1400
"""Bytes of a piece at least; fits into a segment of any usual network."""

MAX_PIECE: Final = 65536
"""No segment is larger; a rate that would have larger pieces has none."""

_SIOCOUTQNSD: Final = 0x894B  # linux/sockios.h
_NO_RATE: Final = 2**64 - 1

_RESET: Final = struct.pack("ii", 1, 0)  # linger on, for no time: close() sends a reset and frees everything


def reset(sock: socket.socket) -> None:
    """Close with a reset: the peer learns at once, nothing lingers, what was not sent is dropped."""
    with contextlib.suppress(OSError):  # a socket that is dead already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


def no_delay(sock: socket.socket) -> None:
    """Send small writes at once; accepted sockets inherit it from their listener on Linux."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def unacknowledged_bytes(sock: socket.socket) -> int:
    """Count what the kernel still holds for the peer, sent and not acknowledged included (SIOCOUTQ, tcp(7))."""
    count: int = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0]
    return count


def unsent_bytes(sock: socket.socket) -> int:
    """Count what the kernel has not sent yet, for want of a window or for the pace's sake (SIOCOUTQNSD).

    0 for a socket that knows no such count, as local ones do not.
    """
    try:
        count: int = struct.unpack("i", fcntl.ioctl(sock, _SIOCOUTQNSD, bytes(4)))[0]
    except OSError:
        return 0
    return count


def pace(sock: socket.socket, rate: float) -> int:
    """Have the kernel send at most `rate` bytes a second on this TCP socket; infinity takes the limit away.

    With `fq` on the interface the queue paces, without it TCP does so itself (Linux 4.13; socket(7)).

    The kernel sets the time of the next packet when one goes out, and does not take it back when the rate is raised; it
    also lets the first ten segments of a connection go unpaced. On loopback a segment has up to 64 KB, which at a low
    rate are seconds. So at a low rate what is sent should be in pieces, each with MSG_EOR, which the kernel does not
    join.

    Returns:
        Bytes of a piece; 0 if the rate is so high that it does not matter.
    """
    value = _NO_RATE if rate >= _NO_RATE else max(1, int(rate))
    sock.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, struct.pack("Q", value))
    if rate * PIECE_SECONDS >= MAX_PIECE:
        return 0
    piece = max(MIN_PIECE, int(rate * PIECE_SECONDS))
    segment = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    return piece if piece <= segment else piece - piece % segment  # whole segments, for less would be more packets
