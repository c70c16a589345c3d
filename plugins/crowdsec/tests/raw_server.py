"""A server of HTTP/1.1 on a loopback port whose answers are bytes, good and bad."""

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

Answer = bytes | Callable[[trio.abc.Stream], Awaitable[None]]


class RawServer:
    """Gives each request the next of its answers; without one left it is silent.

    Attributes:
        heads: of the requests that came.
        connections: how many were accepted.
    """

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.heads: list[str] = []
        self.connections = 0

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        """Serve until the block ends, and give the URL."""

        async def serve(stream: trio.SocketStream) -> None:
            await self._serve(stream if tls is None else trio.SSLStream(stream, tls, server_side=True))

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            yield f"{'http' if tls is None else 'https'}://127.0.0.1:{listener.socket.getsockname()[1]}"
            nursery.cancel_scope.cancel()

    async def _serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        data = b""
        try:
            async with stream:
                while True:
                    while b"\r\n\r\n" not in data:
                        more = await stream.receive_some(65_536)
                        if not more:
                            return
                        data += more
                    head, _, data = data.partition(b"\r\n\r\n")
                    self.heads.append(head.decode())
                    if not self.answers:
                        await trio.sleep_forever()
                    answer = self.answers.pop(0)
                    if isinstance(answer, bytes):
                        await stream.send_all(answer)
                    else:
                        await answer(stream)
                        return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


def answer(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    """Make an answer; `length` is the Content-Length, if it is to be wrong."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


def decisions(new: object, deleted: object = None) -> bytes:
    """Make an answer with decisions."""
    return answer(json.dumps({"deleted": deleted, "new": new}).encode())
