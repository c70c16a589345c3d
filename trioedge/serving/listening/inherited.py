"""Sockets that systemd has opened and passed to this process: ``listen = "systemd:NAME"``, sd_listen_fds(3).

| step | what happens |
| --- | --- |
| the first look | removes the variables; no program that this process starts gets the sockets |
| bind | a duplicate of each socket of the name; what systemd opened stays open for the life of the process |
| listen | nothing: systemd listens already, and clients wait in the backlog until the edge accepts them |
| close | closes the duplicate; clients that wait are the successor's, because systemd has the socket as well |
| exec in place | the same process number finds the sockets again: :func:`hand_on` |
"""

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Final

from ...addresses.address import Address, parse_address
from ...errors import ConfigurationError, ListenError
from ...loop.sockets import keep_alive, no_delay

FIRST_DESCRIPTOR: Final = 3
"""SD_LISTEN_FDS_START: the others have the numbers behind it."""

UNNAMED: Final = "unknown"
"""The name of a socket for which systemd passed none."""

_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")


@cache
def inherited() -> Mapping[str, tuple[int, ...]]:
    """Return the descriptors that systemd has passed to this process, by name, in the order of the units.

    The first call looks; later ones, also in children that were forked since, give the same.
    """
    given = {name: os.environ.get(name, "") for name in _VARIABLES}
    if not given["LISTEN_FDS"].isdecimal() or given["LISTEN_PID"] != str(os.getpid()):
        return {}
    for name in _VARIABLES:
        os.environ.pop(name, None)
    names = given["LISTEN_FDNAMES"].split(":")
    found: dict[str, list[int]] = {}
    for number in range(int(given["LISTEN_FDS"])):
        fd = FIRST_DESCRIPTOR + number
        try:
            os.set_inheritable(fd, False)
        except OSError:  # it is not open
            continue
        name = names[number] if number < len(names) else ""
        found.setdefault(name or UNNAMED, []).append(fd)
    return {name: tuple(descriptors) for name, descriptors in found.items()}


def hand_on() -> Mapping[str, str]:
    """Let the program that this process executes next have the sockets; return the variables that it needs.

    They mean something to this process number alone. Empty if systemd passed none.
    """
    by_number = {fd: name for name, descriptors in inherited().items() for fd in descriptors}
    if not by_number:
        return {}
    for fd in by_number:
        os.set_inheritable(fd, True)
    numbers = range(FIRST_DESCRIPTOR, max(by_number) + 1)
    names = ":".join(by_number.get(fd, "") for fd in numbers)
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(numbers)), "LISTEN_FDNAMES": names}


def without_listener(listen: Iterable[str]) -> Sequence[str]:
    """Return the names that systemd has passed and that no address has: clients there would wait for ever."""
    addresses = {*listen}
    return [name for name in inherited() if f"systemd:{name}" not in addresses]


class PassedSocket:
    """A socket that systemd passed, which listens already."""

    def __init__(self, fd: int, given: Address, keepalive_seconds: float) -> None:
        """Take a duplicate of a descriptor.

        Raises:
            ListenError: it is no socket that accepts clients of TCP or of a local socket at a path.
        """
        try:
            copy = os.dup(fd)
        except OSError as error:
            raise _refused(given, error.strerror or str(error)) from None
        try:
            self.sock = socket.socket(fileno=copy)
        except OSError as error:
            os.close(copy)
            raise _refused(given, f"descriptor {fd} is no socket ({error.strerror}): write ListenStream=") from None
        try:
            self.given = given
            self.address = _listens_at(self.sock, given)
            self.sock.setblocking(False)
            if self.address.scheme == "tcp":
                no_delay(self.sock)  # accepted sockets inherit both
                if keepalive_seconds:
                    keep_alive(self.sock, keepalive_seconds)
        except BaseException:
            self.sock.close()
            raise

    def listen(self) -> None:
        """Do nothing: systemd listens."""

    def close(self) -> None:
        """Accept no more; the socket stays open in systemd, and clients that wait go on waiting."""
        self.sock.close()


def passed_sockets(given: Address, keepalive_seconds: float) -> list[PassedSocket]:
    """Return every socket of a name that systemd passed.

    Args:
        given: ``systemd:NAME``.
        keepalive_seconds: for TCP clients, as in :func:`bind`; 0 leaves what the unit says.

    Raises:
        ListenError: there is none of the name, or one is no socket that accepts clients; nothing stays open but what
            systemd opened.
    """
    found: list[PassedSocket] = []
    try:
        found += (PassedSocket(fd, given, keepalive_seconds) for fd in _descriptors(given))
    except BaseException:
        for each in found:
            each.close()
        raise
    return found


def _descriptors(given: Address) -> Sequence[int]:
    there = inherited()
    if given.path in there:
        return there[given.path]
    if there:
        raise _refused(given, f"systemd passed none of this name, but {', '.join(there)}: see FileDescriptorName=")
    pid = os.environ.get("LISTEN_PID", "")
    if pid and pid != str(os.getpid()):
        raise _refused(
            given, f"systemd passed sockets to process {pid}, and this is {os.getpid()}: let ExecStart= name trioedge "
            "itself, or a shell that ends with exec"
        )  # fmt: skip
    raise _refused(
        given, f"systemd passed no socket: start a unit with FileDescriptorName={given.path}, or give another --listen"
    )


def _listens_at(sock: socket.socket, given: Address) -> Address:
    """Return where a socket listens."""
    if sock.type != socket.SOCK_STREAM:
        raise _refused(given, f"it is of the kind {_kind(sock)}, which trioedge cannot serve: write ListenStream=")
    where = sock.getsockname()
    if sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        raise _refused(given, "it is neither of TCP nor a local socket: write ListenStream= with a port or a path")
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise _refused(given, "it is a connection and accepts none: write Accept=no")
    if sock.family != socket.AF_UNIX:
        return Address("tcp", where[0].partition("%")[0], where[1])
    if not where or isinstance(where, bytes):
        raise _refused(given, "it is an abstract socket: write ListenStream= with a path")
    try:
        return parse_address(f"unix://{where}", listening=True)
    except ConfigurationError as error:
        raise _refused(given, str(error)) from None


def _kind(sock: socket.socket) -> str:
    return getattr(sock.type, "name", str(sock.type))


def _refused(given: Address, why: str) -> ListenError:
    return ListenError(f"cannot listen on {given}: {why}")
