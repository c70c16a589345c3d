"""Open connections in the reactor, without a task: one socket at a time, or a race of them (RFC 8305).

What may take long has two bounds: an attempt's deadline over all addresses, and 250 ms until the next address
is tried beside the first.
"""

import errno
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeAlias

import trio

from ..addresses.address import Address
from ..loop.reactor import HUNG_UP, WRITABLE, Reactor
from ..loop.sockets import no_delay
from ..relay.streams import PlainStream
from ..session.verdict import Reason
from .errors import UpstreamError
from .resolver import Answer, Resolver, SocketAddress

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


Permit: TypeAlias = Callable[[Address, Answer], Answer]
"""Takes out of an answer the addresses that may not be connected to; an error if none is left."""


class ConnectCallback(Protocol):
    """Who wants a connection; exactly one of the two is called, once, unless the attempt is cancelled."""

    def connected(self, sock: socket.socket, greeted: bool, /) -> None:
        """Here is one, registered in the reactor, where it has to be handed over, removed or forgotten.

        `greeted`: it is readable already, and the event that said so has passed.
        """

    def failed(self, error: UpstreamError, /) -> None:
        """There is none."""


class Attempt:
    """One try to reach a destination, over all of its addresses, within one deadline."""

    __slots__ = ("_addresses", "_due", "_error", "_label", "_pending", "_reactor", "_tick", "_waiter")

    def __init__(self, reactor: Reactor, label: object, due: float, waiter: ConnectCallback) -> None:
        self._reactor = reactor
        self._label = label
        self._due = due
        self._waiter: ConnectCallback | None = waiter
        self._addresses: Sequence[SocketAddress] = ()
        self._pending: dict[int, socket.socket] = {}
        self._error: UpstreamError | None = None
        self._tick = reactor.set_deadline(self, due)

    def resolved(self, addresses: Sequence[SocketAddress] | UpstreamError) -> None:
        """Begin with the first address; does nothing once cancelled."""
        if self._waiter is None:
            return
        if isinstance(addresses, UpstreamError):
            self._fail(addresses)
            return
        self._addresses = addresses
        self._try_next()

    def cancel(self) -> None:
        """Give up: every socket is closed, and the waiter hears nothing more."""
        self._waiter = None
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
            waiter = self._waiter
            del self._pending[fd]
            self.cancel()
            if waiter is not None:
                self._hand_over(waiter, fd, sock, greeted=bool(mask & ~WRITABLE))

    def _hand_over(self, waiter: ConnectCallback, fd: int, sock: socket.socket, *, greeted: bool) -> None:
        try:
            waiter.connected(sock, greeted)
        except Exception as fault:
            self._reactor.forget(fd)
            sock.close()
            waiter.failed(UpstreamError(Reason.FAULT, f"{self._label}: {fault!r}"))

    def expire(self, now: float) -> None:
        if self._waiter is None:
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
            reason = _REASONS.get(code, Reason.UPSTREAM_UNREACHABLE)
            self._error = UpstreamError(reason, f"{self._label}: {os.strerror(code)}")

    def _fail(self, error: UpstreamError | None) -> None:
        waiter = self._waiter
        self.cancel()
        if waiter is not None:
            waiter.failed(error or UpstreamError(Reason.UPSTREAM_UNRESOLVED, f"{self._label}: no address"))


class Connecting(Protocol):
    """An outbound at work."""

    @property
    def plain(self) -> bool:
        """Whether it gives bare sockets, by :meth:`start`; else only streams."""

    def warm(self, address: Address, failed: Callable[[UpstreamError], object], /) -> None:
        """Prepare what can be prepared before anyone connects there; `failed` is told if nobody will get there."""

    def start(self, address: Address, seconds: float, waiter: ConnectCallback, /) -> Attempt:
        """Begin to connect a plain socket."""

    async def open_stream(self, address: Address, seconds: float, /) -> trio.abc.HalfCloseableStream:
        """Connect a stream."""


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

    def __init__(self, reactor: Reactor, resolver: Resolver, permit: Permit | None = None) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self._permit = permit

    def warm(self, address: Address, failed: Callable[[UpstreamError], object]) -> None:
        """Have the name resolved before anyone connects, and its addresses judged."""

        def look(answer: Answer) -> None:
            permitted = answer if self._permit is None else self._permit(address, answer)
            if isinstance(permitted, UpstreamError):
                failed(permitted)

        self._resolver.ask(address, look)

    def start(self, address: Address, seconds: float, waiter: ConnectCallback) -> Attempt:
        """Begin to connect; the waiter may be told before this returns.

        Args:
            address: where to; a name is resolved first, from memory if it was before.
            seconds: for everything, the name included.
            waiter: told of the socket or the error.
        """
        attempt = Attempt(self._reactor, address, self._reactor.now + seconds, waiter)
        self._resolver.ask(
            address, attempt.resolved if self._permit is None else partial(self._check, address, attempt)
        )
        return attempt

    def _check(self, address: Address, attempt: Attempt, answer: Answer) -> None:
        assert self._permit is not None
        attempt.resolved(self._permit(address, answer))

    async def open_stream(self, address: Address, seconds: float) -> trio.abc.HalfCloseableStream:
        """Connect and wait for it; after a cancel nothing is left open.

        Raises:
            UpstreamError: refused, timed out, not resolved, or no way there.
        """
        self._reactor.refresh()
        waiter = _Waiting(self._reactor)
        attempt = self.start(address, seconds, waiter)
        try:
            return await waiter.wait()
        finally:
            attempt.cancel()


class _Waiting:
    """A task that waits for an attempt."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._done = trio.Event()
        self._sock: socket.socket | None = None
        self._error: UpstreamError | None = None

    def connected(self, sock: socket.socket, greeted: bool) -> None:  # noqa: ARG002 - level-triggered from here on
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
