"""Open connections in the reactor, without a task: one socket at a time, or a race of them (RFC 8305).

What may take long has two bounds: an attempt's deadline over all addresses, and 250 ms until the next address
is tried beside the first.
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
from ..loop.reactor import HUNG_UP, WRITABLE, Reactor
from ..loop.sockets import no_delay
from ..relay.streams import PlainStream
from ..services.context import Resolving
from ..session.verdict import Reason
from .errors import UpstreamError
from .resolver import Answer, SocketAddress

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
"""Takes out of an answer the addresses that may not be connected to; an error if none is left."""


@attrs.frozen(slots=True, eq=False)
class Target:
    """Where to connect, and within which bounds.

    Attributes:
        address: the destination.
        seconds: the limit of one connect, name and all addresses included.
        permit: drops the addresses that may not be connected to; None for no such rule.
    """

    address: Address
    seconds: float
    permit: Permit | None = None

    def permitted(self, answer: Answer) -> Answer:
        """Give the addresses of an answer that may be connected to, or the error if there is none."""
        return answer if self.permit is None else self.permit(self.address, answer)


class ConnectCallback(Protocol):
    """The callback of a connect attempt; one of the two is called, once, unless the attempt is cancelled."""

    def connected(self, sock: socket.socket, readable: bool, /) -> None:
        """Here is one, registered in the reactor, where it has to be handed over, removed or forgotten.

        `readable`: it is readable already, and the event that said so has passed.
        """

    def failed(self, error: UpstreamError, /) -> None:
        """There is none."""


class Attempt:
    """One try to reach a destination, over all of its addresses, within one deadline."""

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
        """Begin with the first address; does nothing once cancelled."""
        if self._callback is None:
            return
        if isinstance(addresses, UpstreamError):
            self._fail(addresses)
            return
        self._addresses = addresses
        self._try_next()

    def cancel(self) -> None:
        """Give up: every socket is closed, and the callback hears nothing more."""
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
            callback.failed(UpstreamError(Reason.FAULT, f"{self._label}: {fault!r}"))

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

    def crashed(self, fault: Exception) -> None:
        self._fail(UpstreamError(Reason.FAULT, f"{self._label}: {fault!r}"))

    def _try_next(self) -> None:
        """Start on the next address; the one after it is set to follow."""
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
            self._reactor.add(fd, self)
            return
        if not self._pending:
            self._fail(self._error)

    def _drop(self, fd: int, code: int) -> None:
        self._reactor.forget(fd)
        self._pending.pop(fd).close()
        self._note(code)

    def _note(self, code: int) -> None:
        """Remember the first address's fault: it is the one the user thinks of."""
        if self._error is None:
            self._error = UpstreamError(reason_of(code), f"{self._label}: {os.strerror(code)}")

    def _fail(self, error: UpstreamError | None) -> None:
        callback = self._callback
        self.cancel()
        if callback is not None:
            callback.failed(error or UpstreamError(Reason.UPSTREAM_UNRESOLVED, f"{self._label}: no address"))


@runtime_checkable
class Connecting(Protocol):
    """A live outbound, as the endpoint uses it."""

    @property
    def plain(self) -> bool:
        """Whether it gives bare sockets, by :meth:`start`; else only streams."""

    def warm(self, target: Target, failed: Callable[[UpstreamError], object], /) -> None:
        """Prepare what can be prepared before the first connect; `failed` is called if no connect can succeed."""

    def start(self, target: Target, callback: ConnectCallback, /) -> Attempt:
        """Begin to connect a plain socket."""

    async def open_stream(self, target: Target, /) -> trio.abc.HalfCloseableStream:
        """Connect a stream.

        Raises:
            UpstreamError: there is no connection.
        """


def _is_connected(sock: socket.socket) -> bool:
    """Tell a connection from an event that was meant for the descriptor's former owner."""
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


class Connector:
    """Opens connections straight from this machine."""

    plain = True

    def __init__(self, reactor: Reactor, resolver: Resolving) -> None:
        self._reactor = reactor
        self._resolver = resolver

    def warm(self, target: Target, failed: Callable[[UpstreamError], object]) -> None:
        """Resolve the name before the first connect, and judge its addresses."""

        def look(answer: Answer) -> None:
            permitted = target.permitted(answer)
            if isinstance(permitted, UpstreamError):
                failed(permitted)

        self._resolver.ask(target.address, look)

    def start(self, target: Target, callback: ConnectCallback) -> Attempt:
        """Begin to connect; the callback may be called before this returns.

        Args:
            target: where to; a name is resolved first, from memory if it was before.
            callback: called with the socket or the error.
        """
        attempt = Attempt(self._reactor, target.address, self._reactor.now + target.seconds, callback)
        self._resolver.ask(
            target.address, attempt.resolved if target.permit is None else partial(self._check, target, attempt)
        )
        return attempt

    def _check(self, target: Target, attempt: Attempt, answer: Answer) -> None:
        attempt.resolved(target.permitted(answer))

    async def open_stream(self, target: Target) -> trio.abc.HalfCloseableStream:
        """Connect and wait for it; after a cancel nothing is left open.

        Raises:
            UpstreamError: refused, timed out, not resolved, or no way there.
        """
        self._reactor.refresh()
        callback = _Waiting(self._reactor)
        attempt = self.start(target, callback)
        try:
            return await callback.wait()
        finally:
            attempt.cancel()


class _Waiting:
    """A task that waits for an attempt."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._done = trio.Event()
        self._sock: socket.socket | None = None
        self._error: UpstreamError | None = None

    def connected(self, sock: socket.socket, readable: bool) -> None:  # noqa: ARG002 - level-triggered from here on
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
