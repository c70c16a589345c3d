"""Live outbounds: a recipe opened, and a user's ``connect`` made into what endpoints use."""

import errno
import os
import socket
from collections.abc import Callable
from typing import Final

import trio

from ..addresses.address import Address
from ..errors import ConfigurationError
from ..relay.streams import PlainStream
from ..services.context import EdgeContext, Outbound, Resolving
from ..session.fields import ByteStream
from ..session.stage import Recipe
from ..session.verdict import Reason
from ..telemetry.observer import Observer
from .connector import Attempt, ConnectCallback, Connecting, Target, reason_of
from .errors import UpstreamError
from .resolver import Answer

MEND: Final = "it needs async connect(address), which returns a socket or a stream"


def check_outbound(outbound: object, where: str) -> None:
    """Refuse an outbound that is none.

    Raises:
        ConfigurationError: and how to mend it.
    """
    if isinstance(outbound, type):
        raise ConfigurationError(f"{where} is a class, not an outbound: call it, {outbound.__name__}(...)")
    if not isinstance(outbound, (Recipe, Outbound)):
        raise ConfigurationError(f"{where}={outbound!r:.100} is no outbound: {MEND}")


def open_outbound(outbound: object, context: EdgeContext) -> Connecting:
    """Make the live outbound of one run of an edge.

    Raises:
        ConfigurationError: it is none.
    """
    live = outbound.open(context) if isinstance(outbound, Recipe) else outbound
    if isinstance(live, Connecting):
        return live
    if isinstance(live, Outbound):
        return TaskConnector(live, context.resolver, context.log)
    raise ConfigurationError(f"outbound {outbound!r:.100}: open() returned {live!r:.100}: {MEND}")


class TaskConnector:
    """A user's outbound: a session waits for its ``connect`` in the session's own task."""

    plain = False

    def __init__(self, outbound: Outbound, resolver: Resolving, log: Observer) -> None:
        self.outbound = outbound
        self._resolver = resolver
        self._log = log

    def warm(self, target: Target, failed: Callable[[UpstreamError], object]) -> None:
        """Do nothing: the outbound may resolve names elsewhere."""

    def start(self, target: Target, callback: ConnectCallback) -> Attempt:  # noqa: ARG002 - a protocol's shape
        """Refuse: only :meth:`open_stream` is for outbounds that wait."""
        raise RuntimeError(f"{self.outbound!r} connects in a task")

    async def open_stream(self, target: Target) -> trio.abc.HalfCloseableStream:
        """Connect within the target's seconds; after a cancel nothing is left open.

        Where only some addresses are permitted, the name is resolved on this machine first and refused if none is.

        Raises:
            UpstreamError: there is no connection.
        """
        address = target.address
        with trio.move_on_after(target.seconds):
            if target.permit is not None:
                permitted = target.permitted(await resolved(self._resolver, address))
                if isinstance(permitted, UpstreamError):
                    raise permitted
            try:
                connection = await self.outbound.connect(address)
            except UpstreamError:
                raise
            except OSError as error:
                code = error.errno or errno.EHOSTUNREACH
                raise UpstreamError(reason_of(code), f"{address}: {error.strerror or os.strerror(code)}") from error
            except Exception as fault:
                self._log.fault("outbound failed", fault, upstream=str(address))
                raise UpstreamError(Reason.FAULT, f"{address}: {fault!r}") from fault
            return as_stream(connection, f"{self.outbound!r:.100} for {address}")
        raise UpstreamError(Reason.UPSTREAM_TIMEOUT, f"{address}: no connection in time")


def as_stream(connection: object, where: str) -> trio.abc.HalfCloseableStream:
    """Give a connection as a stream; a plain socket stays one that the reactor can carry.

    Args:
        connection: a connected stream socket of the standard library or of Trio, or a stream.
        where: names its origin in messages.

    Raises:
        UpstreamError: it is neither; it is closed if it can be.
    """
    if isinstance(connection, trio.SocketStream):
        connection = connection.socket
    if isinstance(connection, trio.socket.SocketType):
        sock = socket.socket(fileno=os.dup(connection.fileno()))
        connection.close()
        connection = sock
    if isinstance(connection, socket.socket):
        if connection.type & socket.SOCK_STREAM and connection.fileno() >= 0:
            connection.setblocking(False)
            return PlainStream(connection)
        connection.close()
    elif isinstance(connection, ByteStream):
        return connection  # type: ignore[return-value]  # half-close is asked for when it is needed
    raise UpstreamError(
        Reason.FAULT, f"{where} returned {connection!r:.100}: it must return a connected socket or a stream"
    )


async def resolved(resolver: Resolving, address: Address) -> Answer:
    """Wait for a name's addresses, or the error."""
    answers: list[Answer] = []
    known = trio.Event()

    def answered(answer: Answer) -> None:
        answers.append(answer)
        known.set()

    resolver.ask(address, answered)
    await known.wait()
    return answers[0]
