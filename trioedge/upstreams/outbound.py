"""Live outbounds: a recipe that was opened, and a user's ``connect`` in the form that endpoints use."""

import errno
import inspect
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Any, Final

import trio

from ..addresses.address import Address
from ..errors import ConfigurationError, message_of, quote, quote_fault
from ..loop.sockets import is_connected_to_itself, reset, scoped
from ..relay.streams import PlainStream
from ..services.context import EdgeContext, Outbound, Resolving
from ..session.fields import ByteStream
from ..session.stage import Closing, Recipe
from ..session.verdict import Reason
from ..telemetry.log import EdgeLog, parted
from .attempt import RETRY_SECONDS, Attempt, ConnectCallback
from .connector import Connecting, Target
from .errors import UpstreamError, reason_of
from .resolver import Answer

MEND: Final = "it needs async connect(address), which returns a socket or a stream"


def check_outbound(outbound: object, where: str) -> None:
    """Check that an object is an outbound or the recipe of one.

    Args:
        outbound: what a user wrote.
        where: names the argument in messages.

    Raises:
        ConfigurationError: it is none, with the mend.
    """
    if isinstance(outbound, type):
        raise ConfigurationError(f"{where} is a class, not an outbound: call it, {outbound.__name__}(...)")
    if not isinstance(outbound, (Recipe, Outbound)):
        raise ConfigurationError(f"{where} = {quote(outbound)} is no outbound: {MEND}")
    if not isinstance(outbound, Recipe):
        _check_async(outbound, where)


def _check_async(outbound: Outbound, where: str) -> None:
    connect: Any = outbound.connect
    if inspect.isroutine(connect) and not inspect.iscoroutinefunction(connect):
        raise ConfigurationError(f"{where} = {quote(outbound)}: connect() is not async: write async def connect")


def open_outbound(outbound: object, context: EdgeContext) -> Connecting:
    """Make the live outbound of one run of an edge.

    Args:
        outbound: what :func:`check_outbound` has accepted.
        context: the running edge.

    Raises:
        ConfigurationError: its ``open`` made no outbound.
    """
    live = outbound.open(context) if isinstance(outbound, Recipe) else outbound
    if isinstance(live, Connecting):
        return live
    where = f"outbound {quote(outbound)}: open()"
    try:
        if not isinstance(live, Outbound):
            raise ConfigurationError(f"{where} returned {quote(live)}: {MEND}")
        _check_async(live, where)
    except ConfigurationError:
        if inspect.iscoroutine(live) or isinstance(live, Closing):
            live.close()
        raise
    return TaskConnector(live, context.resolver, context.log)


def part_of(connector: Connecting) -> object:
    """Give the live outbound behind a connector, which may have ``run`` and ``close``."""
    return connector.outbound if isinstance(connector, TaskConnector) else connector


async def retried(
    connect: Callable[[], Awaitable[trio.abc.HalfCloseableStream]], target: Target
) -> trio.abc.HalfCloseableStream:
    """Connect, and again if that is refused: as often as the target says, after pauses that double, within its seconds.

    Raises:
        UpstreamError: the last one of `connect`.
    """
    ends_at = trio.current_time() + target.seconds
    for retry in range(target.retries):
        pause = RETRY_SECONDS * 2**retry
        try:
            return await connect()
        except UpstreamError as error:
            if error.reason is not Reason.UPSTREAM_REFUSED or trio.current_time() + pause >= ends_at:
                raise
        await trio.sleep(pause)
    return await connect()


class TaskConnector:
    """A user's outbound: a session waits for its ``connect`` in the session's own task.

    Attributes:
        outbound: the live outbound.
    """

    plain = False

    def __init__(self, outbound: Outbound, resolver: Resolving, log: EdgeLog) -> None:
        """Open nothing yet.

        Args:
            outbound: connects.
            resolver: resolves the names whose addresses need a permit.
            log: logs the exceptions of `outbound` that say nothing of the upstream.
        """
        self.outbound = outbound
        self._resolver = resolver
        self._log = log

    def warm(self, target: Target, failed: Callable[[UpstreamError], object]) -> None:
        """Do nothing, because the outbound may resolve names elsewhere."""

    def start(self, target: Target, callback: ConnectCallback) -> Attempt:  # noqa: ARG002 - a protocol's shape
        """Raise RuntimeError: an outbound that waits has :meth:`open_stream` only."""
        raise RuntimeError(f"{quote(self.outbound)} connects in a task")

    async def open_stream(self, target: Target) -> trio.abc.HalfCloseableStream:
        """Connect within the target's seconds; after a cancel nothing is left open.

        A connect that is refused is retried as often as the target says, after pauses that double.

        If the target has a permit, its name is resolved on this machine before the outbound connects, and refused if
        none of its addresses is permitted.

        Raises:
            UpstreamError: there is no connection.
        """
        address = target.address
        with trio.move_on_after(target.seconds):
            if target.permit is not None:
                permitted = target.permitted(await resolved(self._resolver, address, target.asker))
                if isinstance(permitted, UpstreamError):
                    raise permitted
            return await retried(partial(self._connect, address), target)
        raise UpstreamError(Reason.UPSTREAM_TIMEOUT, f"{address}: no connection in time")

    async def _connect(self, address: Address) -> trio.abc.HalfCloseableStream:
        try:
            connection = await self.outbound.connect(address)
        except UpstreamError:
            raise
        except (OSError, trio.TooSlowError) as error:
            raise _read_error(error, address) from error
        except BaseException as raised:
            stop, fault = parted(raised)
            if fault is None:
                raise
            self._log.fault("outbound failed", fault, upstream=str(address))
            if stop is not None:
                raise stop from None
            raise UpstreamError(Reason.FAULT, f"{address}: {quote_fault(fault)}") from fault
        return as_stream(connection, f"{address}: {quote(self.outbound)} returned")


_ERRNOS: Final = ((TimeoutError, errno.ETIMEDOUT), (trio.TooSlowError, errno.ETIMEDOUT),
                  (ConnectionRefusedError, errno.ECONNREFUSED))  # fmt: skip


def _read_error(error: OSError | trio.TooSlowError, address: Address) -> UpstreamError:
    """Give the reason of a connect that failed; `trio.open_tcp_stream` has it in the cause of its OSError."""
    cause = error.__cause__
    if isinstance(cause, ExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(error, OSError) and error.errno is None and isinstance(cause, OSError):
        error = cause
    if isinstance(error, socket.gaierror):
        return UpstreamError(Reason.UPSTREAM_UNRESOLVED, f"{address}: {error.strerror}")
    code = error.errno if isinstance(error, OSError) else None
    if code is None:
        code = next((code for kind, code in _ERRNOS if isinstance(error, kind)), errno.EHOSTUNREACH)
        return UpstreamError(reason_of(code), f"{address}: {message_of(error) or os.strerror(code)}")
    return UpstreamError(reason_of(code), f"{address}: {os.strerror(code)}")


def as_stream(connection: object, where: str) -> trio.abc.HalfCloseableStream:
    """Give a connection as a stream; a plain socket stays one that the reactor can carry.

    Args:
        connection: a connected stream socket of the standard library or of Trio, or a stream. A socket of Trio is
            closed and its connection goes on under another descriptor.
        where: names its origin in messages, as in ``Proxy() returned``.

    Raises:
        UpstreamError: it is neither, or not connected; it is closed if it can be.
    """
    if isinstance(connection, trio.SocketStream):
        connection = connection.socket
    if isinstance(connection, trio.socket.SocketType):
        with connection:
            if connection.fileno() < 0:
                raise _unusable(where, "a closed socket")
            try:
                connection = socket.socket(fileno=os.dup(connection.fileno()))
            except OSError as error:
                raise UpstreamError(reason_of(error.errno or 0), f"{where}: {error.strerror}") from error
    if isinstance(connection, socket.socket):
        if fault := _fault_of(connection):
            connection.close()
            raise _unusable(where, fault)
        if connection.family != socket.AF_UNIX and is_connected_to_itself(connection):
            reset(connection)
            raise UpstreamError(Reason.UPSTREAM_REFUSED, f"{where} a socket that is connected to itself")
        connection.setblocking(False)
        return PlainStream(connection)
    if not isinstance(connection, ByteStream) or isinstance(connection, type):
        raise _unusable(where, f"{quote(connection)}")
    return connection  # type: ignore[return-value]  # the relay asks whether it has a half-close


def _fault_of(sock: socket.socket) -> str:
    """Say why a socket is no connection that the relay can carry; an empty text if it is one."""
    if sock.fileno() < 0:
        return "a closed socket"
    if isinstance(sock, ssl.SSLSocket):
        return "a socket with TLS, which the standard library waits for: use trio.SSLStream"
    if sock.type != socket.SOCK_STREAM:
        return "a socket that is no stream"
    try:
        sock.getpeername()
    except OSError:
        return "a socket that is not connected"
    return ""


def _unusable(where: str, what: str) -> UpstreamError:
    return UpstreamError(Reason.FAULT, f"{where} {what}: it must be a connected socket or a stream")


async def resolved(resolver: Resolving, address: Address, asker: Hashable = None) -> Answer:
    """Wait for the addresses of a name, or for the error; the arguments are those of :meth:`.Resolving.ask`."""
    answers: list[Answer] = []
    known = trio.Event()

    def answered(answer: Answer) -> None:
        answers.append(answer)
        known.set()

    resolver.ask(address, answered, asker)
    await known.wait()
    return answers[0]


def with_scopes(answer: Answer, address: Address) -> Answer:
    """Give the addresses of an answer as ``socket.connect`` takes them: names of interfaces become numbers."""
    if isinstance(answer, UpstreamError) or not any("%" in str(where) for _, where in answer):
        return answer
    try:
        return tuple(
            (family, scoped(*where) if family == socket.AF_INET6 else where)  # type: ignore[misc]  # host and port
            for family, where in answer
        )
    except OSError as error:
        return UpstreamError(Reason.UPSTREAM_UNREACHABLE, f"{address}: {error.strerror}")
