"""Connect from this machine: names, addresses that may be connected to, and attempts in the reactor."""

import socket
from collections.abc import Callable, Hashable
from functools import partial
from typing import Final, Protocol, TypeAlias, runtime_checkable

import attrs
import trio

from ..addresses.address import Address
from ..loop.reactor import Reactor
from ..relay.streams import PlainStream
from ..services.context import Resolving
from ..telemetry.connects import ConnectMeter
from .attempt import Attempt, ConnectCallback
from .errors import UpstreamError
from .introduction import Introduction
from .reachability import Reachability
from .resolver import Answer

RETRIES: Final = 5
"""How often a connect that was refused is retried by default."""

Permit: TypeAlias = Callable[[Address, Answer], Answer]
"""Removes the addresses that may not be connected to from an answer; gives the error if none is left."""


@attrs.frozen(slots=True, eq=False)
class Target:
    """A destination, with the bounds of a connect.

    Attributes:
        address: the destination.
        seconds: the limit of one connect, name and all addresses included.
        permit: removes the addresses that may not be connected to; None for no such rule.
        retries: how often a connect that was refused is retried, within `seconds`.
        asker: shares the queries for names with other askers; the service, or the destination itself.
        meter: counts its connects; None for no count.
    """

    address: Address
    seconds: float
    permit: Permit | None = None
    retries: int = RETRIES
    asker: Hashable = None
    meter: ConnectMeter | None = None

    def permitted(self, answer: Answer) -> Answer:
        """Give the addresses of an answer that may be connected to, or the error if there is none."""
        return answer if self.permit is None else self.permit(self.address, answer)


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


@runtime_checkable
class Resolves(Protocol):
    """A connector whose sockets lead to the addresses of a target's own name, and not to a proxy, say."""

    def resolve(self, target: Target, on_answer: Callable[[Answer], object], /) -> None:
        """Call `on_answer` once with the addresses that may be connected to, or with the error."""

    def fresh_until(self, target: Target, /) -> float:
        """Give the time until which the addresses do not change; infinity if they never do."""


def introduction_of(connector: Connecting) -> Introduction | None:
    """Give the introduction that each session has to its upstream; None for none."""
    return connector.introduction if isinstance(connector, Connector) else None


class Connector:
    """Connects from this machine, with its own routes and resolver.

    Attributes:
        introduction: introduces each session to its upstream; None for upstreams that get the client's bytes alone.
    """

    plain = True

    def __init__(self, reactor: Reactor, resolver: Resolving, introduction: Introduction | None = None) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self.introduction = introduction
        self._reach = Reachability()

    def warm(self, target: Target, failed: Callable[[UpstreamError], object]) -> None:
        """Resolve the name before the first connect; `failed` is called if none of its addresses is permitted."""

        def look(answer: Answer) -> None:
            if isinstance(answer, UpstreamError):
                failed(answer)

        self.resolve(target, look)

    def resolve(self, target: Target, on_answer: Callable[[Answer], object]) -> None:
        """Call `on_answer` once with the addresses that may be connected to, or with the error."""
        self._resolver.ask(target.address, lambda answer: on_answer(target.permitted(answer)), target.asker)

    def fresh_until(self, target: Target) -> float:
        """Give the time until which the addresses do not change; infinity if they never do."""
        return self._resolver.fresh_until(target.address)

    def attempt(self, target: Target, callback: ConnectCallback) -> Attempt:
        """Make an attempt that waits for the addresses."""
        return Attempt(
            self._reactor, target.address, self._reactor.now + target.seconds, callback, target.retries, self._reach,
            target.meter,
        )  # fmt: skip

    def start(self, target: Target, callback: ConnectCallback) -> Attempt:
        """Begin to connect.

        Args:
            target: the destination; its name is resolved first, from memory if it is known.
            callback: called with the socket or the error; if the attempt fails at once, before this returns.
        """
        attempt = self.attempt(target, callback)
        try:
            self._resolver.ask(
                target.address,
                attempt.resolved if target.permit is None else partial(self._check, target, attempt),
                target.asker,
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
            error, self._error = self._error, None  # its traceback has this frame, and so this object
            try:
                raise error
            finally:
                del error
        assert self._sock is not None
        return PlainStream(self._sock)
