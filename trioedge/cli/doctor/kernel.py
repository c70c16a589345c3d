"""How the kernel of this machine treats clients that wait, and whether it steers them to workers."""

import socket
import struct
from pathlib import Path
from typing import Final

from ...loop.steering import steer
from .finding import Finding

SHORT_BACKLOG: Final = 1_024

BACKLOG: Final = Path("/proc/sys/net/core/somaxconn")
HALF_OPEN: Final = Path("/proc/sys/net/ipv4/tcp_max_syn_backlog")
MIGRATION: Final = Path("/proc/sys/net/ipv4/tcp_migrate_req")

ALWAYS_THE_SECOND: Final = struct.pack("HBBI", 0x06, 0, 0, 1)
"""A program of classic BPF that returns 1, the number of a socket."""


def backlog(text: str) -> Finding:
    """Judge the number of connections that may wait to be accepted, the content of `somaxconn`."""
    if not text.strip().isdecimal():
        return Finding("note", "backlog", f"not known: {BACKLOG} cannot be read")
    limit = int(text)
    waiting = f"{limit:,} connections may wait to be accepted"
    if limit < SHORT_BACKLOG:
        return Finding("note", "backlog", f"only {waiting}; sysctl net.core.somaxconn={4 * SHORT_BACKLOG} lets more")
    return Finding("ok", "backlog", waiting)


def half_open(text: str) -> Finding:
    """Judge the number of connections whose handshake of TCP is not complete, the content of `tcp_max_syn_backlog`."""
    if not text.strip().isdecimal():
        return Finding("note", "half-open", f"not known: {HALF_OPEN} cannot be read")
    limit = int(text)
    waiting = f"{limit:,} connections may be half-open"
    if limit < SHORT_BACKLOG // 4:
        mend = f"sysctl net.ipv4.tcp_max_syn_backlog={SHORT_BACKLOG} lets more"
        return Finding("note", "half-open", f"only {waiting}, beyond which the kernel drops or encodes them; {mend}")
    return Finding("ok", "half-open", waiting)


def migration(text: str) -> Finding:
    """Judge whether a client that waits for one worker moves to another one, the content of `tcp_migrate_req`."""
    if text.strip() not in ("0", "1"):
        return Finding("note", "moving clients", "this kernel has no net.ipv4.tcp_migrate_req: it came with Linux 5.14")
    if text.strip() == "1":
        return Finding(
            "ok", "moving clients", "a client that waits for a socket that is closed moves to another worker's"
        )
    mend = "sysctl net.ipv4.tcp_migrate_req=1 moves it to another worker's"
    return Finding("note", "moving clients", f"a client that waits for a socket that is closed is reset; {mend}")


def steering() -> Finding:
    """Try whether the kernel gives each source's connections to one of several sockets, as several workers need it."""
    try:
        chosen = _second_of_two()
    except OSError as error:
        why = f"the kernel refuses it ({error.strerror}), so limits by source hold with one worker only"
        return Finding("note", "steering", why)
    if not chosen:
        return Finding("note", "steering", "the kernel takes a program and does not follow it; use one worker")
    return Finding("ok", "steering", "SO_REUSEPORT with a BPF program: each source has one worker")


def _second_of_two() -> bool:
    """Return whether a client of two sockets with one address arrives at the one that a program names."""
    with socket.socket() as first, socket.socket() as second, socket.socket() as client:
        for each in (first, second):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            each.bind(("127.0.0.1", 0) if each is first else first.getsockname())
            each.listen(1)
            each.setblocking(False)
        steer(first, ALWAYS_THE_SECOND)
        client.connect(first.getsockname())
        try:
            second.accept()[0].close()
        except BlockingIOError:
            return False
        return True
