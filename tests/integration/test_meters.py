"""The meters of an edge count what its parts do, over real sockets and in a rehearsal."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import trioedge as te
from tests.support.attempts import Noted, open_connector
from tests.support.edges import exchange, make_edge, services
from tests.support.names import FakeNames
from tests.support.ports import closed_port, deaf_port
from tests.support.resolvers import REDIS, running
from tests.support.wires import server
from trioedge.addresses.address import Address, parse_address
from trioedge.telemetry.log import EdgeLog
from trioedge.telemetry.meters import Meters
from trioedge.testing import ScriptedUpstream, open_edge
from trioedge.upstreams.connector import Target
from trioedge.upstreams.pool.pool import IdlePool
from trioedge.upstreams.resolver import QUERY_SECONDS

LISTEN = "tcp://127.0.0.1:0"


@asynccontextmanager
async def serving(edge: te.Edge) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: edge.serve(task_status=task_status))
        yield int(edge.addresses[0].rpartition(":")[2])
        nursery.cancel_scope.cancel()


def meters(edge: te.Edge) -> Meters:
    run = edge._run
    assert run is not None
    return run._log.meters


async def visit(port: int) -> bytes:
    """Give the answer to a client; nothing for one that is reset, which may be before it knows that it is connected."""
    try:
        async with await trio.open_tcp_stream("127.0.0.1", port) as client:
            await client.send_all(b"ping")
            return bytes(await client.receive_some(4))
    except (OSError, trio.BrokenResourceError):
        return b""


async def test_a_connect_to_an_address_of_this_machine_is_taken_at_once_and_has_no_time() -> None:
    async with server() as upstream:
        edge = te.Edge(LISTEN, [], te.Forward(f"tcp://127.0.0.1:{upstream}"))
        async with serving(edge) as port:
            assert await visit(port) == b"ping"
            connects = meters(edge).connects
            assert (connects.at_once, connects.connects, connects.seconds) == (1, 1, None)


async def test_connects_of_this_machine_by_name_have_times_and_those_that_fail_have_errors() -> None:
    async with server() as upstream:
        good = te.Edge(LISTEN, [], te.Forward(f"tcp://localhost:{upstream}"))
        async with serving(good) as port:
            assert await visit(port) == b"ping"
            connects = meters(good).connects
            assert connects.seconds is not None
            assert (connects.connects, connects.seconds.count, connects.failures, connects.under_way) == (1, 1, 0, 0)
            assert 0 <= connects.seconds.max < 5
    bad = te.Edge(LISTEN, [], te.Forward(f"tcp://localhost:{closed_port()}", retries=0))
    async with serving(bad) as port:
        assert await visit(port) == b""
        connects = meters(bad).connects
        with trio.fail_after(5):
            while not connects.failures:
                await trio.sleep(0.005)
        assert (connects.connects, connects.failures, connects.under_way) == (0, 1, 0)
        assert "refused" in connects.last_error


async def test_a_connect_that_is_cancelled_is_under_way_no_more() -> None:
    log = EdgeLog()
    async with deaf_port() as deaf, open_connector() as (connector, _):
        target = Target(parse_address(f"tcp://127.0.0.1:{deaf}"), 5.0, meter=log.meters.connects)
        attempt = connector.start(target, Noted())
        assert log.meters.connects.under_way == 1
        attempt.cancel()
        attempt.cancel()
        assert (log.meters.connects.under_way, log.meters.connects.failures) == (0, 0)


async def test_idle_connections_that_sessions_take_and_miss_are_counted() -> None:
    async with server() as upstream:
        edge = te.Edge(LISTEN, [], te.Forward(f"tcp://localhost:{upstream}", preconnect=1))
        async with serving(edge) as port:
            found = meters(edge)
            with trio.fail_after(5):
                while sum(map(len, found.pools)) < 1:
                    await trio.sleep(0.005)
            assert await visit(port) == b"ping"
            assert (found.idle_taken, found.idle_missed) == (1, 0)
            (pool,) = found.pools
            assert isinstance(pool, IdlePool)
            pool.close()
            assert await visit(port) == b"ping"
            assert (found.idle_taken, found.idle_missed) == (1, 1)


async def test_questions_to_name_servers_have_times_and_failures(autojump_clock: MockClock) -> None:
    async with running(FakeNames(redis=["192.0.2.1"], silent=None)) as run:
        await run.answer(REDIS)
        answers = run.ask(Address("tcp", "silent.test", 1))
        await trio.sleep(QUERY_SECONDS + 1)
        assert answers
        meter = run.resolver._meter
        assert (meter.asked, meter.failed, meter.seconds.count) == (2, 1, 1)


async def check(service: str, device: str) -> te.DeviceVerdict:
    await trio.sleep(0.5)
    if device == "192.0.2.2":
        raise OSError("down")
    return te.DeviceVerdict(accept=True, seconds=60.0)


async def test_device_checks_and_sessions_in_grace_are_counted(autojump_clock: MockClock) -> None:
    control = te.MemoryControl({"a": te.Policy(), "b": te.Policy()}, check=check)
    edge = make_edge(control, te.DeviceLimit())
    async with open_edge(edge) as rehearsal:
        for source in ("192.0.2.1", "192.0.2.2"):
            await exchange(await rehearsal.connect(source))
        await trio.sleep(0.6)
        await exchange(await rehearsal.connect("192.0.2.1"))
        found = meters(edge)
        assert (found.devices.asked, found.devices.failed, found.devices.seconds.count) == (2, 1, 1)
        assert found.devices.seconds.max == pytest.approx(0.5)
        assert found.graces == 2, "the device is known at its second session"
        assert [each.size() for each in found.tables if each.name == "devices"] == [2]


async def test_looks_at_rates_and_divisions_are_counted(autojump_clock: MockClock) -> None:
    edge = make_edge(services(a=te.Policy(down_rate=1e6)))
    async with open_edge(edge, ScriptedUpstream()) as rehearsal:
        client = await rehearsal.connect("192.0.2.1")
        await exchange(client)
        await trio.sleep(0.3)
        found = meters(edge)
        assert found.looks >= found.divisions >= 1
        await trio.sleep(5)
        assert [len(each) for each in found.paced] == [0, 0]


async def test_each_gate_and_each_counter_is_a_table_of_its_own(autojump_clock: MockClock) -> None:
    edge = make_edge(services(a=te.Policy(session_rate=5)), te.SessionGate(), te.SessionGate(5, per="source"))
    async with open_edge(edge) as rehearsal:
        await exchange(await rehearsal.connect("192.0.2.1"))
        tables = {each.name: (each.size(), each.capacity) for each in meters(edge).tables}
        assert tables == {"names": (0, 10_000), "gate": (1, 65_536), "gate 2": (1, 65_536)}
