"""An application on a socket of the edge's own: its bounds, faults and cancels."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import httpx
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import memory_stream_pair

from tests.support.cancels import left_open
from trioedge.endpoints.asgi import own_server
from trioedge.endpoints.asgi.hypercorn_protocols import HttpServer
from trioedge.endpoints.asgi.own_server import IDLE_SECONDS, OwnConnection, serve_application
from trioedge.telemetry.log import EdgeLog

GET = b"GET / HTTP/1.1\r\nhost: edge\r\n\r\n"


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def broken(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("a bug")


async def endless(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": bytes(65_536), "more_body": True})


async def waiting(scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def served(application: Any) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_application, application, sock, EdgeLog())
            yield sock.getsockname()[1]
            nursery.cancel_scope.cancel()


def in_memory(application: Any) -> tuple[trio.StapledStream[Any, Any], OwnConnection]:
    client, stream = memory_stream_pair()
    return client, OwnConnection(application, HttpServer(16_384), stream, EdgeLog())


async def test_requests_on_one_connection_are_answered_one_after_the_other() -> None:
    async with served(hello) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert [(await client.get("/")).text for _ in range(3)] == ["hello"] * 3


async def test_a_client_that_has_said_all_is_answered() -> None:
    async with served(hello) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(GET)
        await stream.send_eof()
        answer = b""
        while data := await stream.receive_some():
            answer += data
        assert answer.endswith(b"hello")
        await stream.aclose()


async def test_a_fault_of_the_application_is_500_and_logged_and_the_next_request_is_answered() -> None:
    with capture_logs() as logs:
        async with served(broken) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert [(await client.get("/")).status_code for _ in range(2)] == [500, 500]
    assert logs[0]["event"] == "admin request failed"


@pytest.mark.parametrize("data", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5_000, b"\0" * 100_000])
async def test_a_client_that_speaks_no_http_is_hung_up_on(data: bytes) -> None:
    async with served(hello) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        with trio.fail_after(5):
            try:
                await stream.send_all(data)
                while await stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass
        await stream.aclose()
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{port}/")).text == "hello"


@pytest.mark.parametrize("sent", [b"", b"GET / HT", GET])
async def test_a_connection_without_a_request_is_closed_after_its_idle_time(
    autojump_clock: object, sent: bytes
) -> None:
    client, connection = in_memory(hello)
    await client.send_all(sent)
    with trio.fail_after(IDLE_SECONDS + 0.1):
        await connection.run()
    assert trio.current_time() >= IDLE_SECONDS


async def test_a_client_that_sends_a_byte_now_and_then_has_no_more_time(autojump_clock: object) -> None:
    client, connection = in_memory(hello)
    async with trio.open_nursery() as nursery:

        async def drip() -> None:
            for byte in GET:
                await client.send_all(bytes([byte]))
                await trio.sleep(1)

        nursery.start_soon(drip)
        with trio.fail_after(IDLE_SECONDS + 0.1):
            await connection.run()
        nursery.cancel_scope.cancel()


async def test_a_client_that_reads_nothing_is_given_up_and_its_application_cancelled() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_server, "WRITE_SECONDS", 0.2)
        async with served(endless) as port:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(GET)
            await trio.sleep(0.5)
            with trio.fail_after(5), suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass
            await stream.aclose()


async def test_an_application_is_told_that_its_client_has_left(autojump_clock: object) -> None:
    client, connection = in_memory(waiting)
    await client.send_all(GET)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        await trio.sleep(100)
        await client.aclose()


async def test_one_client_more_than_there_is_room_for_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_server, "MAX_CONNECTIONS", 2)
    async with served(hello) as port:
        first, second = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(2)]
        third = await trio.open_tcp_stream("127.0.0.1", port)
        await third.send_all(GET)
        with trio.move_on_after(0.1) as waited:
            await third.receive_some()
        assert waited.cancelled_caught
        await first.aclose()
        with trio.fail_after(5):
            assert await third.receive_some()
        for each in (second, third):
            await each.aclose()


async def test_after_a_cancel_every_connection_is_closed() -> None:
    before = left_open()
    async with served(partial(endless)) as port:
        streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(3)]
        for each in streams[:2]:
            await each.send_all(GET)
        await trio.sleep(0.05)
    for each in streams:
        await each.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert left_open() == before
