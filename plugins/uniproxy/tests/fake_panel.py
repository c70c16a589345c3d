"""A panel on loopback that behaves as V2board and Xboard do, and fails when it is told to."""

import hashlib
import json
import ssl
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h11
import trio

TOKEN = "a-token-of-the-panel-1234567890"
PATH = "/api/v1/server/UniProxy"
ALICE, BOB = "6f1c9a52-0d4e-4f7b-9c53-aa1d4f0b7e01", "0b7a3f5c-77aa-4d7e-8a1b-5d2f9f4c3b02"

Fault = int | str
"""A status; ``hang``: no answer, and nothing is done; ``counted``: done, and no answer; ``reset``: the same, and the
connection breaks; ``nonsense``, ``huge`` and ``cut``: such a body."""


class FakePanel:
    """The books, users and addresses of a panel, over HTTP.

    Attributes:
        users: as the panel names them.
        config: of the node.
        books: bytes up and down by user, added up.
        addresses: by node, then by user.
        requests: the method and the route of each request, and its status; 0 for none.
        faults: by route, what to do with the next requests.
        always: by route, what to do with all of them.
    """

    def __init__(self, *users: dict[str, Any]) -> None:
        self.users: Any = list(users)
        self.config: Any = {"server_port": 1080, "base_config": {"push_interval": 60, "pull_interval": 60}}
        self.books: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        self.addresses: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
        self.statuses: list[dict[str, Any]] = []
        self.requests: list[tuple[str, int]] = []
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.always: dict[str, Fault] = {}
        self.port = 0
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def count(self, request: str, status: int = 200) -> int:
        return self.requests.count((request, status))

    @asynccontextmanager
    async def open(self, context: ssl.SSLContext | None = None) -> AsyncIterator["FakePanel"]:
        """Serve until the block ends; again on the same port if it was open before."""
        (listener,) = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        self.scheme = "http" if context is None else "https"
        made: Any = listener if context is None else trio.SSLListener(listener, context, https_compatible=True)
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_listeners, self._serve, [made]))
            try:
                yield self
            finally:
                nursery.cancel_scope.cancel()

    async def _serve(self, stream: trio.abc.Stream) -> None:
        try:
            async with stream:
                await self._answer(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass

    async def _answer(self, stream: trio.abc.Stream) -> None:
        connection, body = h11.Connection(h11.SERVER), b""
        request: Any = None
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some()))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return
        parts = urlsplit(request.target.decode())
        route = parts.path.removeprefix(f"{PATH}/")
        asked = f"{request.method.decode()} {route}"
        fault = self.faults[route].popleft() if self.faults[route] else self.always.get(route)
        headers = {name.decode(): value.decode() for name, value in request.headers}
        if fault in ("hang", "counted", "reset"):
            if fault != "hang":
                self._respond(asked, parts.query, headers, body)
            self.requests.append((asked, 0))
            if fault == "reset":
                return
            await trio.sleep_forever()
        if isinstance(fault, int):
            more: dict[str, str] = {}
            status, said = fault, json.dumps({"message": f"no: {parts.query}"})
        else:
            status, more, said = self._respond(asked, parts.query, headers, body)
        if fault == "nonsense":
            said = said[:-2] + "oops"
        if fault == "huge":
            said = said[:-1] + " " * 2_000_000 + said[-1:]
        self.requests.append((asked, status))
        content = said.encode()
        length = len(content) + (10 if fault == "cut" else 0)
        fields = {"Content-Length": str(length), "Content-Type": "application/json", **more}
        if status == 304:
            del fields["Content-Length"]
            content = b""
        await stream.send_all(connection.send(h11.Response(status_code=status, headers=list(fields.items()))) or b"")
        await stream.send_all(content)

    def _respond(self, asked: str, query: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], str]:
        given = {name: values[0] for name, values in parse_qs(query).items()}
        if given.get("token") != TOKEN:
            return 500, {}, json.dumps({"message": f"token is error: {given.get('token')}"})
        if given.get("node_type") != "socks":
            return 500, {}, json.dumps({"message": "server is not exist"})
        node = given["node_id"]
        sent: Any = json.loads(body) if body else None
        match asked:
            case "GET config":
                return self._cached(self.config, headers)
            case "GET user":
                return self._cached({"users": self.users}, headers)
            case "GET alivelist":
                there: defaultdict[str, set[str]] = defaultdict(set)
                for addresses in self.addresses.values():
                    for uid, each in addresses.items():
                        there[uid].update(each)
                alive = {uid: len(each) for uid, each in there.items() if each}
                return 200, {}, json.dumps({"alive": alive or []})  # as PHP writes an empty map
            case "POST push":
                for uid, (up, down) in sent.items():
                    self.books[uid][0] += up
                    self.books[uid][1] += down
            case "POST alive":
                self.addresses[node].update(sent)
            case "POST status":
                self.statuses.append(sent)
            case _:
                return 404, {}, "{}"
        return 200, {}, json.dumps({"data": True})

    def _cached(self, value: object, headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
        text = json.dumps(value)
        etag = f'"{hashlib.sha1(text.encode()).hexdigest()}"'
        if headers.get("if-none-match") == etag:
            return 304, {"ETag": etag}, ""
        return 200, {"ETag": etag}, text


def user(uid: int, uuid: str, speed: Any = None, devices: Any = None) -> dict[str, Any]:
    """Describe a user as a panel does."""
    return {"id": uid, "uuid": uuid, "speed_limit": speed, "device_limit": devices}
