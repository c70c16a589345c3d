"""ASGI applications for tests, and clients of HTTP in memory."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import trio

import trioedge as te
from trioedge.testing.rehearsal import Client, Rehearsal

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Handler = Callable[[Message, Receive, Send], Awaitable[object]]

HEAD = b"GET / HTTP/1.1\r\nHost: edge.example\r\n\r\n"


def edge_of(app: Any, *stages: object, listen: str = "tcp://127.0.0.1:0", **changes: Any) -> te.Edge:
    """Make an edge in front of an application; `changes` are arguments of Asgi, or else of Edge."""
    names = ("head_seconds", "keep_alive_seconds", "write_seconds", "max_head_bytes")
    of_asgi = {name: changes.pop(name) for name in names if name in changes}
    return te.Edge(listen, list(stages), te.Asgi(app, **of_asgi), **changes)


async def body_of(receive: Receive) -> bytes:
    """Receive the whole body of a request; what there was when the client left."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


async def answer(send: Send, body: bytes = b"hello", status: int = 200) -> None:
    """Send a response with its length."""
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def hello(scope: Message, receive: Receive, send: Send) -> None:
    """An application without a lifespan, which greets."""
    assert scope["type"] == "http"
    await body_of(receive)
    await answer(send)


async def digest(scope: Message, receive: Receive, send: Send) -> None:
    """Answer with the length and the SHA-256 of the request's body."""
    assert scope["type"] == "http"
    body = await body_of(receive)
    await answer(send, f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode())


class Application:
    """An application of handlers by path, which notes its life.

    Attributes:
        life: what happened to it, in order.
        scopes: of its requests.
    """

    def __init__(self, other: Handler | None = None, **handlers: Handler) -> None:
        """Make it.

        Args:
            other: handles every other path; it greets if None.
            handlers: by the path, without its slash.
        """
        self.other = other or hello
        self.handlers = handlers
        self.life: list[str] = []
        self.scopes: list[Message] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        self.scopes.append(scope)
        name = scope["path"].removeprefix("/")
        handle = self.handlers.get(name, self.other)
        self.life.append(f"{name} begins")
        try:
            await handle(scope, receive, send)
        except trio.Cancelled:
            self.life.append(f"{name} is cancelled")
            raise
        else:
            self.life.append(f"{name} ends")

    async def _live(self, scope: Message, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        scope["state"]["made"] = "at the start"
        self.life.append("startup")
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        self.life.append("shutdown")
        await send({"type": "lifespan.shutdown.complete"})


async def ask(client: Client, path: str = "/", *fields: str, body: bytes = b"") -> tuple[int, bytes]:
    """Send a request of HTTP/1.1, and receive a response that says its length."""
    length = [f"Content-Length: {len(body)}"] if body else []
    method = "POST" if body else "GET"
    head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: edge.example", *fields, *length, "", ""])
    await client.send(head.encode() + body)
    return await response(client.stream)


async def response(stream: trio.abc.ReceiveStream) -> tuple[int, bytes]:
    """Receive a response of HTTP/1.1 that says its length; its status and its body."""
    data = bytearray()
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some(1)
        assert more, f"the edge closed after {bytes(data)!r}"
        data += more
    status = int(data.split(b" ", 2)[1])
    lengths = [line.split(b":")[1] for line in bytes(data).lower().split(b"\r\n") if line.startswith(b"content-length")]
    body = bytearray()
    while len(body) < int(lengths[0]) and (more := await stream.receive_some(int(lengths[0]) - len(body))):
        body += more
    return status, bytes(body)


async def request(world: Rehearsal, path: str = "/", *fields: str, body: bytes = b"") -> tuple[int, bytes]:
    """Connect, ask once and hang up."""
    client = await world.connect()
    try:
        return await ask(client, path, *fields, body=body)
    finally:
        await client.close()
