"""Connect in the reactor, without a task: one address after another, 250 ms apart, until one answers (RFC 8305).

| an attempt is | event | action |
| --- | --- | --- |
| resolving | addresses | order them, see :class:`.Reachability`; connect to the first one; connecting |
| connecting | no answer for 250 ms, and an address is left | connect to the next one too |
| connecting | an address fails, or is connected to itself | connect to the next one, if one is left |
| connecting | all have failed, one of them refused, and a retry is left | pausing |
| connecting | all have failed otherwise | failed |
| pausing | the pause is over | connect to the first address again; connecting |
| connecting | an address answers, or has answered and reset the connection | close the others and give its socket to \
the callback |
| resolving, connecting | no address, no permitted address, or the deadline | close all; failed |
| any | cancel | close all; the callback is not called |

The error of a failed attempt is that of its first address. No byte is sent before the callback has the socket, so a
retry repeats nothing.
"""

import errno
import os
import socket
from collections.abc import Sequence
from typing import Final, Protocol

from ..addresses.address import packed_ip
from ..addresses.classes import AddressClass, classify
from ..errors import quote_fault
from ..loop.reactor import HUNG_UP, WRITABLE, Reactor
from ..loop.sockets import ephemeral_ports, is_connected_to_itself, no_delay, received_bytes, reset, scoped
from ..services.context import SocketAddress
from ..session.verdict import Reason
from ..telemetry.connects import ConnectMeter
from ..telemetry.log import parted
from .errors import UpstreamError, reason_of
from .reachability import Reachability

NEXT_ADDRESS_SECONDS: Final = 0.25
"""The connection attempt delay of RFC 8305 section 5."""

RETRY_SECONDS: Final = 0.1
"""The pause before the first retry; each further one is twice as long."""


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


def may_meet_itself(address: SocketAddress) -> bool:
    """Tell whether a connect to this address might be connected to itself: see :func:`.is_connected_to_itself`.

    Costs 0.1 µs; the check itself costs two system calls.
    """
    family, where = address
    return family != socket.AF_UNIX and where[1] in ephemeral_ports()  # type: ignore[index]  # host and port


class Attempt:
    """One attempt to connect to a destination, over all of its addresses, with one deadline."""

    __slots__ = (
        "_addresses", "_all", "_callback", "_due", "_error", "_label", "_meter", "_pending", "_reach", "_reactor",
        "_refused", "_retries", "_retry_seconds", "_tick",
    )  # fmt: skip

    def __init__(
        self, reactor: Reactor, label: object, due: float, callback: ConnectCallback, retries: int = 0,
        reach: Reachability | None = None, meter: ConnectMeter | None = None,
    ) -> None:  # fmt: skip
        """Wait for the addresses: :meth:`resolved`.

        Args:
            reactor: watches the sockets and the deadline.
            label: the destination, for errors and for `reach`.
            due: the deadline, in seconds of the reactor's clock.
            callback: called with the socket or the error.
            retries: how often a round over all addresses, of which one refused, is repeated before the deadline.
            reach: remembers which addresses failed; by default a memory of its own.
            meter: counts the connect; None for no count.
        """
        self._reactor = reactor
        self._label = label
        self._due = due
        self._callback: ConnectCallback | None = callback
        self._retries = retries
        self._retry_seconds = RETRY_SECONDS
        self._reach = Reachability() if reach is None else reach
        # `_addresses` has those of this round that are left to try, `_pending` those under way: the socket, its address
        # and the time when the connect began, by file descriptor. Both are empty while it pauses, and `_all` is not.
        self._all: Sequence[SocketAddress] = ()
        self._addresses: Sequence[SocketAddress] = ()
        self._pending: dict[int, tuple[socket.socket, SocketAddress, float]] = {}
        self._refused = False  # an address of this round has refused
        self._error: UpstreamError | None = None
        self._tick = reactor.set_deadline(self, due)
        self._meter = meter
        if meter is not None:
            meter.begun()

    def resolved(self, addresses: Sequence[SocketAddress] | UpstreamError) -> None:
        """Connect to the first address, or fail with the error; does nothing once cancelled."""
        if self._callback is None:
            return
        if isinstance(addresses, UpstreamError):
            self._fail(addresses)
            return
        if self._retries and self._reach.is_down(self._label, self._reactor.now):
            self._retries = 0
        self._all = addresses
        self._begin_round()

    def cancel(self) -> None:
        """Close every socket; the callback is not called any more."""
        if self._callback is not None and self._meter is not None:
            self._meter.over()
        self._callback = None
        self._reactor.drop_deadline(self, self._tick)
        for fd, (sock, _, _) in self._pending.items():
            self._reactor.forget(fd)
            sock.close()
        self._pending.clear()

    def on_ready(self, fd: int, mask: int) -> None:
        sock, address, _ = self._pending[fd]
        code = 0
        if mask & HUNG_UP:
            if received_bytes(sock):  # it answered before its reset, of which a read of the rest will tell
                self._succeed(fd, readable=True)
                return
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not code and _is_connected(sock):
            if not may_meet_itself(address) or not is_connected_to_itself(sock):
                self._succeed(fd, readable=bool(mask & ~WRITABLE))
                return
            reset(sock)  # else its port, on which a server may want to listen, is taken for a minute
            code = errno.ECONNREFUSED
        if code:
            self._drop(fd, code)
            self._go_on()

    def _succeed(self, fd: int, *, readable: bool) -> None:
        callback = self._callback
        assert callback is not None, "a cancel forgets the socket"
        sock, address, began_at = self._pending.pop(fd)
        self._note_silent()
        self._reach.answered(self._label, address)
        self.cancel()
        if self._meter is not None:
            self._meter.answered(self._reactor.now - began_at)
        try:
            callback.connected(sock, readable)
        except BaseException as fault:
            self._reactor.forget(fd)
            sock.close()
            if parted(fault)[0] is not None:
                raise
            callback.failed(UpstreamError(Reason.FAULT, f"{self._label}: {quote_fault(fault)}"))

    def expire(self, now: float) -> None:
        if now >= self._due:
            self._note_silent()
            what = "connection" if self._all else "address"
            self._fail(UpstreamError(Reason.UPSTREAM_TIMEOUT, f"{self._label}: no {what} in time"))
            return
        self._tick = self._reactor.set_deadline(self, self._due)  # a nearer one replaces it
        if self._addresses:
            self._try_next()
        elif not self._pending:
            self._begin_round()

    def crashed(self, fault: BaseException) -> None:
        self._fail(UpstreamError(Reason.FAULT, f"{self._label}: {quote_fault(fault)}"))

    def _begin_round(self) -> None:
        self._refused = False
        self._addresses = self._reach.order(self._all, self._reactor.now)
        self._try_next()

    def _try_next(self) -> None:
        """Connect to the next address, and set the time of the one after it."""
        while self._addresses:
            address, self._addresses = self._addresses[0], self._addresses[1:]
            if self._addresses:
                self._set_deadline(min(self._reactor.now + NEXT_ADDRESS_SECONDS, self._due))
            if self._connect(address):
                return
        self._go_on()

    def _connect(self, address: SocketAddress) -> bool:
        """Begin to connect to an address; False if it has failed already."""
        family, where = address
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            self._note(address, _code_of(error))
            return False
        fd = sock.fileno()
        self._pending[fd] = sock, address, self._reactor.now
        if family != socket.AF_UNIX:
            no_delay(sock)
        try:
            if family == socket.AF_INET6 and "%" in where[0]:  # type: ignore[index]  # host and port
                where = scoped(*where)  # type: ignore[misc]
            code = sock.connect_ex(where)  # type: ignore[arg-type]  # as getaddrinfo gave it
        except OSError as error:
            self._drop(fd, _code_of(error), error.strerror)
            return False
        if code and code != errno.EINPROGRESS:
            self._drop(fd, code)
            return False
        try:
            self._reactor.add(fd, self)
        except OSError as error:  # the kernel has no memory left to watch it
            self._drop(fd, _code_of(error))
            return False
        return True

    def _go_on(self) -> None:
        """Continue after a failure: with the next address, with those under way, after a pause, or not at all."""
        if self._addresses:
            self._try_next()
        elif not self._pending:
            if self._retries and self._refused:
                again_at = self._reactor.now + self._retry_seconds
                if again_at < self._due:
                    self._retries -= 1
                    self._retry_seconds *= 2
                    self._set_deadline(again_at)
                    return
            error, self._error = self._error, None  # its traceback may have a frame that has this object
            self._fail(error)

    def _set_deadline(self, due: float) -> None:
        self._reactor.drop_deadline(self, self._tick)
        self._tick = self._reactor.set_deadline(self, due)

    def _drop(self, fd: int, code: int, text: str | None = None) -> None:
        self._reactor.forget(fd)
        sock, address, _ = self._pending.pop(fd)
        sock.close()
        self._note(address, code, text)

    def _note(self, address: SocketAddress, code: int, text: str | None = None) -> None:
        """Remember that an address failed, and the fault of the first one: the one that the user expects to read of."""
        reason = reason_of(code)
        if len(self._all) > 1 and reason is not Reason.OVERLOAD:
            self._reach.failed(address, self._reactor.now)
        self._refused = self._refused or reason is Reason.UPSTREAM_REFUSED
        if self._error is None:
            self._error = UpstreamError(reason, f"{self._label}: {text or _text_of(address, code)}")

    def _note_silent(self) -> None:
        """Remember which addresses had their time and did not answer."""
        if len(self._all) > 1:
            silent_since = self._reactor.now - NEXT_ADDRESS_SECONDS
            for _, address, began_at in self._pending.values():
                if began_at <= silent_since:
                    self._reach.failed(address, self._reactor.now)

    def _fail(self, error: UpstreamError | None) -> None:
        callback = self._callback
        self.cancel()
        if self._retry_seconds > RETRY_SECONDS:  # it was retried
            self._reach.exhausted(self._label, self._reactor.now)
        if callback is not None:
            error = error or UpstreamError(Reason.UPSTREAM_UNRESOLVED, f"{self._label}: no address")
            if self._meter is not None:
                self._meter.failed(error.detail)
            callback.failed(error)


def _code_of(error: OSError) -> int:
    """Give the code of an error; Python's own have none, as that of a path that is too long."""
    return error.errno or errno.EHOSTUNREACH


def _text_of(address: SocketAddress, code: int) -> str:
    family, where = address
    if family == socket.AF_INET6 and code in (errno.EINVAL, errno.ENETUNREACH):
        packed = packed_ip(where[0])  # type: ignore[index]  # host and port
        if packed is not None and classify(packed) is AddressClass.LINK_LOCAL and "%" not in where[0]:  # type: ignore[index]
            return f"{os.strerror(code)}: an address of a link needs its interface, as in [fe80::1%eth0]"
    return os.strerror(code)


def _is_connected(sock: socket.socket) -> bool:
    """Tell whether a socket is connected; the event may be one of the descriptor's former owner."""
    try:
        sock.getpeername()
    except OSError:
        return False
    return True
