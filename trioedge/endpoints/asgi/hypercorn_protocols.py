"""HTTP/1.1, HTTP/2 and WebSocket by hypercorn, and the only module that imports it.

Its protocols are used as its own workers use them: bytes in, bytes out, and a call for each request. Its servers for
connections are not, because they shield their sends from a cancel, so a client that reads nothing would keep its
session. Their names and signatures are internals of hypercorn: `tests/endpoints/asgi/test_hypercorn_protocols.py` pins
them.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeAlias, cast

from hypercorn.config import Config
from hypercorn.events import Closed, RawData
from hypercorn.protocol.events import Body, Data
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H2ProtocolAssumedError, H11Protocol
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from .messages import Message

Put: TypeAlias = Callable[[Message], Awaitable[None]]
Answer: TypeAlias = Callable[[Message | None], Awaitable[None]]

_CLOSED: Final = Closed()
_UNANSWERED: Final = ASGIWebsocketState.HANDSHAKE


class Caller(Protocol):
    """The connection that the protocol of one session calls."""

    async def transmit(self, data: bytes, /) -> None:
        """Send bytes to the client; does nothing once the client has gone."""

    def hang_up(self) -> None:
        """Note that the protocol is done: no bytes go to the client any more, and none are read."""

    def spawn(self, function: Callable[..., Awaitable[object]], /, *arguments: Any) -> None:
        """Start a task of the session."""

    def open_exchange(self, scope: Message, answer: Answer, /) -> Put:
        """Start the application for a request.

        Args:
            scope: of the request.
            answer: takes the application's messages, and None once it has returned.

        Returns:
            Takes the messages for the application.
        """


class HttpServer:
    """The settings of HTTP that all sessions of one endpoint share.

    Attributes:
        draining: every session ends once it has no request any more.
    """

    def __init__(self, max_head_bytes: int) -> None:
        """Make the settings; nothing is started.

        Args:
            max_head_bytes: of an unfinished request head.
        """
        self._config = config = Config()
        config.errorlog = None
        config.include_server_header = False
        config.h11_max_incomplete_size = max_head_bytes
        config.h2_max_header_list_size = max_head_bytes
        self._context = WorkerContext(None)
        self.draining = False

    async def drain(self) -> None:
        """Have every session end once it has no request any more."""
        self.draining = True
        await self._context.terminated.set()

    def protocol(self, caller: Caller, state: Message, client: Any, server: Any, alpn: str | None) -> "HttpProtocol":
        """Make the protocol of one session.

        Args:
            caller: is called with bytes for the client, and with requests.
            state: the state of the application's lifespan; each request has a copy.
            client: the client's address and port; None where there is none.
            server: the same of the edge.
            alpn: the protocol that TLS agreed on; None without TLS.
        """
        return HttpProtocol(self._config, self._context, caller, ConnectionState(state), client, server, alpn)


class HttpProtocol:
    """HTTP of one session: HTTP/2 if TLS agreed on it or the client begins with it, else HTTP/1.1."""

    __slots__ = ("_caller", "_protocol", "_shared")

    def __init__(
        self, config: Config, context: WorkerContext, caller: Caller, state: ConnectionState, client: Any, server: Any,
        alpn: str | None,
    ) -> None:  # fmt: skip
        self._caller = caller
        tasks: Any = _Tasks(caller)
        # The application comes first, but only these tasks would call it.
        self._shared = (None, config, context, tasks, state, alpn is not None, client, server, self._send)
        kind: Any = _Multiplexed if alpn == "h2" else _Single
        self._protocol: H11Protocol | H2Protocol = kind(*self._shared)

    @property
    def multiplexes(self) -> bool:
        """Whether the session has several requests at once, as in HTTP/2."""
        return isinstance(self._protocol, H2Protocol)

    async def begin(self) -> None:
        """Send the server's part of the preface, if the protocol has one."""
        await self._protocol.initiate()

    async def receive(self, data: bytes) -> None:
        """Take bytes of the client; none at their end. Waits for an application that does not take its messages."""
        try:
            await self._protocol.handle(RawData(data))
        except H2ProtocolAssumedError as begins:  # RFC 9113 section 3.3
            self._protocol = protocol = _Multiplexed(*self._shared)
            await protocol.initiate()
            await protocol.handle(RawData(begins.data))

    async def end(self) -> None:
        """Tell every application that has not answered that the client has left."""
        await self._protocol.handle(_CLOSED)

    def release(self) -> None:
        """Drop every reference, so that no cycle is left for the garbage collector; the last call."""
        vars(self._protocol).clear()  # its streams refer to it
        del self._protocol, self._shared, self._caller

    async def _send(self, event: object) -> None:
        if isinstance(event, RawData):
            await self._caller.transmit(event.data)
        elif isinstance(event, Closed):
            self._caller.hang_up()
            await self.end()


class EarlyFramesError(Exception):
    """The client has not waited for its WebSocket (RFC 6455 section 4.1)."""

    def __init__(self) -> None:
        super().__init__("frames of a WebSocket came before it was accepted")


class _WebSocket:
    """A WebSocket whose client must wait for the answer: hypercorn's own refuses it, and does not tell its application.

    Attributes:
        idle: it is over.
    """

    __slots__ = ("_stream",)

    def __init__(self, stream: WSStream) -> None:
        self._stream = stream

    @property
    def idle(self) -> bool:
        return self._stream.idle

    async def handle(self, event: Any) -> None:
        """Take an event; one with bytes before the answer raises :class:`EarlyFramesError`."""
        stream = self._stream
        if isinstance(event, (Body, Data)) and event.data and not stream.closed and stream.state is _UNANSWERED:
            raise EarlyFramesError
        await stream.handle(event)


class _Single(H11Protocol):
    """HTTP/1.1 that ignores an upgrade to HTTP/2, which RFC 9113 has removed: hypercorn's own fails now and then."""

    async def _create_stream(self, request: Any) -> None:
        await super()._create_stream(request)
        if isinstance(self.stream, WSStream):
            self.stream = cast(Any, _WebSocket(self.stream))

    async def _check_protocol(self, event: Any) -> None:
        if not any(name == b"upgrade" and value.strip().lower() == b"h2c" for name, value in event.headers):
            await super()._check_protocol(event)


class _Multiplexed(H2Protocol):
    """HTTP/2 that drops the rest of a request whose response is complete; hypercorn's own raises a KeyError."""

    def __init__(self, *shared: Any) -> None:
        super().__init__(*shared)
        self.streams = _Streams()


class _Streams(dict[int, Any]):
    """The streams of a connection by number; those that are over take every event."""

    def __setitem__(self, number: int, stream: Any) -> None:
        super().__setitem__(number, _WebSocket(stream) if isinstance(stream, WSStream) else stream)

    def __missing__(self, number: int) -> "_Streams":
        return self

    async def handle(self, event: object) -> None:
        """Drop an event."""


class _Tasks:
    """The tasks of one session, as hypercorn's protocols see them."""

    __slots__ = ("_caller",)

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def spawn_app(self, app: object, config: object, scope: Message, send: Answer) -> Put:  # noqa: ARG002
        return self._caller.open_exchange(scope, send)

    def spawn(self, func: Callable[..., Awaitable[object]], *args: Any) -> None:
        self._caller.spawn(func, *args)
