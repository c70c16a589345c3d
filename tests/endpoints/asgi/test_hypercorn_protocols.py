"""The parts of hypercorn that are used, pinned: an update of hypercorn that changes them fails here first."""

import inspect
from importlib.metadata import version
from typing import Any

import pytest
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset
from hypercorn import events
from hypercorn.config import Config
from hypercorn.protocol import h2, h11
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

import trioedge as te
from tests.support.applications import (
    Application,
    Message,
    Receive,
    Send,
    answer,
    body_of,
    digest,
    edge_of,
    hello,
    request,
)  # fmt: skip
from trioedge.endpoints.asgi.connection import MAX_UNDER_WAY
from trioedge.endpoints.asgi.hypercorn_protocols import HttpServer
from trioedge.testing import open_edge
from trioedge.testing.rehearsal import Client

PROTOCOL = ["app", "config", "context", "task_group", "connection_state", "ssl", "client", "server", "send"]


def parameters(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def test_the_release_is_one_that_these_pins_were_made_for() -> None:
    assert version("hypercorn").startswith("0.18.")


def test_a_protocol_takes_these_and_has_these() -> None:
    for protocol in (H11Protocol, H2Protocol):
        assert parameters(protocol.__init__) == PROTOCOL
        assert parameters(protocol.handle) == ["event"]
        for name in ("initiate", "handle"):
            assert inspect.iscoroutinefunction(getattr(protocol, name))
    assert parameters(H11Protocol.initiate) == []
    assert parameters(H2Protocol.initiate) == ["headers", "settings"]


def test_a_change_of_protocol_is_an_exception_with_the_rest_of_the_bytes() -> None:
    assert h11.H2ProtocolAssumedError(b"rest").data == b"rest"
    assert parameters(H11Protocol._check_protocol) == ["event"]
    assert "await self._check_protocol(event)" in inspect.getsource(H11Protocol)


def test_a_protocol_calls_these_of_its_tasks() -> None:
    assert parameters(TaskGroup.spawn_app) == ["app", "config", "scope", "send"]
    assert parameters(TaskGroup.spawn) == ["func", "args"]
    assert "self.task_group.spawn(self.send_task)" in inspect.getsource(H2Protocol)


def test_the_streams_of_http_2_are_an_attribute_that_is_looked_up_by_number() -> None:
    assert "self.streams: dict[int, " in inspect.getsource(H2Protocol.__init__)
    assert "self.streams[event.stream_id].handle(" in inspect.getsource(h2)


def test_events_and_settings_have_these_names() -> None:
    assert events.RawData(b"data").data == b"data"
    assert events.Closed() == events.Closed()
    for name in (
        "errorlog", "include_server_header", "h11_max_incomplete_size", "h2_max_header_list_size", "access_log_format",
    ):  # fmt: skip
        assert hasattr(Config, name), name
    assert parameters(WorkerContext.__init__) == ["max_requests"]


async def test_a_drain_is_seen_by_every_protocol() -> None:
    server = HttpServer(16_384)
    assert not server.draining
    await server.drain()
    assert server.draining


async def test_an_upgrade_to_http_2_is_ignored(autojump_clock: MockClock) -> None:
    app = Application()
    async with open_edge(edge_of(app)) as world:
        fields = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: H2C", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
        assert await request(world, "/", *fields) == (200, b"hello")
    assert [scope["http_version"] for scope in app.scopes] == ["1.1"]


class H2Client:
    """A client of HTTP/2 in memory."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.connection = H2Connection(H2Configuration(client_side=True))
        self.connection.initiate_connection()

    def ask(self, path: str, *, more: bool = False, **fields: str) -> int:
        """Begin a request; its stream."""
        stream = self.connection.get_next_available_stream_id()
        head = [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", "edge"), *fields.items()]
        self.connection.send_headers(stream, head, end_stream=not more)
        return stream

    async def flush(self) -> None:
        await self.client.send(self.connection.data_to_send())

    async def events(self, until: type[Event], count: int = 1) -> list[Event]:
        """Receive events until there are `count` of a kind."""
        found: list[Event] = []
        await self.flush()
        while sum(isinstance(each, until) for each in found) < count:
            data = await self.client.stream.receive_some()
            assert data, f"the edge closed after {found}"
            for event in self.connection.receive_data(data):
                found.append(event)
                if isinstance(event, DataReceived):
                    self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            await self.flush()
        return found


def statuses(found: list[Event]) -> list[int]:
    heads = [dict(each.headers or ()) for each in found if isinstance(each, ResponseReceived)]
    return [int(head[b":status"]) for head in heads]


async def test_http_2_answers_many_requests_at_once(autojump_clock: MockClock) -> None:
    async def slow(scope: Message, receive: Receive, send: Send) -> None:
        await trio.sleep(5)
        await answer(send, bytes(100_000))

    app = Application(slow)
    async with open_edge(edge_of(app)) as world:
        client = H2Client(await world.connect())
        for _ in range(10):
            client.ask("/")
        found = await client.events(StreamEnded, 10)
        assert statuses(found) == [200] * 10
        assert sum(len(each.data) for each in found if isinstance(each, DataReceived)) == 1_000_000
        assert trio.current_time() < 6
    assert {scope["http_version"] for scope in app.scopes} == {"2"}


async def deaf(scope: Message, receive: Receive, send: Send) -> None:
    await trio.sleep(60)


async def hears(scope: Message, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def give_up(client: H2Client, count: int) -> None:
    for _ in range(count):
        client.connection.reset_stream(client.ask("/"))
    await client.flush()
    await wait_all_tasks_blocked()


async def test_a_client_that_gives_up_requests_of_a_deaf_application_is_reset(autojump_clock: MockClock) -> None:
    app = Application(deaf)
    async with open_edge(edge_of(app)) as world:
        client = H2Client(await world.connect())
        await give_up(client, MAX_UNDER_WAY)
        assert len(app.scopes) == MAX_UNDER_WAY
        await give_up(client, 300)
        assert await client.client.ended() == te.Completed(
            te.Reason.PROTOCOL, "more than 200 requests under way: it gives them up too fast"
        )
        assert trio.current_time() < 1
        assert len(app.scopes) == MAX_UNDER_WAY


async def test_a_client_may_give_up_many_requests_of_an_application_that_hears_it(autojump_clock: MockClock) -> None:
    async with open_edge(edge_of(Application(hears, last=hello))) as world:
        client = H2Client(await world.connect())
        for _ in range(3):
            await give_up(client, 100)
        client.ask("/last")
        assert statuses(await client.events(StreamEnded)) == [200]


async def accepts(scope: Message, receive: Receive, send: Send) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


UPGRADE = (
    b"GET /deaf HTTP/1.1\r\nHost: e\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
FRAME = b"\x81\x82\0\0\0\0hi"
EARLY = te.Completed(te.Reason.PROTOCOL, "frames of a WebSocket came before it was accepted")


@pytest.mark.parametrize("chunks", [[UPGRADE + FRAME], [UPGRADE, FRAME]])
async def test_frames_before_a_websocket_is_accepted_end_the_session_and_its_application(
    autojump_clock: MockClock, chunks: list[bytes]
) -> None:
    app = Application(deaf)
    with capture_logs() as logs:
        async with open_edge(edge_of(app)) as world:
            client = await world.connect()
            for chunk in chunks:
                await client.send(chunk)
                await trio.sleep(1)
            assert await client.ended() == EARLY
            assert trio.current_time() <= 2
    calls = [line for line in app.life if line.startswith("deaf")]
    assert calls in ([], ["deaf begins", "deaf is cancelled"])
    assert not [each for each in logs if each["log_level"] in ("warning", "error")]


async def test_frames_before_a_websocket_of_http_2_is_accepted_end_the_session(autojump_clock: MockClock) -> None:
    app = Application(accepts, deaf=deaf)
    async with open_edge(edge_of(app)) as world:
        client = H2Client(await world.connect())
        for path in ("/", "/deaf"):
            stream = client.connection.get_next_available_stream_id()
            head = [(":method", "CONNECT"), (":protocol", "websocket"), (":path", path), (":scheme", "http"),
                    (":authority", "edge"), ("sec-websocket-version", "13")]  # fmt: skip
            client.connection.send_headers(stream, head)
            if path == "/":
                assert statuses(await client.events(ResponseReceived)) == [200]
            client.connection.send_data(stream, FRAME)
            if path == "/":
                (echo,) = (each for each in await client.events(DataReceived) if isinstance(each, DataReceived))
                assert echo.data == b"\x81\x02hi"
        await client.flush()
        assert await client.client.ended() == EARLY
    assert {scope["type"] for scope in app.scopes} == {"websocket"}


async def test_a_request_of_http_2_that_is_answered_early_may_go_on_and_the_next_one_is_served(
    autojump_clock: MockClock,
) -> None:
    async def early(scope: Message, receive: Receive, send: Send) -> None:
        await answer(send, b"too much", 413)

    async with open_edge(edge_of(Application(digest, early=early))) as world:
        client = H2Client(await world.connect())
        stream = client.ask("/early", more=True)
        assert statuses(await client.events(StreamEnded)) == [413]
        for _ in range(20):
            while client.connection.local_flow_control_window(stream) < 16_000:
                client.connection.receive_data(await client.client.stream.receive_some())
            client.connection.send_data(stream, bytes(16_000))
            await client.flush()
        client.connection.end_stream(stream)
        client.ask("/")
        assert statuses(await client.events(StreamEnded)) == [200]


async def test_a_fault_in_http_2_is_a_500_and_leaves_the_other_requests_alone(autojump_clock: MockClock) -> None:
    async def breaks(scope: Message, receive: Receive, send: Send) -> None:
        await body_of(receive)
        raise LookupError("as told")

    async with open_edge(edge_of(Application(digest, breaks=breaks))) as world:
        client = H2Client(await world.connect())
        client.ask("/breaks")
        client.ask("/")
        assert sorted(statuses(await client.events(StreamEnded, 2))) == [200, 500]


async def test_a_head_of_http_2_beyond_its_bound_is_refused(autojump_clock: MockClock) -> None:
    app = Application()
    async with open_edge(edge_of(app, max_head_bytes=1_024)) as world:
        client = H2Client(await world.connect())
        client.ask("/", large="x" * 1_100)
        assert statuses(await client.events(StreamEnded)) == [431]
    assert not app.scopes


async def test_a_client_that_resets_its_request_ends_that_one_alone(autojump_clock: MockClock) -> None:
    told: list[str] = []

    async def listens(scope: Message, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        told.append("disconnect")

    async with open_edge(edge_of(Application(digest, listens=listens))) as world:
        client = H2Client(await world.connect())
        stream = client.ask("/listens", more=True)
        await client.flush()
        client.connection.reset_stream(stream)
        client.ask("/")
        found = await client.events(StreamEnded)
        assert statuses(found) == [200]
        assert not [each for each in found if isinstance(each, StreamReset)]
        assert told == ["disconnect"]


async def test_a_request_that_hypercorn_cannot_read_costs_its_session_alone(autojump_clock: MockClock) -> None:
    with capture_logs() as lines:
        async with open_edge(edge_of(Application())) as world:
            client = H2Client(await world.connect())
            client.connection.config.validate_outbound_headers = False
            stream = client.connection.get_next_available_stream_id()
            head = [(b":method", b"GET"), (b":path", b"/\xff"), (b":scheme", b"http"), (b":authority", b"edge")]
            client.connection.send_headers(stream, head, end_stream=True)
            await client.flush()
            outcome = te.Completed(te.Reason.PROTOCOL, "the request cannot be read: UnicodeDecodeError")
            assert await client.client.ended() == outcome
            other = H2Client(await world.connect())
            other.ask("/")
            assert statuses(await other.events(StreamEnded)) == [200]
    assert [each for each in lines if each["log_level"] in ("warning", "error")] == []
