"""The endpoint of one run: its sessions end in order when the edge drains."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trioedge as te
from tests.support.applications import HEAD, Application, Message, Receive, Send, answer, ask, edge_of, response
from trioedge.testing import open_edge


async def slow(scope: Message, receive: Receive, send: Send) -> None:
    await trio.sleep(5)
    await answer(send)


async def test_a_drain_closes_what_waits_for_a_request_and_lets_requests_finish(autojump_clock: MockClock) -> None:
    async with open_edge(edge_of(Application(slow=slow), drain_seconds=60)) as world:
        new, resting, busy = [await world.connect() for _ in range(3)]
        await ask(resting)
        await busy.send(b"GET /slow HTTP/1.1\r\nHost: e\r\n\r\n")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        world.edge.drain()
        for client, seconds in ((resting, 0), (new, 1)):
            assert await client.receive_all() == b""
            assert await client.ended() == te.Completed()
            assert trio.current_time() == began + seconds
        assert await response(busy.stream) == (200, b"hello")
        assert await busy.receive_all() == b""  # and it has no further request
        assert await busy.ended() == te.Completed()
        assert trio.current_time() == began + 5


async def test_the_first_request_of_a_client_that_connected_just_before_a_drain_is_answered(
    autojump_clock: MockClock,
) -> None:
    async with open_edge(edge_of(Application(), drain_seconds=60)) as world:
        client = await world.connect()
        await wait_all_tasks_blocked()
        world.edge.drain()
        await trio.sleep(0.5)
        await client.send(HEAD)
        assert await response(client.stream) == (200, b"hello")
        assert await client.receive_all() == b""
        assert trio.current_time() == 0.5


async def test_a_request_that_takes_longer_than_the_drain_is_cut(autojump_clock: MockClock) -> None:
    app = Application(slow=slow)
    async with open_edge(edge_of(app, drain_seconds=2)) as world:
        client = await world.connect()
        await client.send(b"GET /slow HTTP/1.1\r\nHost: e\r\n\r\n")
        await wait_all_tasks_blocked()
        world.edge.drain()
        assert await client.ended() == te.Completed(te.Reason.DRAINED)
        assert trio.current_time() == 2
        await world.edge.phase.wait_value("stopped")
    assert app.life == ["startup", "slow begins", "slow is cancelled", "shutdown"]


async def test_the_end_of_the_edge_cuts_a_response_that_the_client_does_not_read(autojump_clock: MockClock) -> None:
    async def large(scope: Message, receive: Receive, send: Send) -> None:
        await answer(send, bytes(1_000_000))

    app = Application(large)
    async with open_edge(edge_of(app)) as world:
        client = await world.connect(lockstep=True)
        await client.send(HEAD)
        await wait_all_tasks_blocked()
    assert trio.current_time() == 0
    assert client.outcome == te.Completed(te.Reason.DRAINED)
    assert app.life[-1] == "shutdown"
