"""One HTTP request and its answer on one connection."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

import attrs
import h11
import trio

MAX_ANSWER_BYTES: Final = 32 << 20

PIECE: Final = 65_536

Body: TypeAlias = Mapping[str, Any] | Iterable[bytes]
"""An object that is sent as JSON, or lines that are sent as they come."""


@attrs.frozen
class ApiRequest:
    """A request, as it is sent.

    Attributes:
        method: of HTTP.
        path: with every part quoted.
        query: parameters by name; those that are None are left out.
        body: None for no body.
        token: of the edge; None for none.
    """

    method: str
    path: str
    query: Mapping[str, str | int | None] = {}
    body: Body | None = None
    token: str | None = attrs.field(default=None, repr=False)

    def head(self) -> h11.Request:
        given = {name: value for name, value in self.query.items() if value is not None}
        headers = [("Host", "edge"), ("Connection", "close")]
        if self.token is not None:
            headers.append(("Authorization", f"Bearer {self.token}"))
        if self.body is not None:
            kind = "application/json" if isinstance(self.body, Mapping) else "application/x-ndjson"
            headers += [("Content-Type", kind), ("Transfer-Encoding", "chunked")]
        target = f"{self.path}?{urlencode(given)}" if given else self.path
        return h11.Request(method=self.method, target=target, headers=headers)

    def pieces(self) -> Iterator[bytes]:
        """Give the body in pieces of about 64 KiB."""
        if isinstance(self.body, Mapping):
            yield json.dumps(self.body).encode()
            return
        piece = bytearray()
        for line in self.body or ():
            piece += line
            if len(piece) >= PIECE:
                yield bytes(piece)
                piece.clear()
        if piece:
            yield bytes(piece)


class RoundTrip:
    """A request on a connection, and its answer; after it the connection is of no use.

    Raises `h11.RemoteProtocolError` for what is no HTTP, and `trio.BrokenResourceError` for a connection that breaks.

    Attributes:
        headers: of the answer, once its status is there.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)
        self.headers: Mapping[str, str] = {}

    async def send(self, request: ApiRequest) -> None:
        """Send a request. A server that answers and closes before it has read all of it is no error here."""
        try:
            await self._send(request.head())
            for piece in request.pieces():
                await self._send(h11.Data(piece))
            await self._send(h11.EndOfMessage())
        except trio.BrokenResourceError:
            if request.body is None:
                raise

    async def status(self) -> int:
        """Wait for the head of the answer."""
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                self.headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
                return event.status_code
            if not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("closed without an answer")

    async def chunk(self) -> bytes | None:
        """Wait for some bytes of the body; None at its end."""
        event = await self._next()
        return bytes(event.data) if isinstance(event, h11.Data) else None

    async def rest(self) -> bytes:
        """Read the body to its end, at most 32 MiB."""
        body = bytearray()
        while (chunk := await self.chunk()) is not None:
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise h11.RemoteProtocolError(f"its answer is longer than {MAX_ANSWER_BYTES:,} bytes")
        return bytes(body)

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            await self._stream.send_all(data)

    async def _next(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self._stream.receive_some(PIECE)))
        return event
