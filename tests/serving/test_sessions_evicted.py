"""Many sessions that are evicted at once, over real sockets: none is lost by a drain or a cancel meanwhile."""

from contextlib import AsyncExitStack

import pytest
import trio

import trioedge as te
from tests.support.wires import connect, edge_to, server
from trioedge.testing import open_edge

MANY = 100
"""More than an eviction closes before it returns."""


@te.middleware
async def pass_on(session: te.Session, call_next: te.Handler) -> te.Outcome:
    return await call_next(session)


async def is_reset(client: trio.SocketStream) -> bool:
    try:
        return not await client.receive_some()
    except trio.BrokenResourceError:
        return True


@pytest.mark.parametrize("stages", [[], [pass_on]], ids=["without a task", "with a task"])
@pytest.mark.parametrize("then", ["nothing", "a drain", "a cancel"])
async def test_an_eviction_of_many_is_complete_whatever_follows(stages: list[object], then: str) -> None:
    cut: list[int] = []

    async def serve(edge: te.Edge, *, task_status: trio.TaskStatus[te.Edge]) -> None:
        cut.append(await edge.serve(task_status=task_status))

    async with server() as port, trio.open_nursery() as nursery, AsyncExitStack() as stack:
        edge = edge_to(port, *stages, drain_seconds=5)
        await nursery.start(serve, edge)
        edge_port = int(edge.addresses[0].rpartition(":")[2])
        clients = [await stack.enter_async_context(await connect(edge_port)) for _ in range(MANY)]
        with trio.fail_after(10):
            while [session.phase for session in edge.sessions] != ["relaying"] * MANY:
                await trio.sleep(0.001)
        sessions = list(edge.sessions)
        assert edge.evict(service="default") == MANY
        assert edge.evict(source="127.0.0.1") == 0, "they are marked already"
        assert {session.cut_reason for session in sessions} == {te.Reason.EVICTED}
        assert {session.outcome for session in sessions} == {None}, "closing them takes its time"
        if then == "a drain":
            edge.drain()
        elif then == "a cancel":
            nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True), trio.fail_after(10):
            while edge.sessions:
                await trio.sleep(0.001)
            if then == "a cancel":
                await edge.phase.wait_value("stopped")
            assert all([await is_reset(client) for client in clients])
        assert edge.statistics().ended == {te.Reason.EVICTED: MANY}
        assert edge.statistics().accepted == MANY
        nursery.cancel_scope.cancel()
    assert cut in ([], [0])


async def test_sessions_beyond_64_at_the_deadline_of_a_drain_are_cut_and_counted() -> None:
    async with server() as port, AsyncExitStack() as stack:
        edge = edge_to(port, drain_seconds=0.05)
        async with trio.open_nursery() as nursery:
            await nursery.start(edge.serve)
            edge_port = int(edge.addresses[0].rpartition(":")[2])
            clients = [await stack.enter_async_context(await connect(edge_port)) for _ in range(MANY)]
            with trio.fail_after(10):
                while [session.phase for session in edge.sessions] != ["relaying"] * MANY:
                    await trio.sleep(0.001)
                edge.drain()
        assert edge.statistics().ended == {te.Reason.DRAINED: MANY}
        assert all([await is_reset(client) for client in clients])


async def test_a_session_that_ends_by_itself_after_it_was_marked_has_the_reason_of_the_eviction(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_edge(te.Edge("tcp://127.0.0.1:0", [], te.Forward("tcp://192.0.2.9:6379"))) as world:
        clients = [await world.connect("192.0.2.1") for _ in range(MANY)]
        assert world.edge.evict(source="192.0.2.1") == MANY
        await clients[-1].stream.aclose()
        for client in clients:
            assert await client.ended() == te.Completed(te.Reason.EVICTED)
