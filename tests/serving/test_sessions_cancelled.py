"""Sessions of an edge that is cancelled before any step of any task: nothing of them is left."""

import os
from collections.abc import Awaitable, Callable, Sized
from functools import partial

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

import trioedge as te
from tests.support.cancels import MAX_STEPS, cancelled_before
from tests.support.wires import connect, echo, edge_to, receive_exactly, server, serving
from trioedge.stages.concurrency_limit import LiveConcurrencyLimit
from trioedge.testing import ScriptedUpstream, open_edge


@te.middleware
async def pass_on(session: te.Session, call_next: te.Handler) -> te.Outcome:
    return await call_next(session)


class KeptLimit(te.ConcurrencyLimit):
    """A concurrency limit whose live counts the test looks at."""

    def __init__(self, sessions: int) -> None:
        super().__init__(sessions)
        self.counts: list[Sized] = []

    def open(self, context: te.EdgeContext) -> LiveConcurrencyLimit:
        live = super().open(context)
        self.counts[:] = [live._counts]
        return live


async def live_in_memory(edge: te.Edge) -> None:
    async with open_edge(edge, ScriptedUpstream(connect_seconds=0.001)) as world:
        first, second = await world.connect("192.0.2.1"), await world.connect("192.0.2.2")
        await world.connect("192.0.2.66")
        await first.send(b"ping")
        await first.receive(4)
        edge.evict(source="192.0.2.2")
        await second.ended()
        await first.finish()
        await first.receive_all()
        await first.ended()


async def live_on_sockets(edge: te.Edge) -> None:
    async with serving(edge) as port, await connect(port) as first, await connect(port, "127.0.0.2") as second:
        async with await connect(port, "127.0.0.66"):
            pass
        await second.send_all(b"pong")
        await receive_exactly(second, 4)
        await first.send_all(b"ping")
        await receive_exactly(first, 4)
        edge.evict(source="127.0.0.2")
        await first.send_eof()
        await first.receive_some()


@pytest.mark.parametrize("stages", [[], [pass_on]], ids=["without a task", "with a task"])
@pytest.mark.parametrize("life", [live_in_memory, live_on_sockets], ids=["in memory", "on sockets"])
async def test_an_edge_that_is_cancelled_before_any_step_leaves_nothing(
    stages: list[object], life: Callable[[te.Edge], Awaitable[None]]
) -> None:
    limit = KeptLimit(100)
    gone = te.SourceMatch(reject=["192.0.2.66", "127.0.0.66"])
    async with server(echo) as port:
        for step in range(1, MAX_STEPS):
            edge = edge_to(port, gone, limit, *stages, preconnect=1)
            await trio.testing.wait_all_tasks_blocked(0.002 if life is live_on_sockets else 0.0)
            files, tasks = set(os.listdir("/proc/self/fd")), trio.lowlevel.current_statistics().tasks_living
            began = edge.statistics().accepted
            with capture_logs() as logs:
                reached = await cancelled_before(step, partial(life, edge))
            left = trio.lowlevel.current_statistics().tasks_living - tasks
            # The far ends belong to the test's own server and may take a moment to see that we hung up.
            with trio.move_on_after(2):
                while left > 0 or len(os.listdir("/proc/self/fd")) > len(files):
                    await trio.sleep(0.001)
                    left = trio.lowlevel.current_statistics().tasks_living - tasks
            assert left <= 0, f"step {step}: {left} tasks are left"
            assert len(os.listdir("/proc/self/fd")) <= len(files), f"step {step}: a file descriptor is left"
            assert len(edge.sessions) == 0, f"step {step}: a session is registered"
            assert [len(counts) for counts in limit.counts] in ([], [0]), f"step {step}: a session is counted"
            counts = edge.statistics()
            assert counts.accepted - began == sum(counts.refused.values()) + sum(counts.ended.values()), step
            assert not [entry for entry in logs if entry["log_level"] == "error"], (step, logs)
            if not reached:
                assert step > 20
                return
        pytest.fail("the life never ended")
