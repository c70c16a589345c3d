"""Connect in the reactor, and do the handshake of TLS with the upstream behind it.

| an attempt is | event | action |
| --- | --- | --- |
| connecting | as :class:`.Attempt` has it; connected | begin the handshake of TLS; securing |
| securing | the upstream's socket is ready | go on with the handshake |
| securing | it is done | give the socket to the callback |
| securing | its certificate is not for the name, or not trusted; it does not speak TLS; it leaves | ``upstream_tls`` |
| securing | the deadline of the whole attempt | ``upstream_timeout`` |
| any | cancel | close the socket; the callback is not called |

No other address is tried once one has connected, because all have the same certificate.
"""

import os
import socket
import ssl

from ...errors import quote_fault
from ...loop.reactor import Reactor
from ...loop.sockets import reset
from ...relay.tls_info import TlsError
from ...relay.tls_socket import TlsSocket
from ...session.verdict import Reason
from ...telemetry.connects import ConnectMeter
from ...telemetry.log import parted
from ..attempt import Attempt, ConnectCallback
from ..errors import UpstreamError
from ..reachability import Reachability


class TlsAttempt(Attempt):
    """An attempt whose callback gets a :class:`.TlsSocket`."""

    __slots__ = ("_context", "_ends_at", "_handshake", "_name", "_server_name", "_then", "_watcher")

    def __init__(
        self, reactor: Reactor, label: object, due: float, callback: ConnectCallback, retries: int,
        reach: Reachability, context: ssl.SSLContext, server_name: str | None, meter: ConnectMeter | None = None,
    ) -> None:  # fmt: skip
        """Wait for the addresses.

        Args:
            reactor: watches the sockets and the deadline.
            label: the destination, for errors and for `reach`.
            due: the deadline of all, in seconds of the reactor's clock.
            callback: called with the socket, whose handshake is done, or with the error.
            retries: how often a connect that was refused is retried.
            reach: remembers which addresses failed.
            context: a client's.
            server_name: the upstream is asked for it, and its certificate must have it; None for none, which only a
                context that checks no name allows.
            meter: counts the connect, and a handshake that fails; None for no count.
        """
        self._watcher = reactor
        self._name = label
        self._ends_at = due
        self._then: ConnectCallback | None = callback  # until it is called: it may have this object
        self._context = context
        self._server_name = server_name
        self._handshake: UpstreamHandshake | None = None
        super().__init__(reactor, label, due, self, retries, reach, meter)

    def connected(self, sock: socket.socket, readable: bool) -> None:  # noqa: ARG002 - the handshake looks first
        """Begin the handshake over a connected socket, which is registered in the reactor."""
        then, self._then = self._then, None
        assert then is not None, "a connect has one result"
        try:
            secured = TlsSocket(sock, self._context, server_name=self._server_name, client=True)
        except (OSError, ValueError) as error:
            self._watcher.forget(sock.fileno())
            reset(sock)
            failure = UpstreamError(Reason.UPSTREAM_TLS, f"{self._name}: TLS: {error}")
            if self._meter is not None:
                self._meter.failed(failure.detail)
            then.failed(failure)
            return
        self._handshake = UpstreamHandshake(self._watcher, self._name, self._ends_at, then, secured, self._meter)
        self._handshake.begin()

    def failed(self, error: UpstreamError) -> None:
        """Give the error of the connect."""
        then, self._then = self._then, None
        if then is not None:
            then.failed(error)

    def cancel(self) -> None:
        """Close every socket; the callback is not called any more."""
        super().cancel()
        if self._handshake is not None:
            self._handshake.cancel()
            self._handshake = None


class UpstreamHandshake:
    """The handshake of TLS with one upstream, which has connected."""

    __slots__ = ("_callback", "_meter", "_name", "_reactor", "_sock", "_tick")

    def __init__(
        self, reactor: Reactor, name: object, due: float, callback: ConnectCallback, sock: TlsSocket,
        meter: ConnectMeter | None = None,
    ) -> None:  # fmt: skip
        self._reactor = reactor
        self._meter = meter
        self._name = name
        self._callback: ConnectCallback | None = callback
        self._sock = sock
        self._tick = reactor.set_deadline(self, due)

    def begin(self) -> None:
        """Say hello, and go on when the upstream answers."""
        self._reactor.hand_over(self._sock.fileno(), self)
        self._go_on()

    def on_ready(self, fd: int, mask: int) -> None:  # noqa: ARG002 - the reactor's shape
        self._go_on()

    def expire(self, now: float) -> None:  # noqa: ARG002 - the reactor's shape
        self._fail(Reason.UPSTREAM_TIMEOUT, "no handshake of TLS in time")

    def crashed(self, fault: BaseException) -> None:
        self._fail(Reason.FAULT, quote_fault(fault))

    def cancel(self) -> None:
        """Close the socket, unless the callback has it; the callback is not called."""
        if self._callback is not None:
            self._callback = None
            self._reactor.drop_deadline(self, self._tick)
            self._reactor.forget(self._sock.fileno())
            reset(self._sock)

    def _go_on(self) -> None:
        if self._callback is None:
            return
        try:
            done = self._sock.handshake()
        except TlsError as error:
            self._fail(Reason.UPSTREAM_TLS, error.detail)
        except OSError as error:
            self._fail(Reason.UPSTREAM_TLS, f"TLS: {os.strerror(error.errno or 0)}")
        else:
            if done:
                self._finish(self._callback)

    def _finish(self, callback: ConnectCallback) -> None:
        self._callback = None
        self._reactor.drop_deadline(self, self._tick)
        try:
            callback.connected(self._sock, True)  # TLS may hold bytes, so it has to be read first
        except BaseException as fault:
            self._reactor.forget(self._sock.fileno())
            reset(self._sock)
            if parted(fault)[0] is not None:
                raise
            callback.failed(UpstreamError(Reason.FAULT, f"{self._name}: {quote_fault(fault)}"))

    def _fail(self, reason: Reason, what: str) -> None:
        callback = self._callback
        self.cancel()
        if callback is not None:
            error = UpstreamError(reason, f"{self._name}: {what}")
            if self._meter is not None:
                self._meter.failed(error.detail)
            callback.failed(error)
