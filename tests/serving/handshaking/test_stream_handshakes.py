"""Handshakes in the task of a session: over streams of middlewares and in memory, cancelled at every step."""

from collections.abc import Iterator
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

import trioedge as te
from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.middlewares import wrap
from tests.support.talks import finish, hear, hear_exactly, open_talks, pass_on
from tests.support.wires import edge_to, receive_all, server, serving
from tests.support.wrapped import WithoutHalfClose
from trioedge.testing import ScriptedUpstream, echo, open_edge


@pytest.fixture(autouse=True)
def _nothing_raises() -> Iterator[None]:
    with capture_logs() as logs:
        yield
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


@te.middleware
async def whole_close(session: te.Session, call_next: te.Handler) -> te.Outcome:
    session.stream = WithoutHalfClose(session.stream)
    return await call_next(session)


async def answer(number: int) -> int:
    await trio.lowlevel.checkpoint()
    return number


@te.handshake(seconds=5, proceeds=True)
def asks(session: te.Session) -> te.Steps:
    line = yield te.ReadUntil(b"\n")
    yield te.Send(line)
    yield te.Background(answer, 4)
    outcome = yield te.PROCEED
    yield te.Send(b"yes " if outcome is None else b"no\n")
    return te.CONTINUE


@te.handshake(seconds=5)
def greets(session: te.Session) -> te.Steps:
    yield te.Send(b"hello ")
    if (yield te.Read(1)) == b"n":
        return te.Reject(te.Reason.CREDENTIALS)
    return te.CONTINUE


@pytest.mark.parametrize("around", [wrap, whole_close])
async def test_a_stream_of_a_middleware_carries_a_handshake(around: object) -> None:
    async with open_talks("behind a middleware", around, greets, asks) as talks:
        client = await talks.connect()
        await hear_exactly(client, b"hello ")
        await client.send_all(b"xline\nquestion")
        await finish(client)
        assert (await hear(client))[0] == b"line\nyes <question>"


@pytest.mark.parametrize("around", [wrap, whole_close])
async def test_a_refusal_over_a_stream_of_a_middleware_is_told_and_closed(around: object) -> None:
    async with open_talks("behind a middleware", around, asks, refusing=True) as talks:
        client = await talks.connect()
        await client.send_all(b"line\n")
        await finish(client)
        assert await hear(client) == (b"line\nno\n", "end")
        assert (await talks.ended()).reason is te.Reason.UPSTREAM_REFUSED


async def test_the_time_of_a_handshake_is_the_fake_clock_s(autojump_clock: MockClock) -> None:
    edge = te.Edge("tcp://127.0.0.1:6380", [asks], te.Forward("tcp://192.0.2.9:1"))
    async with open_edge(edge) as world:
        client = await world.connect()
        assert await client.ended() == te.Reject(te.Reason.HANDSHAKE, "not finished within 5 s")
        assert trio.current_time() == pytest.approx(5, abs=0.1)


async def test_the_time_stands_still_behind_proceed(autojump_clock: MockClock) -> None:
    edge = te.Edge("tcp://127.0.0.1:6380", [asks], te.Forward("tcp://192.0.2.9:1", connect_seconds=60))
    async with open_edge(edge, ScriptedUpstream(connect_seconds=50)) as world:
        client = await world.connect()
        await client.send(b"line\n")
        assert await client.receive(9) == b"line\nyes "
        assert trio.current_time() == pytest.approx(50, abs=0.1)


async def test_two_tasks_of_an_endpoint_may_use_the_stream_first(autojump_clock: MockClock) -> None:
    async def both_ways(session: te.Session) -> te.Outcome:
        async def send() -> None:
            await session.stream.send_all(b"welcome")
            await session.stream.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(session.stream.receive_some, 100)
            nursery.start_soon(send_nothing, session.stream)
        return te.Completed()

    async def send_nothing(stream: Any) -> None:
        await trio.sleep(0.01)

    edge = te.Edge("tcp://127.0.0.1:6380", [asks], both_ways)
    for lockstep in (True, False) * 5:
        async with open_edge(edge) as world:
            client = await world.connect(lockstep=lockstep)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send, b"line\n.")
                assert await client.receive(16) == b"line\nyes welcome"
            await client.close()


@pytest.mark.parametrize("stages", [[greets, asks], [pass_on, greets, asks]])
async def test_a_session_in_memory_that_is_cancelled_leaves_nothing(
    stages: list[object], autojump_clock: MockClock
) -> None:
    edge = te.Edge("tcp://127.0.0.1:6380", stages, te.Forward("tcp://192.0.2.9:1"))

    async def live() -> None:
        async with open_edge(edge, echo) as world:
            client = await world.connect()
            await client.send(b"xline\nping")
            assert await client.receive(19) == b"hello line\nyes ping"
            await client.finish()
            assert await client.receive_all() == b""
            await client.ended()

    await live()
    before = left_open()

    def check() -> None:
        assert left_open() == before
        said = edge.statistics()
        assert said.accepted == sum(said.ended.values()) + sum(said.refused.values())

    assert await cancel_at_every_step(live, check) > 40


@pytest.mark.parametrize("stages", [(greets, asks), (greets, asks, pass_on), (pass_on, greets, asks)])
async def test_a_session_over_sockets_that_is_cancelled_leaves_nothing(stages: tuple[object, ...]) -> None:
    """An edge and an upstream each time, some seventy times."""
    edges: list[te.Edge] = []

    async def live() -> None:
        async with server() as upstream, trio.open_nursery() as nursery:
            edges.append(edge_to(upstream, *stages))
            await nursery.start(edges[-1].serve)
            port = int(edges[-1].addresses[0].rpartition(":")[2])
            async with await trio.open_tcp_stream("127.0.0.1", port) as client:
                await client.send_all(b"xline\nping")
                await client.send_eof()
                assert await receive_all(client) == b"hello line\nyes ping"
            nursery.cancel_scope.cancel()

    await live()
    before = left_open()

    def check() -> None:
        assert left_open() == before
        said = edges[-1].statistics()
        assert said.accepted == sum(said.ended.values()) + sum(said.refused.values())

    assert await cancel_at_every_step(live, check) > 40


@pytest.mark.parametrize("stages", [[greets], [pass_on, greets]])
async def test_a_refused_session_that_is_cancelled_while_it_parts_leaves_nothing(stages: list[object]) -> None:
    edges: list[te.Edge] = []

    async def live() -> None:
        edges.append(te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://127.0.0.1:9")))
        async with serving(edges[-1]) as port, await trio.open_tcp_stream("127.0.0.1", port) as client:
            await client.send_all(b"n")
            assert await receive_all(client) == b"hello "
            while edges[-1].sessions:
                await client.aclose()
                await trio.lowlevel.checkpoint()

    await live()
    before = left_open()

    def check() -> None:
        assert left_open() == before
        assert len(edges[-1].sessions) == 0

    assert await cancel_at_every_step(live, check) > 20
