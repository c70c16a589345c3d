"""Whole edges, cancelled before every step that they take: whenever it comes, nothing of them is left.

Sessions over plain sockets, and those that are cut, are in ``serving/test_sessions.py``.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

import trioedge as te
from tests.support.cancels import cancel_at_every_step, left_open
from tests.support.wires import receive_all, server
from trioedge.edge import rehearse
from trioedge.testing import Rehearsal, ScriptedUpstream, echo, open_edge


@pytest.fixture(autouse=True)
def _nothing_raises() -> Iterator[None]:
    """No part says that anything raised what nobody expected."""
    with capture_logs() as logs:
        yield
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


async def accepted(service: str, device: str) -> te.DeviceVerdict:
    await trio.lowlevel.checkpoint()
    return te.DeviceVerdict(True)


@te.middleware
async def with_a_task(session: te.Session, call_next: te.Handler) -> te.Outcome:
    """Does nothing, and so no session is the reactor's alone."""
    return await call_next(session)


def nothing_serves(edge: te.Edge, control: te.MemoryControl | None = None) -> None:
    """The edge, its parts and its control plane might serve again."""
    assert (edge.addresses, len(edge.sessions)) == ((), 0)
    assert control is None or control._links == []


async def test_an_edge_that_starts_and_drains_leaves_nothing(tmp_path: Path) -> None:
    """With everything that an edge may start, some seventy times, each with sockets of its own: a quarter of a second.

    But for the queue discipline, which would be this machine's.
    """
    path = tmp_path / "edge.sock"
    control = te.MemoryControl({"default": te.Policy(down_rate=1e9, outbound="tcp://127.0.0.1:1", preconnect=1)})
    edge = te.Edge(
        "tcp://127.0.0.1:0",
        [te.Pacing(), te.DeviceLimit(check=accepted), te.IdleTimeout(9)],
        te.Forward(allow=["loopback"]),
        control=control,
        admin=f"unix://{path}",
    )

    async def live() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(edge.serve)
            edge.drain()

    await live()
    before = left_open()

    def check() -> None:
        assert left_open() == before
        nothing_serves(edge, control)
        assert not path.exists()

    assert await cancel_at_every_step(live, check) > 40


@pytest.mark.parametrize("stages", [[te.Pacing(), te.DeviceLimit(check=accepted)], [te.IdleTimeout(9), with_a_task]])
async def test_a_session_in_memory_ends_once_and_is_counted_once(
    stages: list[object], autojump_clock: MockClock
) -> None:
    """A whole edge for each of some hundred cancels: a third of a second."""
    control = te.MemoryControl({"default": te.Policy(down_rate=1_000, outbound="tcp://192.0.2.9:1", preconnect=1)})
    edge = te.Edge("tcp://127.0.0.1:6380", stages, te.Forward(), control=control)

    async def live() -> None:
        async with open_edge(edge, echo) as world:
            client = await world.connect()
            await client.send(b"ping")
            assert await client.receive(4) == b"ping"
            await client.finish()
            assert await client.receive_all() == b""
            await client.ended()

    await live()
    before = left_open()
    ended: set[te.Reason] = set()

    def check() -> None:
        assert left_open() == before
        nothing_serves(edge, control)
        said = edge.statistics()
        assert said.accepted == sum(said.ended.values()) + sum(said.refused.values())
        ended.update(said.ended)

    assert await cancel_at_every_step(live, check) > 40
    assert ended == {te.Reason.FINISHED, te.Reason.DRAINED}


async def test_a_session_over_a_local_socket_that_has_a_rate_closes_both_of_them(tmp_path: Path) -> None:
    """Two streams and a timeline carry it, some seventy times: a third of a second."""
    path = tmp_path / "edge.sock"
    edges: list[te.Edge] = []

    async def live() -> None:
        async with server() as upstream, trio.open_nursery() as nursery:
            there = te.Forward(f"tcp://127.0.0.1:{upstream}", preconnect=1)
            edges.append(te.Edge(f"unix://{path}", [te.Pacing("1 MB/s", "1 MB/s")], there))
            await nursery.start(edges[-1].serve)
            async with await trio.open_unix_socket(str(path)) as client:
                await client.send_all(b"ping")
                await client.send_eof()
                assert await receive_all(client) == b"ping"
            nursery.cancel_scope.cancel()

    await live()
    before = left_open()

    def check() -> None:
        assert left_open() == before
        nothing_serves(edges[-1])
        assert not path.exists()

    assert await cancel_at_every_step(live, check) > 40


async def test_an_edge_that_is_cancelled_while_it_drains_waits_for_its_sessions_all_the_same(
    autojump_clock: MockClock,
) -> None:
    """Its one session takes five seconds to let go, and its drain one: some hundred times, a quarter of a second."""
    closed: list[bool] = []

    @te.middleware
    async def dies_slowly(session: te.Session, call_next: te.Handler) -> te.Outcome:
        try:
            return await call_next(session)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            closed.append(True)

    edge = te.Edge("tcp://127.0.0.1:6380", [dies_slowly], te.Forward("tcp://192.0.2.9:1"), drain_seconds=1)
    begun: list[bool] = []

    async def live() -> None:
        async with trio.open_nursery() as nursery:
            upstream = ScriptedUpstream(echo)
            await nursery.start(upstream.run)
            await nursery.start(rehearse, edge, upstream)
            client = await Rehearsal(edge, upstream).connect()
            await client.send(b"ping")
            assert await client.receive(4) == b"ping"
            begun.append(True)
            edge.drain()
            assert (await client.ended()).reason is te.Reason.DRAINED
            nursery.cancel_scope.cancel()

    await live()
    before = left_open()

    def check() -> None:
        assert left_open() == before
        nothing_serves(edge)
        assert len(closed) >= len(begun)

    assert await cancel_at_every_step(live, check) > 40
