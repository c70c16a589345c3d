"""A worker in this process, whose parent is the test."""

import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.parents import Inherited, inherited
from trioedge.process.child.worker import WorkerProcess, exit_code_of
from trioedge.process.exit_code import ExitCode
from trioedge.process.workers.orders import Orders
from trioedge.process.workers.slots import ProcessState
from trioedge.telemetry.level import log_level, set_log_level


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    before = log_level()
    yield
    set_log_level(before)


async def talk(session: te.Session) -> te.Completed:
    await session.stream.send_all(b"!")
    async for _ in session.stream:
        pass
    return te.Completed(te.Reason.FINISHED)


def make_edge(**more: Any) -> te.Edge:
    return te.Edge("tcp://127.0.0.1:0", [], talk, drain_seconds=more.pop("drain_seconds", 60), **more)


class Broken:
    """A control plane that can never have services."""

    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        raise te.ConfigurationError("no file")


class Served:
    """A worker that runs."""

    def __init__(self, parent: Inherited, orders: Orders, column: int) -> None:
        self.parent, self.orders, self.column = parent, orders, column
        self.code: ExitCode | None = None
        self.ended = trio.Event()

    @property
    def state(self) -> ProcessState:
        return self.parent.memory.slots.row(self.column).state

    async def listen(self, *edges: str) -> None:
        """Be the parent of a worker that is ready."""
        missing = {*edges}
        while missing:
            missing -= {message["edge"] for message, _ in self.orders.receive() if message["say"] == "ready"}
            await trio.sleep(0.005)
        for name in edges:
            self.parent.listening.serve(name, frozenset({0}))
            self.orders.send({"do": "listen", "edge": name})
        while self.state is ProcessState.STARTING:
            await trio.sleep(0.005)

    async def connect(self, edge: str = "a") -> trio.SocketStream:
        (group,) = [each for each in self.parent.listening.groups if each.edge == edge]
        stream = await trio.open_tcp_stream("127.0.0.1", group.address.port)
        assert await stream.receive_some(1) == b"!"
        return stream

    async def ends(self) -> ExitCode:
        with trio.fail_after(10):
            await self.ended.wait()
        assert self.code is not None
        return self.code


@asynccontextmanager
async def worker(edges: Mapping[str, te.Edge]) -> AsyncIterator[Served]:
    with inherited(edges, workers=1) as parent:
        found, orders = parent.child(0)
        sockets = parent.listening.for_worker(0, found.orders)
        process = WorkerProcess(edges, found, sockets, parent.hub.getsockname())
        served = Served(parent, orders, found.column)
        with trio.fail_after(15):
            async with trio.open_nursery() as nursery:

                async def run() -> None:
                    served.code = await process.run()
                    served.ended.set()

                nursery.start_soon(run)
                yield served
                nursery.cancel_scope.cancel()


async def test_it_serves_once_the_parent_listens_and_drains_by_an_order() -> None:
    async with worker({"a": make_edge()}) as served:
        await trio.testing.wait_all_tasks_blocked()
        assert served.state.name == "STARTING"
        await served.listen("a")
        assert served.state.name == "READY"
        async with await served.connect() as client:
            while not served.parent.memory.slots.row(served.column).live:
                await trio.sleep(0.01)
            served.orders.send({"do": "drain", "seconds": None})
            while served.state is not ProcessState.DRAINING:
                await trio.sleep(0.005)
            await client.send_all(b"x")
            assert served.code is None
        assert await served.ends() is ExitCode.DRAINED


async def test_a_drain_of_one_edge_leaves_the_other_serving_until_the_next() -> None:
    async with worker({"a": make_edge(), "b": make_edge()}) as served:
        await served.listen("a", "b")
        async with await served.connect("b") as client:
            served.orders.send({"do": "drain", "edge": "a", "seconds": 0.0})
            served.orders.send({"do": "reload"})
            await trio.sleep(0.1)
            assert served.state is ProcessState.READY
            served.orders.send({"do": "drain", "seconds": None})
            await trio.sleep(0.1)
            await client.send_all(b"x")
            assert served.code is None, "the session of the other edge has its time"
        assert await served.ends() is ExitCode.DRAINED


async def test_a_deadline_of_an_operator_cuts() -> None:
    async with worker({"a": make_edge()}) as served:
        await served.listen("a")
        async with await served.connect():
            served.orders.send({"do": "drain", "seconds": 0.0})
            assert await served.ends() is ExitCode.CUT


async def test_an_order_to_cut_ends_it_at_once() -> None:
    async with worker({"a": make_edge()}) as served:
        await served.listen("a")
        async with await served.connect():
            served.orders.send({"do": "drain", "seconds": None})
            served.orders.send({"do": "cut"})
            assert await served.ends() is ExitCode.CUT


async def test_a_worker_that_is_not_ready_drains_at_once() -> None:
    async with worker({"a": make_edge(control=te.MemoryControl({}))}) as served:
        served.orders.send({"do": "drain", "seconds": None})
        assert await served.ends() is ExitCode.DRAINED


async def test_the_death_of_the_parent_and_a_signal_drain() -> None:
    async with worker({"a": make_edge()}) as served:
        await served.listen("a")
        async with await served.connect() as client:
            with capture_logs() as lines:
                served.orders.close()
                while served.state is not ProcessState.DRAINING:
                    await trio.sleep(0.005)
            assert lines[0]["event"] == "the parent is dead, so this worker drains"
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep(0.05)
            await client.send_all(b"x")
            assert served.code is None, "more signals cut nothing"
        assert await served.ends() is ExitCode.DRAINED


async def test_a_level_is_that_of_this_worker_from_then_on() -> None:
    async with worker({"a": make_edge()}) as served:
        await served.listen("a")
        served.orders.send({"do": "level", "level": "error"})
        while log_level() != "error":
            await trio.sleep(0.005)
        signal.raise_signal(signal.SIGHUP)  # reloads, and nothing else
        await trio.sleep(0.05)
        assert served.code is None


async def test_one_of_two_edges_that_cannot_start_costs_itself_and_no_session_of_the_other() -> None:
    async def fail(*_: object) -> te.Completed:
        raise AssertionError

    class Unopened:
        """An endpoint that cannot be opened."""

        provides = frozenset[str]()

        def open(self, context: te.EdgeContext) -> object:
            raise te.ConfigurationError("no such upstream")

        async def handle(self, session: te.Session) -> te.Outcome:
            raise AssertionError

    broken = te.Edge("tcp://127.0.0.1:0", [], Unopened())
    with capture_logs() as lines:
        async with worker({"a": make_edge(), "b": broken}) as served:
            await served.listen("a")
            assert served.state is ProcessState.READY
            async with await served.connect() as client:
                served.orders.send({"do": "drain", "seconds": None})
                await trio.sleep(0.1)
                await client.send_all(b"x")
                assert served.code is None
            assert await served.ends() is ExitCode.FAULT
    assert ("edge cannot start", "no such upstream") in [(line["event"], line.get("error")) for line in lines]


@pytest.mark.parametrize(
    ("fault", "code", "event"),
    [
        (te.ConfigurationError("x"), ExitCode.CONFIGURATION, "edge cannot start"),
        (ExceptionGroup("tasks", [te.ListenError("x")]), ExitCode.LISTEN, "edge cannot start"),
        (ValueError("x"), ExitCode.FAULT, "edge failed"),
        (KeyboardInterrupt(), ExitCode.FAULT, "edge failed"),
    ],
)
def test_the_exit_code_of_a_child_says_why_it_ended(fault: BaseException, code: ExitCode, event: str) -> None:
    def serve() -> ExitCode:
        raise fault

    with capture_logs() as lines:
        assert exit_code_of(serve) == code
    assert [line["event"] for line in lines] == [event]
    assert exit_code_of(lambda: ExitCode.CUT) == ExitCode.CUT
