"""Socket calls and options of Linux that Python does not name."""

import errno
import fcntl
import socket
import struct
import termios
from functools import cache
from pathlib import Path
from typing import Any, Final

SO_MAX_PACING_RATE: Final = 47
"""The number of the option (asm-generic/socket.h)."""

PIECE_SECONDS: Final = 0.02
"""How long the bytes of a piece take at the rate of its socket: see :func:`pace`."""

MIN_PIECE: Final = 1400
"""The fewest bytes in a piece: a segment of any usual network has room for them."""

MAX_PIECE: Final = 65536
"""The most bytes in a piece, because no segment is larger; a rate that would need larger pieces uses none."""

KEEP_ALIVE_SECONDS: Final = 60
"""How long the upstream of a session is silent before the kernel probes it: see :func:`keep_alive`."""

_PORT_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")  # also of IPv6
_SIOCOUTQNSD: Final = 0x894B  # linux/sockios.h
_family = socket.SocketType.family.__get__  # `sock.family` makes an enum of it, each time, for a microsecond
_LOCAL: Final = int(socket.AF_UNIX)
_NO_RATE: Final = 2**64 - 1

_SOCKET: Final = int(socket.SOL_SOCKET)
_LINGER: Final = int(socket.SO_LINGER)
_TCP: Final = int(socket.IPPROTO_TCP)
_NODELAY: Final = int(socket.TCP_NODELAY)
_INFO: Final = int(socket.TCP_INFO)
_TCP_CLOSE: Final = 7  # linux/tcp_states.h
_STREAM: Final = int(socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
_COUNT: Final = struct.Struct("i")
_RESET: Final = struct.pack("ii", 1, 0)  # linger on, for 0 s: close() sends a reset and drops all buffers


def reset(sock: socket.SocketType) -> None:
    """Close with a reset: the peer is told at once, unsent bytes are dropped, and no state is left in the kernel."""
    try:  # noqa: SIM105 - in most sessions
        sock.setsockopt(_SOCKET, _LINGER, _RESET)
    except OSError:  # a socket that is dead already
        pass
    close(sock)


def close(sock: socket.SocketType) -> None:
    """Close in order: the kernel delivers what was written. Its descriptor is free whatever the kernel answers."""
    try:  # noqa: SIM105 - in each session
        sock.close()
    except OSError:  # a delayed error of a socket that is gone
        pass


def for_users(sock: socket.SocketType) -> socket.socket:
    """Give a bare non-blocking socket the methods that users' code expects; the bare one does not have it any more.

    One that has them is given back, such as that of TLS.

    Raises:
        OSError: it could not be made, and the bare one stays open.
    """
    if isinstance(sock, socket.socket):
        return sock
    full = socket.socket(fileno=sock.fileno())
    sock.detach()
    full.setblocking(False)
    return full


def connect_at_once(family: int, where: Any) -> socket.SocketType | None:
    """Connect to a socket address of this machine, whose kernel answers at once.

    Returns:
        The connected, non-blocking socket. None if the connection was refused, is not there yet or is one to itself:
        nothing is left open then.
    """
    try:
        sock = socket.SocketType(family, _STREAM, 0)
    except OSError:
        return None
    try:
        if family != _LOCAL:
            sock.setsockopt(_TCP, _NODELAY, 1)
        # A connect that does not wait never says that it has succeeded; the second one does.
        code = sock.connect_ex(where)
        if code == errno.EINPROGRESS:
            code = sock.connect_ex(where)
        if not code and (family == _LOCAL or where[1] not in ephemeral_ports() or sock.getsockname() != where):
            return sock
    except OSError:
        pass
    reset(sock)  # the port of a connection to itself would be taken for a minute after a close
    return None


def is_local(sock: socket.SocketType) -> bool:
    """Tell whether it is a local socket (AF_UNIX)."""
    return bool(_family(sock) == _LOCAL)


def send_now(sock: socket.SocketType, data: bytes) -> bytes:
    """Send what a socket takes at once, and give the rest: all of it if the socket fails, as the next write will."""
    try:
        return data[sock.send(data) :]
    except OSError:  # BlockingIOError too
        return data


def no_delay(sock: socket.SocketType) -> None:
    """Set TCP_NODELAY: small writes are sent at once. On Linux accepted sockets inherit it from their listener."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


KEEPALIVE_PROBES: Final = 4
"""Probes without an answer after which the kernel takes a silent peer for gone."""

MAX_KEEPALIVE_SECONDS: Final = 32_767
"""The longest silence before the first probe that Linux takes."""


def keep_alive(sock: socket.SocketType, seconds: float) -> None:
    """Have the kernel probe a silent peer, and end the connection if it does not answer (tcp(7), RFC 9293 3.8.4).

    A peer that has vanished without a word is noticed after `seconds`, and as long again for the probes. On Linux
    accepted sockets inherit the options from their listener.

    Args:
        sock: a TCP socket, connected or not.
        seconds: the silence before the first probe, 1 to 32,767; less counts as 1.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, round(seconds)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, round(seconds / KEEPALIVE_PROBES)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)


def probe(sock: socket.SocketType) -> None:
    """Apply :func:`keep_alive` for :data:`KEEP_ALIVE_SECONDS` to a TCP socket on which its owner has not done so."""
    try:
        if not is_local(sock) and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
            keep_alive(sock, KEEP_ALIVE_SECONDS)
    except OSError:  # a socket that is dead already
        pass


@cache
def ephemeral_ports() -> range:
    """Give the ports from which the kernel chooses for outgoing connections, as they were when first asked for."""
    try:
        first, last = map(int, _PORT_RANGE.read_text().split())
    except (OSError, ValueError):  # a sandbox without /proc
        first, last = 1024, 65535
    return range(first, last + 1)


def is_connected_to_itself(sock: socket.SocketType) -> bool:
    """Tell whether a TCP socket is its own peer (RFC 9293 section 3.5, simultaneous open).

    That happens on a port of this machine on which no server listens, if the kernel chooses this very port for the
    connection; so only where the port of the destination is one of the :func:`ephemeral_ports`.
    """
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:  # its peer has reset it meanwhile, so it was another one
        return False


def scoped(host: str, port: int) -> tuple[Any, ...]:
    """Give the address to connect to of an IPv6 address that may name its interface, as in ``fe80::1%eth0``.

    Raises:
        OSError: this machine has no such interface (ENODEV).
    """
    plain, _, zone = host.partition("%")
    if not zone:
        return host, port
    try:
        index = int(zone) if zone.isascii() and zone.isdecimal() else socket.if_nametoindex(zone)
        socket.if_indextoname(index)
    except (OSError, OverflowError, ValueError):
        raise OSError(errno.ENODEV, f"this machine has no interface {zone!r}") from None
    return plain, port, 0, index


def received_bytes(sock: socket.SocketType) -> int:
    """Count the bytes that wait to be read, also behind a reset (SIOCINQ, tcp(7)); the socket keeps its error.

    0 if the kernel has no such count.
    """
    return _queued(sock, termios.FIONREAD)


def unacknowledged_bytes(sock: socket.SocketType) -> int:
    """Count the bytes in the send buffer: unsent ones, and sent ones not acknowledged yet (SIOCOUTQ, tcp(7)).

    0 if the kernel has no such count, and once the connection was reset: the count stays then, for ever.
    """
    count = _queued(sock, termios.TIOCOUTQ)
    return 0 if count and _is_over(sock) else count


def is_owed(sock: socket.SocketType) -> bool:
    """Tell whether the host of a TCP socket has not acknowledged all bytes; no more is known of other sockets."""
    return _family(sock) != _LOCAL and unacknowledged_bytes(sock) > 0


def unsent_bytes(sock: socket.SocketType) -> int:
    """Count the bytes that the kernel has not sent yet, because of the peer's window or the pace (SIOCOUTQNSD).

    0 for a socket without such a count, such as a local one.
    """
    return _queued(sock, _SIOCOUTQNSD)


def _is_over(sock: socket.SocketType) -> bool:
    """Tell whether the kernel has given a TCP connection up, as after a reset (TCP_INFO, tcp(7))."""
    try:
        return sock.getsockopt(_TCP, _INFO, 1)[0] == _TCP_CLOSE
    except OSError:  # a local socket
        return False


def _queued(sock: socket.SocketType, request: int) -> int:
    """Ask the kernel for a count of bytes; 0 if it has none."""
    answer = bytearray(4)
    try:
        fcntl.ioctl(sock, request, answer)
    except OSError:
        return 0
    count: int = _COUNT.unpack(answer)[0]
    return count


def pace(sock: socket.SocketType, rate: float) -> int:
    """Limit the rate at which the kernel sends on a TCP socket (SO_MAX_PACING_RATE).

    With `fq` on the interface the queue paces, without it TCP does so itself (Linux 4.13; socket(7)).

    The kernel fixes the time of the next packet when it sends one, and keeps it when the rate is raised; the first ten
    segments of a connection are not paced. On loopback a segment has up to 64 KB, which takes seconds at a low rate. So
    at a low rate bytes should be sent in pieces with MSG_EOR, which the kernel does not join to larger segments.

    Args:
        sock: a connected TCP socket.
        rate: bytes a second, above 0; infinity for no limit.

    Returns:
        The size of a piece in bytes; 0 if the rate is so high that pieces are not needed.
    """
    value = _NO_RATE if rate >= _NO_RATE else max(1, int(rate))
    sock.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, struct.pack("Q", value))
    if rate * PIECE_SECONDS >= MAX_PIECE:
        return 0
    piece = max(MIN_PIECE, int(rate * PIECE_SECONDS))
    segment = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    return (
        piece if piece <= segment else piece - piece % segment
    )  # whole segments, because a rest would be a packet of its own


def send_in_pieces(sock: socket.SocketType, data: memoryview, piece: int) -> int:
    """Send what a paced socket takes, each piece as a packet of its own, so that another rate applies soon.

    Args:
        sock: the socket.
        data: the bytes.
        piece: the size of a piece, as :func:`pace` gave it.

    Returns:
        How many bytes it took.

    Raises:
        OSError: it took none.
    """
    count = 0
    while count < len(data):
        try:
            count += sock.send(data[count : count + piece], socket.MSG_EOR)
        except OSError:  # BlockingIOError too
            if not count:
                raise
            break  # the next write raises it again
    return count
