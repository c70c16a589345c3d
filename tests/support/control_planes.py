"""Control planes over HTTP for tests: the example, served in this process, and one with scripted answers."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import hypercorn.trio
import trio
from hypercorn.config import Config

from examples.control_plane.app import ControlPlane
from examples.control_plane.store import Store
from tests.support.fake_link import FakeLink
from tests.support.wires import server
from trioedge.control.http import HttpControl

Answer: TypeAlias = bytes | Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def example(
    store: Store, *, token: str = "", delay: float = 0.0, port: int = 0, **config: Any
) -> AsyncIterator[str]:
    """Serve the example until the block ends, and give its URL."""
    settings = Config.from_mapping(
        {"bind": f"127.0.0.1:{port}", "loglevel": "WARNING", "graceful_timeout": 0, **config}
    )
    app: Any = ControlPlane(store, token=token, delay=delay).app()
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(partial(hypercorn.trio.serve, app, settings))
        yield url
        nursery.cancel_scope.cancel()


class Request:
    """One request, as it was received."""

    def __init__(self, head: bytes, body: bytes) -> None:
        line, *lines = head.decode().split("\r\n")
        self.method, self.target, _ = line.split(" ")
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.body = body

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


class Scripted:
    """A server that gives each request the next of its answers, and no answer when none are left."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        async with server(self._serve) as port:
            yield f"http://127.0.0.1:{port}"

    async def _serve(self, connection: trio.SocketStream) -> None:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = await connection.receive_some()
                if not more:
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            request = Request(head, b"")
            while len(data) < int(request.headers.get("content-length", 0)):
                data += await connection.receive_some()
            request.body, data = data, b""
            self.requests.append(request)
            if not self.answers:
                await trio.sleep_forever()
            answer = self.answers.pop(0)
            if isinstance(answer, bytes):
                await connection.send_all(answer)
            else:
                await answer(connection)
                return


def answer(body: bytes, *, status: str = "200 OK", length: int | None = None, **headers: str) -> bytes:
    """Make an HTTP answer; `length` is the Content-Length, if it is to be wrong."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def json_answer(value: object) -> bytes:
    """Make an answer with a body of JSON."""
    return answer(json.dumps(value).encode())


def lines(*values: object) -> bytes:
    """Write a line of JSON for each value."""
    return b"".join(json.dumps(each).encode() + b"\n" for each in values)


def snapshot(services: Iterable[dict[str, Any]], version: str = "1", *, full: bool = True) -> bytes:
    """Make an answer with a snapshot."""
    services = list(services)
    body = lines({"version": version, "full": full}, *services, {"end": len(services)})
    return answer(body, etag=f'"{version}"')


@asynccontextmanager
async def running(control: HttpControl) -> AsyncIterator[FakeLink]:
    """Run a control plane for a link of its own until the block ends."""
    link = FakeLink()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(control.run, link)
        yield link
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def scripted(*answers: Answer, **options: Any) -> AsyncIterator[tuple[Scripted, FakeLink, HttpControl]]:
    """Run an `HttpControl` with these options against a server with these answers."""
    plane = Scripted(*answers)
    async with plane.serving() as url:
        control = HttpControl(url, **options)
        async with running(control) as link:
            yield plane, link, control
