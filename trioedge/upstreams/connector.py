"""Connect in the reactor, without a task: one address after another, 250 ms apart, until one answers (RFC 8305).

| an attempt is | event | action |
| --- | --- | --- |
| resolving | addresses | connect to the first one; connecting |
| connecting | no answer for 250 ms, and an address is left | connect to the next one too |
| connecting | an address fails | connect to the next one; if none is left and none is under way, failed |
| connecting | an address answers | close the others and give its socket to the callback |
| resolving, connecting | no address, no permitted address, or the deadline | close all; failed |
| any | cancel | close all; the callback is not called |

The error of a failed attempt is that of its first address.
"""

import errno
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeAlias, runtime_checkable

import attrs
import trio

from ..addresses.address import Address
from ..errors import quote_fault
from ..loop.reactor import HUNG_UP, WRITABLE, Reactor
from ..loop.sockets import no_delay
from ..relay.streams import PlainStream
from ..services.context import Resolving, SocketAddress
from ..session.verdict import Reason
from .errors import UpstreamError
from .resolver import Answer

NEXT_ADDRESS_SECONDS: Final = 0.25
"""The connection attempt delay of RFC 8305 section 5."""

_REASONS: Final = {
    errno.ECONNREFUSED: Reason.UPSTREAM_REFUSED,
    errno.EAGAIN: Reason.UPSTREAM_REFUSED,  # a local socket whose backlog is full
    errno.ETIMEDOUT: Reason.UPSTREAM_TIMEOUT,
    errno.EMFILE: Reason.OVERLOAD,
    errno.ENFILE: Reason.OVERLOAD,
    errno.ENOBUFS: Reason.OVERLOAD,
    errno.ENOMEM: Reason.OVERLOAD,
    errno.EADDRNOTAVAIL: Reason.OVERLOAD,  # no local port is left
}


def reason_of(code: int) -> Reason:
    """Give the reason of a connect that failed with this errno."""
    return _REASONS.get(code, Reason.UPSTREAM_UNREACHABLE)


Permit: TypeAlias = Callable[[Address, Answer], Answer]
"""Removes the addresses that may not be connected to from an answer; gives the error if none is left."""


@attrs.frozen(slots=True, eq=False)
class Target:
    """A destination, with the bounds of a connect.

    Attributes:
        address: the destination.
        seconds: the limit of one connect, name and all addresses included.
        permit: removes the addresses that may not be connected to; None for no such rule.
    """

    address: Address
    seconds: float
    permit: Permit | None = None

    def permitted(self, answer: Answer) -> Answer:
        """Give the addresses of an answer that may be connected to, or the error if there is none."""
        return answer if self.permit is None else self.permit(self.address, answer)


class ConnectCallback(Protocol):
    """The callback of an attempt: one of its two methods is called, once, unless the attempt is cancelled."""

    def connected(self, sock: socket.socket, readable: bool, /) -> None:
        """Take a connected socket, which is registered in the reactor: hand it over, remove it or forget it there.

        Args:
            sock: the socket; it is closed if this raises.
            readable: whether it is readable already, the event having passed.
        """

    def failed(self, error: UpstreamError, /) -> None:
        """Handle that there is no connection."""


class Attempt:
    """One attempt to connect to a destination, over all of its addresses, with one deadline."""

    __slots__ = ("_addresses", "_callback", "_due", "_error", "_label", "_pending", "_reactor", "_tick")

    def __init__(self, reactor: Reactor, label: object, due: float, callback: ConnectCallback) -> None:
        self._reactor = reactor
        self._label = label
        self._due = due
        self._callback: ConnectCallback | None = callback
        self._addresses: Sequence[SocketAddress] = ()
        self._pending: dict[int, socket.socket] = {}
        self._error: UpstreamError | None = None
        self._tick = reactor.set_deadline(self, due)

    def resolved(self, addresses: Sequence[SocketAddress] | UpstreamError) -> None:
        """Connect to the first address, or fail with the error; does nothing once cancelled."""
        if self._callback is None:
            return
        if isinstance(addresses, UpstreamError):
            self._fail(addresses)
            return
        self._addresses = addresses
        self._try_next()

    def cancel(self) -> None:
        """Close every socket; the callback is not called any more."""
        self._callback = None
        self._reactor.drop_deadline(self, self._tick)
        for fd, sock in self._pending.items():
            self._reactor.forget(fd)
            sock.close()
        self._pending.clear()

    def on_ready(self, fd: int, mask: int) -> None:
        sock = self._pending[fd]
        if mask & HUNG_UP and (code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
            self._drop(fd, code)
            if self._addresses:
                self._try_next()
            elif not self._pending:
                self._fail(self._error)
            return
        if mask & WRITABLE and _is_connected(sock):
            callback = self._callback
            del self._pending[fd]
            self.cancel()
            if callback is not None:
                self._hand_over(callback, fd, sock, readable=bool(mask & ~WRITABLE))

    def _hand_over(self, callback: ConnectCallback, fd: int, sock: socket.socket, *, readable: bool) -> None:
        try:
            callback.connected(sock, readable)
        except Exception as fault:
            self._reactor.forget(fd)
            sock.close()
            callback.failed(UpstreamError(Reason.FAULT, f"{self._label}: {quote_fault(fault)}"))

    def expire(self, now: float) -> None:
        if self._callback is None:
            return
        if now < self._due and self._addresses:
            self._try_next()
        elif now < self._due:
            self._tick = self._reactor.set_deadline(self, self._due)
        else:
            what = "connection" if self._pending else "address"
            self._fail(UpstreamError(Reason.UPSTREAM_TIMEOUT, f"{self._label}: no {what} in time"))

    def crashed(self, fault: BaseException) -> None:
        self._fail(UpstreamError(Reason.FAULT, f"{self._label}: {quote_fault(fault)}"))

    def _try_next(self) -> None:
        """Connect to the next address, and set the time of the one after it."""
        while self._addresses:
            (family, where), self._addresses = self._addresses[0], self._addresses[1:]
            if self._addresses:
                self._reactor.drop_deadline(self, self._tick)
                soon = self._reactor.now + NEXT_ADDRESS_SECONDS
                self._tick = self._reactor.set_deadline(self, min(soon, self._due))
            try:
                sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            except OSError as error:
                self._note(error.errno or 0)
                continue
            fd = sock.fileno()
            self._pending[fd] = sock
            if family != socket.AF_UNIX:
                no_delay(sock)
            try:
                code = sock.connect_ex(where)  # type: ignore[arg-type]  # as getaddrinfo gave it
            except OSError as error:  # an IPv6 scope that does not exist
                code = error.errno if error.errno and error.errno > 0 else errno.EHOSTUNREACH
            if code and code != errno.EINPROGRESS:
                self._drop(fd, code)
                continue
            try:
                self._reactor.add(fd, self)
            except OSError as error:  # the kernel has no memory left to watch it
                self._drop(fd, error.errno or errno.ENOMEM)
                continue
            return
        if not self._pending:
            self._fail(self._error)

    def _drop(self, fd: int, code: int) -> None:
        self._reactor.forget(fd)
        self._pending.pop(fd).close()
        self._note(code)

    def _note(self, code: int) -> None:
        """Store the fault of the first address, which is the one that the user expects to read of."""
        if self._error is None:
            self._error = UpstreamError(reason_of(code), f"{self._label}: {os.strerror(code)}")

    def _fail(self, error: UpstreamError | None) -> None:
        callback = self._callback
        self.cancel()
        if callback is not None:
            callback.failed(error or UpstreamError(Reason.UPSTREAM_UNRESOLVED, f"{self._label}: no address"))


@runtime_checkable
class Connecting(Protocol):
    """A live outbound, as endpoints use it."""

    @property
    def plain(self) -> bool:
        """Whether :meth:`start` gives bare sockets; otherwise there is :meth:`open_stream` only."""

    def warm(self, target: Target, failed: Callable[[UpstreamError], object], /) -> None:
        """Prepare the first connect; `failed` is called with the error if none can succeed."""

    def start(self, target: Target, callback: ConnectCallback, /) -> Attempt:
        """Begin to connect a plain socket."""

    async def open_stream(self, target: Target, /) -> trio.abc.HalfCloseableStream:
        """Connect a stream.

        Raises:
            UpstreamError: there is no connection.
        """


def _is_connected(sock: socket.socket) -> bool:
    """Tell whether a socket is connected; the event may be one of the descriptor's former owner."""
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


class Connector:
    """Connects from this machine, with its own routes and resolver."""

    plain = True

    def __init__(self, reactor: Reactor, resolver: Resolving) -> None:
        self._reactor = reactor
        self._resolver = resolver

    def warm(self, target: Target, failed: Callable[[UpstreamError], object]) -> None:
        """Resolve the name before the first connect; `failed` is called if none of its addresses is permitted."""

        def look(answer: Answer) -> None:
            permitted = target.permitted(answer)
            if isinstance(permitted, UpstreamError):
                failed(permitted)

        self._resolver.ask(target.address, look)

    def start(self, target: Target, callback: ConnectCallback) -> Attempt:
        """Begin to connect.

        Args:
            target: the destination; its name is resolved first, from memory if it is known.
            callback: called with the socket or the error; if the attempt fails at once, before this returns.
        """
        attempt = Attempt(self._reactor, target.address, self._reactor.now + target.seconds, callback)
        try:
            self._resolver.ask(
                target.address, attempt.resolved if target.permit is None else partial(self._check, target, attempt)
            )
        except BaseException:
            attempt.cancel()  # no caller has it
            raise
        return attempt

    def _check(self, target: Target, attempt: Attempt, answer: Answer) -> None:
        attempt.resolved(target.permitted(answer))

    async def open_stream(self, target: Target) -> trio.abc.HalfCloseableStream:
        """Connect, and wait for the connection; after a cancel nothing is left open.

        Raises:
            UpstreamError: there is no connection.
        """
        self._reactor.refresh()
        callback = _Waiting(self._reactor)
        attempt = self.start(target, callback)
        try:
            return await callback.wait()
        finally:
            attempt.cancel()


class _Waiting:
    """The callback for which a task waits."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._done = trio.Event()
        self._sock: socket.socket | None = None
        self._error: UpstreamError | None = None

    def connected(self, sock: socket.socket, readable: bool) -> None:  # noqa: ARG002 - a stream reads first, then waits
        self._reactor.remove(sock.fileno())
        self._sock = sock
        self._done.set()

    def failed(self, error: UpstreamError) -> None:
        self._error = error
        self._done.set()

    async def wait(self) -> trio.abc.HalfCloseableStream:
        try:
            await self._done.wait()
        except BaseException:
            if self._sock is not None:
                self._sock.close()
            raise
        if self._error is not None:
            raise self._error
        assert self._sock is not None
        return PlainStream(self._sock)
