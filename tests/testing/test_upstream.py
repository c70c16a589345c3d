import pytest
import trio
import trio.testing
from trio.testing import MockClock

import trioedge as te
from trioedge.addresses.address import parse_address
from trioedge.testing import ScriptedUpstream, echo, open_edge
from trioedge.testing.upstream import memory_pair
from trioedge.upstreams.connector import Target


def edge(connect_seconds: float = 5.0) -> te.Edge:
    return te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://192.0.2.9:6379", connect_seconds=connect_seconds))


async def test_the_script_runs_for_each_connection_and_its_end_closes_it(autojump_clock: MockClock) -> None:
    async def greet(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(b"220 hello\r\n")

    async with open_edge(edge(), greet) as world:
        for _ in range(2):
            client = await world.connect()
            assert await client.receive_all() == b"220 hello\r\n"
        assert [str(address) for address in world.upstream.asked] == ["tcp://192.0.2.9:6379"] * 2


async def test_script_and_refusal_may_be_changed_while_it_runs(autojump_clock: MockClock) -> None:
    async with open_edge(edge()) as world:
        world.upstream.refusal = te.Reason.UPSTREAM_UNREACHABLE
        refused = await (await world.connect()).ended()
        assert refused == te.Completed(te.Reason.UPSTREAM_UNREACHABLE, "tcp://192.0.2.9:6379: as the test wants it")
        world.upstream.refusal = None
        client = await world.connect()
        await client.send(b"ping")
        assert await client.receive(4) == b"ping"
        assert len(world.upstream.asked) == 2


@pytest.mark.parametrize(("connect_seconds", "outcome"), [(2.0, None), (9.0, te.Reason.UPSTREAM_TIMEOUT)])
async def test_a_connect_takes_as_long_as_it_is_told(
    connect_seconds: float, outcome: te.Reason | None, autojump_clock: MockClock
) -> None:
    async with open_edge(edge(), ScriptedUpstream(connect_seconds=connect_seconds)) as world:
        began = trio.current_time()
        client = await world.connect()
        await client.send(b"x")
        if outcome is None:
            assert await client.receive(1) == b"x"
        else:
            assert (await client.ended()).reason is outcome
        assert trio.current_time() - began == pytest.approx(min(connect_seconds, 5.0), abs=0.1)


async def test_a_script_that_is_hung_up_on_costs_nothing(autojump_clock: MockClock) -> None:
    async def flood(stream: trio.abc.HalfCloseableStream) -> None:
        while True:
            await stream.send_all(b"x")
            await trio.sleep(1)

    async with open_edge(edge(), flood) as world:
        client = await world.connect()
        await client.receive(1)
        assert world.edge.evict(source="192.0.2.1") == 1
        await trio.sleep(5)
        assert (await client.ended()).reason is te.Reason.EVICTED


async def test_a_connect_outside_of_a_rehearsal_is_refused() -> None:
    target = Target(parse_address("tcp://192.0.2.9:1"), 5.0)
    with pytest.raises(AssertionError, match="connected outside of open_edge"):
        await ScriptedUpstream().open_stream(target)


def test_a_scripted_upstream_has_no_plain_sockets() -> None:
    upstream = ScriptedUpstream()
    assert not upstream.plain
    with pytest.raises(RuntimeError, match="a scripted upstream has no sockets"):
        upstream.start(Target(parse_address("tcp://192.0.2.9:1"), 5.0), None)  # type: ignore[arg-type]


async def test_echo_sends_everything_back_then_finishes() -> None:
    ours, theirs = memory_pair(lockstep=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo, theirs)
        await ours.send_all(b"ping")
        await ours.send_eof()
        data = b""
        while more := await ours.receive_some():
            data += more
    assert data == b"ping"


async def test_a_lockstep_pair_hands_bytes_over_only_to_a_reader(nursery: trio.Nursery) -> None:
    ours, theirs = memory_pair(lockstep=True)
    sent: list[bytes] = []

    async def send() -> None:
        await ours.send_all(b"ping")
        sent.append(b"ping")

    nursery.start_soon(send)
    await trio.testing.wait_all_tasks_blocked()
    assert sent == []
    assert await theirs.receive_some(9) == b"ping"
    await trio.testing.wait_all_tasks_blocked()
    assert sent == [b"ping"]
