"""Applications behind a real edge: curl, HTTP/2, WebSocket, Starlette; counts, rates, cuts over real sockets."""

import hashlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, TextMessage
from wsproto.events import Request as Upgrade

import trioedge as te
from tests.support.applications import Application, Message, Receive, Send, answer, digest, edge_of, hello, response
from tests.support.programs import output
from tests.support.tls import localhost
from tests.support.wires import connect, receive_all, serving

BODY = os.urandom(3_000_000)


async def curl(*arguments: str, data: bytes = b"") -> str:
    """Run curl; its output."""
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "20", *arguments]
    done = await trio.run_process(command, stdin=data, capture_stdout=True)
    return done.stdout.decode()


async def downloads(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for start in range(0, len(BODY), 100_000):
        await send({"type": "http.response.body", "body": BODY[start : start + 100_000], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def endless(scope: Message, receive: Receive, send: Send) -> None:
    """Send 64 MiB at once, and then more."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": bytes(1 << 26), "more_body": True})


async def session_of(edge: te.Edge) -> te.Session:
    """Wait for the one live session."""
    while not edge.sessions:
        await trio.sleep(0.01)
    (session,) = edge.sessions
    return session


async def ended(session: te.Session) -> te.Outcome:
    with trio.fail_after(10):
        while session.outcome is None:
            await trio.sleep(0.01)
    return session.outcome


@pytest.mark.peer("curl")
@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2-prior-knowledge", "--http2"])
async def test_curl_gets_whole_bodies_both_ways(version: str) -> None:
    app = Application(digest, downloads=downloads)
    async with serving(edge_of(app)) as port:
        url = f"http://127.0.0.1:{port}"
        said = await curl(version, "--data-binary", "@-", "-H", "Content-Type: x", f"{url}/", data=BODY)
        assert said == f"{len(BODY)} {hashlib.sha256(BODY).hexdigest()}"
        command = ["curl", "--silent", "--fail", version, f"{url}/downloads"]
        done = await trio.run_process(command, capture_stdout=True)
        assert done.stdout == BODY
    assert app.scopes[0]["http_version"] == {"--http1.0": "1.0", "--http2-prior-knowledge": "2"}.get(version, "1.1")
    assert app.scopes[0]["client"][0] == "127.0.0.1"


@pytest.mark.peer("curl")
@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
async def test_an_early_answer_reaches_a_client_that_uploads(version: str) -> None:
    async def refuses(scope: Message, receive: Receive, send: Send) -> None:
        await answer(send, b"too much", 413)

    async with serving(edge_of(Application(refuses))) as port:
        command = ["curl", "--silent", version, "--max-time", "10", "--data-binary", "@-", "-w", "%{http_code}"]
        done = await trio.run_process([*command, f"http://127.0.0.1:{port}/"], stdin=BODY * 5, capture_stdout=True)
        assert done.stdout == b"too much413"


@pytest.mark.peer("curl")
async def test_the_bytes_that_a_client_saw_are_the_bytes_that_are_counted() -> None:
    edge = edge_of(Application(digest), te.Identify("shop"))
    async with serving(edge) as port:
        async with await connect(port) as client:
            sent = b"POST / HTTP/1.1\r\nHost: e\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
            received = b""
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send_all, sent)
                session = await session_of(edge)
                received = await receive_all(client)
            assert await ended(session) == te.Completed()
            shop = edge.services["shop"]
            assert (session.bytes_up, session.bytes_down) == (len(sent), len(received))
            assert (shop.up.bytes, shop.down.bytes) == (len(sent), len(received))
            assert edge.statistics().bytes_down == len(received)


async def test_the_kernel_keeps_the_rate_of_a_download_and_the_edge_that_of_an_upload() -> None:
    upload = b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    async with serving(edge_of(Application(digest, downloads=downloads), te.Pacing("4 MB/s", "4 MB/s"))) as port:
        began = trio.current_time()
        async with await connect(port) as client:
            await client.send_all(b"GET /downloads HTTP/1.0\r\n\r\n")
            assert (await receive_all(client)).endswith(BODY)
        assert 0.5 <= trio.current_time() - began <= 1.5
        began = trio.current_time()
        async with await connect(port) as client:
            await client.send_all(upload)
            assert (await response(client))[0] == 200
        assert 0.5 <= trio.current_time() - began <= 1.5


async def test_an_eviction_amid_64_mebibytes_that_are_not_read_is_at_once() -> None:
    edge = edge_of(Application(endless))
    async with serving(edge) as port:
        async with await connect(port) as client:
            await client.send_all(b"GET / HTTP/1.1\r\nHost: e\r\n\r\n")
            session = await session_of(edge)
            while session.bytes_down < 100_000:
                await trio.sleep(0.01)
            began = trio.current_time()
            assert edge.evict(source="127.0.0.1") == 1
            assert await ended(session) == te.Completed(te.Reason.EVICTED)
            assert trio.current_time() - began < 0.5
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(client)


async def test_a_client_that_reads_nothing_is_reset_within_its_limit() -> None:
    edge = edge_of(Application(endless), write_seconds=0.4)
    async with serving(edge) as port:
        async with await connect(port) as client:
            await client.send_all(b"GET / HTTP/1.1\r\nHost: e\r\n\r\n")
            session = await session_of(edge)
            began = trio.current_time()
            assert await ended(session) == te.Completed(te.Reason.IDLE, "the client took no byte for 0.4 s")
            assert 0.3 <= trio.current_time() - began <= 2


async def test_a_client_that_does_not_finish_its_head_is_reset_within_its_limit() -> None:
    edge = edge_of(hello, head_seconds=0.4)
    async with serving(edge) as port:
        async with await connect(port) as client:
            began = trio.current_time()
            with suppress(trio.BrokenResourceError):
                while True:
                    await client.send_all(b"G")
                    await trio.sleep(0.05)
            assert 0.3 <= trio.current_time() - began <= 2


async def test_a_reset_client_ends_a_stream_that_does_not_look() -> None:
    async def events(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"tick", "more_body": True})
            await trio.sleep(0.02)

    edge = edge_of(Application(events))
    async with serving(edge) as port:
        async with await connect(port) as client:
            await client.send_all(b"GET / HTTP/1.1\r\nHost: e\r\n\r\n")
            session = await session_of(edge)
            await client.receive_some()
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await client.aclose()
            assert (await ended(session)).reason is te.Reason.RESET


class Socket:
    """A WebSocket client."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []

    async def open(self, path: str) -> None:
        await self.send(Upgrade(host="edge.example", target=path))
        assert isinstance(await self.receive(), AcceptConnection)

    async def send(self, event: Any) -> None:
        await self._stream.send_all(self._connection.send(event))

    async def receive(self) -> Event:
        while not self._events:
            self._connection.receive_data(await self._stream.receive_some() or None)
            self._events += self._connection.events()
        return self._events.pop(0)


async def talk(scope: Message, receive: Receive, send: Send) -> None:
    assert scope["type"] == "websocket"
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message["text"] == "fail":
            raise LookupError("as told")
        await send({"type": "websocket.send", "text": f"{scope['scheme']}: {message['text']}"})


@asynccontextmanager
async def websocket(edge: te.Edge) -> AsyncIterator[tuple[Socket, te.Session]]:
    async with serving(edge) as port, await connect(port) as stream:
        client = Socket(stream)
        with trio.fail_after(10):
            await client.open("/")
            yield client, await session_of(edge)


async def test_a_websocket_talks_and_closes() -> None:
    app = Application(talk)
    async with websocket(edge_of(app)) as (client, session):
        for word in ("one", "two"):
            await client.send(TextMessage(data=word))
            said = await client.receive()
            assert isinstance(said, TextMessage)
            assert said.data == f"ws: {word}"
        await client.send(CloseConnection(code=1000))
        assert isinstance(await client.receive(), CloseConnection)
        assert await ended(session) == te.Completed()
    assert app.life == ["startup", " begins", " ends", "shutdown"]


async def test_a_fault_closes_a_websocket_with_its_code_and_is_the_outcome() -> None:
    async with websocket(edge_of(Application(talk))) as (client, session):
        await client.send(TextMessage(data="fail"))
        said = await client.receive()
        assert isinstance(said, CloseConnection)
        assert said.code == 1011
        assert await ended(session) == te.Completed(te.Reason.FAULT, "LookupError('as told')")


async def test_a_websocket_without_a_byte_has_the_idle_limit_of_its_session() -> None:
    async with websocket(edge_of(Application(talk), te.IdleTimeout(0.3))) as (_, session):
        assert await ended(session) == te.Completed(te.Reason.IDLE, "no byte for 0.3 s")


async def test_an_eviction_ends_a_websocket() -> None:
    edge = edge_of(Application(talk))
    async with websocket(edge) as (client, session):
        edge.evict(source="127.0.0.1")
        with pytest.raises(trio.BrokenResourceError):
            await client.receive()
        assert await ended(session) == te.Completed(te.Reason.EVICTED)


class Shop:
    """A Starlette application with everything that one usually has."""

    def __init__(self) -> None:
        self.life: list[str] = []
        routes = [Route("/", self.root), Route("/sum", self.sum, methods=["POST"]), Route("/events", self.events),
                  Route("/thread", self.thread), WebSocketRoute("/", self.socket)]  # fmt: skip
        self.app = Starlette(routes=routes, lifespan=self.lifespan)

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[dict[str, str]]:
        self.life.append("startup")
        yield {"made": "at the start"}
        self.life.append("shutdown")

    async def root(self, request: Request) -> JSONResponse:
        assert request.client is not None
        return JSONResponse({"client": request.client.host, "state": request.state.made, "url": str(request.url)})

    async def sum(self, request: Request) -> JSONResponse:
        total = 0
        async for piece in request.stream():
            total += len(piece)
        return JSONResponse(total)

    async def events(self, request: Request) -> StreamingResponse:
        async def events() -> AsyncIterator[str]:
            for number in range(1_000_000):
                yield f"data: {number}\n\n"
                await trio.sleep(0.01)

        return StreamingResponse(events(), media_type="text/event-stream")

    def thread(self, request: Request) -> JSONResponse:
        return JSONResponse("from a thread")

    async def socket(self, websocket: WebSocket) -> None:
        await websocket.accept()
        async for data in websocket.iter_bytes():
            await websocket.send_bytes(data[::-1])


@pytest.mark.peer("curl")
@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
async def test_a_starlette_application_runs_unchanged(version: str) -> None:
    shop = Shop()
    edge = edge_of(shop.app, te.SessionGate(rate=1000), te.IdleTimeout(60))
    async with serving(edge) as port:
        url, ask = f"http://127.0.0.1:{port}", partial(curl, version)
        said = await ask(f"{url}/")
        assert said == f'{{"client":"127.0.0.1","state":"at the start","url":"{url}/"}}'
        assert await ask("--data-binary", "@-", f"{url}/sum", data=BODY) == str(len(BODY))
        assert await ask(f"{url}/thread") == '"from a thread"'
        command = ["curl", "--silent", version, "--max-time", "0.5", f"{url}/events"]
        done = await trio.run_process(command, capture_stdout=True, check=False)
        assert done.stdout.startswith(b"data: 0\n\ndata: 1\n\n")
        with trio.fail_after(5):
            while edge.sessions:  # the stream ends with its client
                await trio.sleep(0.01)
    assert shop.life == ["startup", "shutdown"]
    assert te.Reason.FAULT not in edge.statistics().ended


async def test_a_websocket_of_starlette_talks() -> None:
    async with websocket(edge_of(Shop().app)) as (client, _):
        await client.send(BytesMessage(data=b"abc"))
        said = await client.receive()
        assert isinstance(said, BytesMessage)
        assert said.data == b"cba"


async def test_a_start_of_starlette_that_fails_is_one_clear_line() -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    with pytest.RaisesGroup(te.ConfigurationError, flatten_subgroups=True) as refusal:
        await edge_of(Starlette(lifespan=lifespan)).serve()
    fault: BaseException = refusal.value
    while isinstance(fault, BaseExceptionGroup):
        (fault,) = fault.exceptions
    assert str(fault) == "Asgi: the application's startup failed: OSError: no database"


async def test_behind_a_handshake_the_rest_of_its_bytes_is_the_first_request() -> None:
    @te.handshake(provides=("source",))
    def names_itself(session: te.Session) -> te.Steps:
        line = yield te.ReadUntil(b"\n")
        session.set_source(line.decode().strip(), 4321)
        return te.CONTINUE

    app = Application(digest)
    async with serving(edge_of(app, names_itself)) as port, await connect(port) as client:
        await client.send_all(b"198.51.100.7\nGET / HTTP/1.1\r\nHost: e\r\n\r\n")
        assert (await response(client))[0] == 200
    assert app.scopes[0]["client"] == ("198.51.100.7", 4321)


@pytest.mark.peer("curl", "openssl")
@pytest.mark.parametrize(("version", "expected"), [("--http1.1", "1.1"), ("--http2", "2")])
async def test_behind_tls_the_protocol_is_the_one_that_was_agreed_on(
    tmp_path: Path, version: str, expected: str
) -> None:
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=localhost", "-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem"),
    ]  # fmt: skip
    await trio.run_process(command, capture_stderr=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    context.set_alpn_protocols(["h2", "http/1.1"])

    @te.middleware
    async def tls(session: te.Session, call_next: te.Handler) -> te.Outcome:
        session.stream = trio.SSLStream(session.stream, context, server_side=True)
        await session.stream.do_handshake()
        return await call_next(session)

    app = Application(digest)
    async with serving(edge_of(app, tls)) as port:
        said = await curl("--insecure", version, "--data-binary", "@-", f"https://localhost:{port}/", data=BODY)
    assert said == f"{len(BODY)} {hashlib.sha256(BODY).hexdigest()}"
    assert [(each["scheme"], each["http_version"]) for each in app.scopes] == [("https", expected)]


@pytest.mark.peer("curl", "openssl")
@pytest.mark.parametrize(("version", "said"), [("--http1.1", "1.1"), ("--http2", "2")])
async def test_behind_a_tls_handshake_the_protocol_is_the_one_that_was_agreed_on(version: str, said: str) -> None:
    chain, key = localhost()

    async def names(scope: Message, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"{scope['scheme']} {scope['http_version']}".encode()})

    edge = te.Edge("tcp://127.0.0.1:0", [te.Tls([(chain, key)], alpn=["h2", "http/1.1"])], te.Asgi(names))
    async with serving(edge) as port:
        assert await curl(version, "--cacert", str(chain), f"https://localhost:{port}/") == f"https {said}"


@pytest.mark.peer("h2load")
async def test_h2load_has_ten_requests_at_a_time_on_each_connection() -> None:
    edge = edge_of(Application(hello), te.Tls([localhost()], alpn=["h2"]))
    async with serving(edge) as port:
        said = await output("h2load", "-n", "200", "-c", "4", "-m", "10", f"https://127.0.0.1:{port}/")
    assert "200 succeeded, 0 failed, 0 errored, 0 timeout" in said, said
