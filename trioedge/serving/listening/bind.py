"""Listening sockets: bound before anything is started, listening once the edge is ready.

| step | TCP | local socket |
| --- | --- | --- |
| bind | takes the port; the kernel still refuses clients, and so health checks | looks at the path |
| listen | connections wait to be accepted | replaces a stale socket at the path; connections wait |
| close | the kernel resets connections that wait | the same, and removes the file if it is still this socket's |

:mod:`.inherited` has sockets that systemd opened.

Two processes that start at once cannot both get one address: the kernel gives a port to the first that listens, and the
folder of a local socket is locked while a stale socket in it is replaced.
"""

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from ...addresses.address import Address
from ...errors import ListenError
from ...loop.sockets import keep_alive, no_delay
from .inherited import passed_sockets

LOCK_TRIES: Final = 100
"""Tries to lock the folder of a local socket, 1 ms apart; then it goes without, because any user may hold the lock."""

REPLACEABLE: Final = stat.S_ISVTX
"""The mode bit of a local socket whose edge drains: its successor may replace it while it still answers."""


class Bound(Protocol):
    """A socket with an address, which does not listen yet.

    Attributes:
        sock: the socket, non-blocking.
        address: the address as it was given, its port filled in; of a socket that systemd passed, where it listens.
        given: the same, but ``systemd:NAME`` of a socket that systemd passed. Sessions have it as their listener.
    """

    sock: socket.socket
    address: Address
    given: Address

    def listen(self) -> None:
        """Listen.

        Raises:
            ListenError: another process has been quicker; the socket is good to be closed.
        """

    def close(self) -> None:
        """Stop listening; a second call does nothing."""


class TcpSocket:
    """A bound TCP socket."""

    def __init__(self, sock: socket.socket, address: Address) -> None:
        self.sock = sock
        self.address = self.given = address

    def listen(self) -> None:
        """See :meth:`Bound.listen`."""
        try:
            self.sock.listen(socket.SOMAXCONN)
        except OSError as error:
            raise listen_error(self.address, error) from None

    def close(self) -> None:
        """See :meth:`Bound.close`."""
        self.sock.close()


class LocalSocket:
    """A local socket that will have a file at its path."""

    def __init__(self, address: Address, *, mode: int = 0o777) -> None:
        """Look whether the path can be had; nothing is made there yet.

        Args:
            address: ``unix:///path``.
            mode: the permissions of the file, less those that the process's umask takes away.

        Raises:
            ListenError: one line with the address, the cause and the mend; nothing is left open.
        """
        self.address = self.given = address
        self.mode = mode
        self._identity: tuple[int, int] | None = None
        try:
            _is_replaceable(address.path)
            if not os.access(Path(address.path).parent, os.W_OK | os.X_OK):
                Path(address.path).parent.stat()  # names a folder that is missing
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            raise listen_error(address, error) from None

    @classmethod
    def adopted(cls, address: Address, sock: socket.socket, mode: int, made: Sequence[int] | None) -> "LocalSocket":
        """Make it of a socket that listens already, because this process has had it before an exec.

        Args:
            address: where it has made its file.
            sock: the socket.
            mode: the permissions of the file.
            made: :attr:`made` of then.
        """
        file = cls.__new__(cls)
        file.address = file.given = address
        file.sock, file.mode = sock, mode
        file._identity = None if made is None else (made[0], made[1])
        return file

    @property
    def made(self) -> tuple[int, int] | None:
        """Device and inode of the file that it has made; None before it listens."""
        return self._identity

    @property
    def is_there(self) -> bool:
        """Whether its file is still at its path."""
        return self._is_ours()

    def listen(self) -> None:
        """See :meth:`Bound.listen`."""
        path = self.address.path
        umask = os.umask(0)
        os.umask(umask | ~self.mode & 0o777)
        try:
            with _locked(Path(path).parent):
                if _is_replaceable(path):
                    Path(path).unlink()
                self.sock.bind(path)
                self._identity = identity(path)
                self.sock.listen(socket.SOMAXCONN)
        except OSError as error:
            raise listen_error(self.address, error) from None
        finally:
            os.umask(umask)

    def allow_successor(self) -> None:
        """Let another process replace the file from now on; this socket goes on answering until then."""
        with contextlib.suppress(OSError):
            if self._is_ours():
                path = Path(self.address.path)
                path.chmod(stat.S_IMODE(path.lstat().st_mode) | REPLACEABLE)

    def close(self) -> None:
        """See :meth:`Bound.close`; the file of another process stays."""
        self.sock.close()
        with contextlib.suppress(OSError):  # a folder that has become unreadable does not keep an edge from its drain
            if self._is_ours():
                Path(self.address.path).unlink()
        self._identity = None

    def _is_ours(self) -> bool:
        return self._identity is not None and identity(self.address.path) == self._identity


def bind(addresses: Sequence[Address], *, keepalive_seconds: float = 0) -> list[Bound]:
    """Bind every address; a name with several addresses is bound on each of them.

    ``[::]`` takes IPv4 clients as well, unless an IPv4 address of the same port is bound too.

    Args:
        addresses: ``tcp://host:port``, where 0 is a free port, ``unix:///path``, or ``systemd:NAME``.
        keepalive_seconds: for the TCP clients of all of them, see :func:`keep_alive`; 0 for none.

    Raises:
        ListenError: one line with the address, the cause and the mend; nothing stays bound.
    """
    places = [(address, _places(address)) for address in addresses]
    ipv4_ports = {where[1] for _, found in places for family, where in found if family == socket.AF_INET} - {0}
    bound: list[Bound] = []
    try:
        for address, found in places:
            if address.scheme == "unix":
                bound.append(LocalSocket(address))
            elif address.scheme == "systemd":
                bound.extend(passed_sockets(address, keepalive_seconds))
            else:
                bound.extend(_bind_tcp(address, found, ipv4_ports, keepalive_seconds))
    except BaseException:
        for each in bound:
            each.close()
        raise
    return bound


def _places(address: Address) -> list[tuple[int, Any]]:
    """Give the families and socket addresses of a TCP address."""
    if address.scheme != "tcp":
        return []
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise listen_error(address, error) from None
    return list(dict.fromkeys((int(family), where) for family, _, _, _, where in found))


def _bind_tcp(
    address: Address, places: Sequence[tuple[int, Any]], ipv4_ports: set[int], keepalive_seconds: float
) -> Iterator[TcpSocket]:
    port, failed, some = address.port, None, False
    for family, where in places:
        host = where[0]
        alone = host == "::" and port in ipv4_ports  # a free port, 0, is another for each
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if host == "::":
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, alone)
                no_delay(sock)  # accepted sockets inherit both
                if keepalive_seconds:
                    keep_alive(sock, keepalive_seconds)
                sock.bind((host, port, *where[2:]))  # the addresses of a name share one free port
                port = sock.getsockname()[1]
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            # A name may have an address of a family that this machine does not use: localhost in a container.
            if error.errno not in _NO_SUCH_ADDRESS or len(places) == 1:
                raise listen_error(address, error) from None
            failed = failed or error
            continue
        some = True
        yield TcpSocket(sock, Address("tcp", address.host, port))
    if not some and failed is not None:
        raise listen_error(address, failed)


_NO_SUCH_ADDRESS: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other edges from replacing a socket in a folder meanwhile (flock(2)), if the folder can be read."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        for _ in range(LOCK_TRIES):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.001)
            except OSError:  # a file system without locks
                break
        yield
    finally:
        os.close(fd)


def _is_replaceable(path: str) -> bool:
    """Tell whether a path has a socket that may be replaced: no process listens on it, or its edge drains.

    Raises:
        FileExistsError: something else than a socket is there.
        OSError: a process listens on it.
    """
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(mode):
        kind = next((kind for is_one, kind in _KINDS if is_one(mode)), "a file")
        raise FileExistsError(errno.EEXIST, f"{kind} that is no socket has this path; choose another, or remove it")
    if mode & REPLACEABLE:
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        if probe.connect_ex(path) != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    return True


_KINDS: Final = ((stat.S_ISDIR, "a folder"), (stat.S_ISLNK, "a link"))


def identity(path: str) -> tuple[int, int] | None:
    """Give the device and inode of a path, or None if there is no file."""
    try:
        status = Path(path).lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def listen_error(address: Address, error: OSError) -> ListenError:
    """Make an error of one line: the address, the cause and the mend."""
    why = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        why = "in use by another process, or by another address of this edge; choose another address or stop that one"
    elif error.errno == errno.EADDRNOTAVAIL:
        why += "; this machine does not have it, and tcp://0.0.0.0 is all that it has"
    elif error.errno == errno.ENOENT:
        why += "; make its folder, or choose another path"
    elif error.errno == errno.EACCES and address.scheme == "tcp":
        why = "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE"
    elif error.errno == errno.EACCES:
        why = "not permitted; this user needs write access to the folder, and to a socket that is there already"
    return ListenError(f"cannot listen on {address}: {why}")
