"""The demo's upstream answers just enough of HTTP/1.1."""

from functools import partial

import pytest
import trio

from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.wires import connect, receive_all
from trioedge.cli.demo.upstream import GREETING, HEAD_BYTES, DemoServer


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def conversation(*chunks: bytes) -> tuple[bytes, int]:
    """Send chunks and then an end; give the bytes that came back, and the number of requests answered."""
    server = DemoServer()
    client, upstream = trio.testing.memory_stream_pair()
    received = b""

    async def converse() -> None:
        async with upstream:
            await server.converse(upstream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(converse)
        for chunk in chunks:
            await client.send_all(chunk)
            await trio.testing.wait_all_tasks_blocked()  # so that no two chunks arrive as one
        await client.send_eof()
        received = await receive_all(client)
    return received, server.answered


@pytest.mark.parametrize(
    ("line", "body"),
    [
        (b"GET / HTTP/1.1", GREETING),
        (b"GET /0 HTTP/1.1", b""),
        (b"GET /5 HTTP/1.1", b"....."),
        (b"GET /12345678 HTTP/1.1", b"." * 123_456),
        (b"GET /five HTTP/1.1", GREETING),
        (b"GET /-5 HTTP/1.1", GREETING),
        (b"GET /\xb2 HTTP/1.1", GREETING),
        (b"GET", GREETING),
        (b"", GREETING),
    ],
)
async def test_a_number_is_answered_with_so_many_bytes_and_other_paths_with_the_greeting(
    line: bytes, body: bytes
) -> None:
    assert await conversation(line + b"\r\nHost: demo\r\n\r\n") == (answer(body), 1)


@pytest.mark.parametrize(
    ("chunks", "answers"),
    [
        ([], 0),
        ([b"GET /3 HTTP/1.1\r\n\r"], 0),
        ([b"GET /3 HT", b"TP/1.1\r\n\r", b"\n"], 1),
        ([b"GET /3 HTTP/1.1\r\n\r\n" * 3], 3),
        ([b"GET /3 HTTP/1.1\r\n\r\nGET /3", b" HTTP/1.1\r\n\r\n"], 2),
    ],
    ids=["no byte", "no end", "in pieces", "three at once", "one and a half"],
)
async def test_each_whole_head_is_answered_once_however_it_is_cut(chunks: list[bytes], answers: int) -> None:
    assert await conversation(*chunks) == (answer(b"...") * answers, answers)


async def test_a_head_of_the_longest_length_is_read_and_a_longer_one_ends_the_connection() -> None:
    server = DemoServer()
    client, upstream = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.converse, upstream)
        await client.send_all(b"x" * HEAD_BYTES)
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        await client.send_all(b"x")
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 0
    assert server.answered == 0


async def test_a_client_that_hangs_up_before_its_answer_is_no_fault() -> None:
    server = DemoServer()
    client, upstream = trio.testing.memory_stream_pair()
    await client.send_all(b"GET / HTTP/1.1\r\n\r\n")
    await client.aclose()
    await server.converse(upstream)
    assert server.answered == 0


async def test_it_listens_on_loopback_and_serves_clients_side_by_side() -> None:
    server = DemoServer()
    async with trio.open_nursery() as nursery:
        port = await nursery.start(server.run)
        async with await connect(port), await connect(port) as second:  # the first says nothing
            await second.send_all(b"GET /3 HTTP/1.1\r\n\r\n")
            await second.send_eof()
            assert await receive_all(second) == answer(b"...")
        nursery.cancel_scope.cancel()
    assert server.answered == 1


async def test_a_cancel_at_any_step_of_a_conversation_leaves_no_task() -> None:
    before = left_open()

    def check() -> None:
        assert left_open() == before

    act = partial(conversation, b"GET /3 HTTP/1.1\r\n\r\n", b"GET /3 HTTP/1.1\r\n\r\n")
    assert await cancel_at_every_step(act, check) > 5
