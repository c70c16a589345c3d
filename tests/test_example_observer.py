"""The observer of the examples counts what it says, in a server of the test."""

import trio
import trio.testing

import trioedge as te
from examples.custom_observer import StatsD
from trioedge.testing import check_observer, open_edge


async def test_the_statsd_observer_is_a_good_one(autojump_clock: trio.testing.MockClock) -> None:
    await check_observer(StatsD())


async def test_sessions_are_counted_in_the_statsd_server() -> None:
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as statsd:
        await statsd.bind(("127.0.0.1", 0))
        observer = StatsD(port=statsd.getsockname()[1])
        gate, upstream = te.SessionGate(rate=1, burst=1), te.Forward("tcp://192.0.2.9:80")
        edge = te.Edge("tcp://127.0.0.1:1", [gate], upstream, observers=[observer])
        async with open_edge(edge) as world:
            client = await world.connect()
            await client.send(b"PING\r\n")
            assert await client.receive(6) == b"PING\r\n"
            await client.finish()
            await client.ended()
            assert (await world.connect()).outcome == te.Reject(
                te.Reason.RATE, "more than 1 session a second per service"
            )
            assert (await statsd.recv(2_000)).decode().splitlines() == [
                "edge.accepted:1|c", "edge.ended.finished:1|c", "edge.bytes_up:6|c", "edge.bytes_down:6|c",
                "edge.refused.rate:1|c",
            ]  # fmt: skip
