"""Listening sockets: bound before anything is started, and read at every wake-up.

| accept | action |
| --- | --- |
| gives a connection | admit it, at most 64 before other sockets have a turn |
| finds none | wait for the next event |
| fails: no file descriptor | close the reserve, accept, reset that connection, open the reserve again |
| fails: no memory for sockets | pause for 50 ms |
| fails otherwise | the connection is gone; accept the next one (accept(2), error handling) |

So clients of a process without file descriptors are refused at once, and the listener neither spins nor sleeps.
"""

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final, Protocol

from ..addresses.address import UNIX_SOURCE, Address, packed_ip
from ..errors import ListenError
from ..loop.reactor import Reactor
from ..loop.sockets import no_delay, reset
from ..telemetry.observer import Observer

ACCEPTS_PER_TURN: Final = 64
"""Connections accepted before other sockets have a turn; the reactor reports the rest again."""

PAUSE_SECONDS: Final = 0.05
"""The pause of a listener when the system has no memory for sockets."""

_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)
_NO_MEMORY: Final = (errno.ENOBUFS, errno.ENOMEM)


class Admit(Protocol):
    """Takes accepted sockets, which are in blocking mode."""

    def __call__(self, sock: socket.socket, listener: str, source: str, packed: bytes, port: int, /) -> None: ...


class Listener:
    """One listening socket, and a file descriptor in reserve.

    Attributes:
        address: the address, its port filled in.
    """

    _observer: Observer
    _admit: Admit
    _shed: "Shed"

    def __init__(self, sock: socket.socket, address: Address) -> None:
        """Accept nothing yet.

        Args:
            sock: listens, and does not block.
            address: its address.
        """
        self._sock = sock
        self._family = sock.family
        self._unix_id = _identity(address.path) if address.scheme == "unix" else None
        self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._reactor: Reactor | None = None  # set by `open`, with the three above
        self.address = address
        self._label = str(address)

    def open(self, reactor: Reactor, observer: Observer, admit: Admit, shed: "Shed") -> None:
        """Begin to accept.

        Args:
            reactor: reports connections that wait.
            observer: logs pauses.
            admit: takes each connection.
            shed: counts a connection that was refused for want of a file descriptor.
        """
        self._reactor, self._observer, self._admit, self._shed = reactor, observer, admit, shed
        reactor.add_listener(self._sock.fileno(), self)

    def on_ready(self, fd: int, mask: int) -> None:  # noqa: ARG002 - the reactor's shape
        # As socket.accept() does, less its conversions of family and type, which cost as much as a decision.
        accept, family = self._sock._accept, self._family  # type: ignore[attr-defined]  # CPython's, as sockets use it
        admit, label = self._admit, self._label
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, peer = accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_DESCRIPTOR:
                    if not self._shed_one():
                        return
                    continue
                if error.errno in _NO_MEMORY:
                    self._pause(error)
                    return
                continue
            sock = socket.socket(family, socket.SOCK_STREAM, 0, accepted)
            if type(peer) is tuple:
                source = peer[0]
                if len(peer) == 2:
                    admit(sock, label, source, socket.inet_aton(source), peer[1])
                    continue
                packed = packed_ip(source) or b""
                if len(packed) == 4:
                    source = socket.inet_ntoa(packed)
                admit(sock, label, source.partition("%")[0], packed, peer[1])
            else:
                admit(sock, label, UNIX_SOURCE, b"", 0)

    def _shed_one(self) -> bool:
        """Refuse one connection by means of the reserve; False if that fails too."""
        with contextlib.suppress(OSError):
            os.close(self._reserve)
        self._reserve = -1  # if it cannot be opened again, its number may be another file's
        try:
            with contextlib.suppress(OSError):
                sock, _ = self._sock.accept()
                reset(sock)
                self._shed()
                return True
            return False
        finally:
            with contextlib.suppress(OSError):
                self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _pause(self, error: OSError) -> None:
        assert self._reactor is not None
        self._observer.notice("listener pauses", listener=self._label, error=error.strerror)
        self._reactor.remove(self._sock.fileno())
        self._reactor.set_deadline(self, self._reactor.now + PAUSE_SECONDS)

    def expire(self, now: float) -> None:  # noqa: ARG002 - the reactor's shape
        """End the pause."""
        if self._reactor is not None and self._sock.fileno() >= 0:
            self._reactor.add_listener(self._sock.fileno(), self)

    def crashed(self, fault: Exception) -> None:
        """Go on accepting; the reactor has logged the exception."""

    def close(self) -> None:
        """Stop accepting, and remove the file of a local socket if it is still this one's.

        The kernel resets the connections that wait in the backlog. A second call does nothing.
        """
        if self._sock.fileno() < 0:
            return
        if self._reactor is not None:
            self._reactor.forget(self._sock.fileno())
        self._sock.close()
        with contextlib.suppress(OSError):
            os.close(self._reserve)
        with contextlib.suppress(OSError):  # a folder that has become unreadable does not keep an edge from its drain
            if self._unix_id is not None and _identity(self.address.path) == self._unix_id:
                Path(self.address.path).unlink()


class Shed(Protocol):
    """Counts a connection that was refused before it had a session."""

    def __call__(self) -> None: ...


def bind(address: Address) -> Listener:
    """Bind a socket and listen; no connection is accepted before :meth:`Listener.open`.

    The file of a local socket on which no process listens any more is replaced.

    Args:
        address: ``tcp://host:port``, where 0 is a free port, or ``unix:///path``.

    Raises:
        ListenError: one line with the address, the cause and the mend.
    """
    sock = listen_unix(address) if address.scheme == "unix" else _listen_tcp(address)
    try:
        bound = address if address.scheme == "unix" else Address("tcp", address.host, sock.getsockname()[1])
        return Listener(sock, bound)
    except OSError as error:
        sock.close()
        raise _listen_error(address, error) from None


def _listen_tcp(address: Address) -> socket.socket:
    sock = None
    try:
        family, _, _, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        no_delay(sock)
        sock.bind(where)
        sock.listen(socket.SOMAXCONN)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise _listen_error(address, error) from None
    return sock


def listen_unix(address: Address, *, mode: int = 0o777) -> socket.socket:
    """Listen on a local socket, in place of one on which no process listens any more.

    Args:
        address: ``unix:///path``.
        mode: the permissions of the file, less those that the process's umask takes away.

    Raises:
        ListenError: one line with the address, the cause and the mend; nothing is left open.
    """
    sock = None
    umask = os.umask(0)
    os.umask(umask | ~mode & 0o777)
    try:
        if _is_stale(address.path):
            Path(address.path).unlink()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.bind(address.path)
        sock.listen(socket.SOMAXCONN)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise _listen_error(address, error) from None
    finally:
        os.umask(umask)
    return sock


def _is_stale(path: str) -> bool:
    """Tell whether a path is a socket on which no process listens.

    Raises:
        FileExistsError: something else than a socket is there.
    """
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(mode):
        kind = next((kind for is_one, kind in _KINDS if is_one(mode)), "a file")
        raise FileExistsError(errno.EEXIST, f"{kind} that is no socket has this path; choose another, or remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED


_KINDS: Final = ((stat.S_ISDIR, "a folder"), (stat.S_ISLNK, "a link"))


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = Path(path).lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _listen_error(address: Address, error: OSError) -> ListenError:
    why = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        why = "in use by another process; choose another address or stop that one"
    elif error.errno == errno.EACCES and address.scheme == "tcp":
        why = "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE"
    elif error.errno == errno.EACCES:
        why = "not permitted; this user needs write access to the folder, and to a socket that is there already"
    return ListenError(f"cannot listen on {address}: {why}")
