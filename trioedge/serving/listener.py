"""Listening sockets: bound all at once at start, emptied at every wake-up, never deaf for long.

Out of file descriptors, a listener gives up a descriptor that it holds in reserve, accepts, resets the newcomer
at once and takes its reserve back: clients learn quickly, and nothing spins or sleeps.
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
"""Connections taken before others have a turn; the rest is reported again."""

PAUSE_SECONDS: Final = 0.05
"""How long a listener rests when the system is short of memory for sockets."""

_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)
_NO_MEMORY: Final = (errno.ENOBUFS, errno.ENOMEM)


class Admit(Protocol):
    """Who takes accepted sockets, which block until somebody says otherwise."""

    def __call__(self, sock: socket.socket, listener: str, source: str, packed: bytes, port: int, /) -> None: ...


class Listener:
    """One listening socket and its reserve."""

    def __init__(self, sock: socket.socket, address: Address) -> None:
        self._sock = sock
        self._family = sock.family
        self._unix_id = _identity(address.path) if address.scheme == "unix" else None
        self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self.address = address
        self._label = str(address)

    def open(self, reactor: Reactor, observer: Observer, admit: Admit, shed: "Shed") -> None:
        """Begin to accept."""
        self._reactor, self._observer, self._admit, self._shed = reactor, observer, admit, shed
        reactor.add_listener(self._sock.fileno(), self)

    def on_ready(self, fd: int, mask: int) -> None:  # noqa: ARG002 - accept() tells
        # What socket.accept() does, less the conversions of family and type that cost as much as a decision.
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
                continue  # the newcomer was gone before we came (accept(2), error handling)
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
        """Refuse one newcomer with the descriptor held in reserve; False when even that cannot be done."""
        with contextlib.suppress(OSError):
            os.close(self._reserve)
        self._reserve = -1  # nobody else's number, should taking it back fail
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
        self._observer.notice("listener pauses", listener=self._label, error=error.strerror)
        self._reactor.remove(self._sock.fileno())
        self._reactor.set_deadline(self, self._reactor.now + PAUSE_SECONDS)

    def expire(self, now: float) -> None:  # noqa: ARG002 - the pause is over
        if self._sock.fileno() >= 0:
            self._reactor.add_listener(self._sock.fileno(), self)

    def crashed(self, fault: Exception) -> None:
        """Go on: the reactor has said what it was."""

    def close(self) -> None:
        """Stop accepting; connections that wait in the backlog are reset by the kernel."""
        if self._sock.fileno() < 0:
            return
        with contextlib.suppress(AttributeError):  # never opened
            self._reactor.forget(self._sock.fileno())
        self._sock.close()
        with contextlib.suppress(OSError):
            os.close(self._reserve)
        if self._unix_id is not None and _identity(self.address.path) == self._unix_id:
            Path(self.address.path).unlink()


class Shed(Protocol):
    """Who counts the newcomers that had to be refused unseen."""

    def __call__(self) -> None: ...


def bind(address: Address) -> Listener:
    """Bind a socket and listen, so that all addresses are known to be ours; nothing is accepted yet.

    A local socket's file that nobody listens on any more is replaced.

    Raises:
        ListenError: in one line, which address and why.
    """
    try:
        if address.scheme == "unix":
            return _bind_unix(address)
        family, _, _, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        no_delay(sock)
        sock.bind(where)
        sock.listen(socket.SOMAXCONN)
    except OSError as error:
        sock.close()
        raise ListenError(f"cannot listen on {address}: {_why(error)}") from None
    return Listener(sock, Address("tcp", address.host, sock.getsockname()[1]))


def _bind_unix(address: Address) -> Listener:
    return Listener(listen_unix(address), address)


def listen_unix(address: Address, *, mode: int = 0o777) -> socket.socket:
    """Listen on a local socket, in place of one that nobody listens on.

    Args:
        address: where.
        mode: its permissions, less those that the process's umask leaves out.

    Raises:
        ListenError: it cannot be; nothing is left open.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    umask = os.umask(0)
    os.umask(umask | ~mode & 0o777)
    try:
        if _is_stale(address.path):
            Path(address.path).unlink()
        sock.bind(address.path)
        sock.listen(socket.SOMAXCONN)
    except OSError as error:
        sock.close()
        raise ListenError(f"cannot listen on {address}: {_why(error)}") from None
    finally:
        os.umask(umask)
    return sock


def _is_stale(path: str) -> bool:
    """Tell whether `path` is a socket that nobody listens on."""
    if _identity(path) is None or not stat.S_ISSOCK(Path(path).stat().st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "in use by another process; choose another address or stop that one"
    if error.errno == errno.EACCES:
        return "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE"
    return error.strerror or str(error)
