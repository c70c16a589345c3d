"""A control process in this process, whose parent is the test."""

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from tests.support.parents import Inherited, inherited, said
from trioedge.process.child.control import ControlSide
from trioedge.process.child.worker_sockets import ParentsSocket
from trioedge.process.exit_code import ExitCode
from trioedge.process.workers.orders import Orders
from trioedge.process.workers.slots import CONTROL, ProcessState
from trioedge.telemetry.level import log_level, set_log_level


def make_edge(**more: Any) -> te.Edge:
    return te.Edge("tcp://127.0.0.1:0", [te.Identify()], te.Forward("tcp://127.0.0.1:1"), **more)


class Late:
    """A control plane whose first snapshot comes when the test says so."""

    def __init__(self) -> None:
        self.given = trio.Event()

    async def run(self, link: te.Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        await self.given.wait()
        await link.apply(te.Snapshot({"shop": te.Settings(te.Policy())}))
        task_status.started()
        await trio.sleep_forever()


class Served:
    """A control process that runs."""

    def __init__(self, parent: Inherited, orders: Orders, column: int) -> None:
        self.parent, self.orders, self.column = parent, orders, column
        self.reloads = 0
        self.code: ExitCode | None = None
        self.ended = trio.Event()

    def reload(self) -> None:
        self.reloads += 1

    @property
    def state(self) -> ProcessState:
        return self.parent.memory.slots.row(self.column).state

    async def ready(self) -> None:
        while self.state is ProcessState.STARTING:
            await trio.sleep(0.005)

    async def ends(self) -> ExitCode:
        with trio.fail_after(4):
            await self.ended.wait()
        assert self.code is not None
        return self.code


@asynccontextmanager
async def control(edges: Mapping[str, te.Edge], *, beside: Any = None) -> AsyncIterator[Served]:
    with inherited(edges) as parent:
        found, orders = parent.child(CONTROL)
        admins: dict[str, list[ParentsSocket]] = {}
        for group in parent.listening.admins:
            admins.setdefault(group.edge, []).append(ParentsSocket(group.sockets[0], group.address))
        served = Served(parent, orders, found.column)
        side = ControlSide(edges, found, admins, served.reload, beside)
        with trio.fail_after(15):
            async with trio.open_nursery() as nursery:

                async def run() -> None:
                    served.code = await side.run()
                    served.ended.set()

                nursery.start_soon(run)
                yield served
                nursery.cancel_scope.cancel()


async def test_it_is_ready_once_every_control_plane_has_given_services() -> None:
    late = Late()
    async with control({"a": make_edge(control=late), "b": make_edge()}) as served:
        await trio.sleep(0.05)
        assert served.state is ProcessState.STARTING
        late.given.set()
        await served.ready()
        served.orders.send({"do": "end"})
        assert await served.ends() is ExitCode.DRAINED


@pytest.mark.parametrize("order", ["end", "retire", "the parent dies"])
async def test_one_that_waits_for_services_ends_when_it_is_told_to(order: str) -> None:
    async with control({"a": make_edge(control=Late())}) as served:
        await trio.sleep(0.05)
        with capture_logs():
            if order == "the parent dies":
                served.orders.close()
            else:
                served.orders.send({"do": order})
            assert await served.ends() is ExitCode.DRAINED


async def test_the_admin_api_answers_before_there_are_services_and_until_a_successor_is_there(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    async with control({"a": make_edge(control=Late(), admin=f"unix://{path}")}) as served:
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://edge", timeout=5) as client:
            assert (await client.get("/health")).status_code == 200
            assert (await client.get("/ready")).status_code == 503
            assert (await client.get("/v1/state")).status_code == 200
            served.orders.send({"do": "refused", "why": "no such file"})
            answer = await client.post("/v1/drain", json={"seconds": 3})
            assert answer.status_code == 200
            assert await said(served.orders, "end") == {"say": "end", "edge": "a", "seconds": 3}
        served.orders.send({"do": "yield"})
        await trio.sleep(0.1)
        waits = await trio.open_unix_socket(str(path))  # the parent's socket listens
        async with waits:
            await waits.send_all(b"GET /health HTTP/1.1\r\nhost: edge\r\n\r\n")
            with trio.move_on_after(0.1) as nothing:
                await waits.receive_some()
            assert nothing.cancelled_caught, "a successor answers"
        served.orders.send({"do": "end"})
        assert await served.ends() is ExitCode.DRAINED


async def test_each_of_two_edges_has_its_admin_api(tmp_path: Path) -> None:
    edges = {name: make_edge(admin=f"unix://{tmp_path}/{name}.sock") for name in "ab"}
    async with control(edges) as served:
        for name in "ab":
            transport = httpx.AsyncHTTPTransport(uds=f"{tmp_path}/{name}.sock")
            async with httpx.AsyncClient(transport=transport, base_url="http://edge", timeout=5) as client:
                assert (await client.get("/health")).status_code == 200
                assert (await client.post("/v1/drain", json={})).status_code == 200
                assert (await said(served.orders, "end"))["edge"] == name


async def test_one_that_yields_before_it_has_begun_is_no_fault(tmp_path: Path) -> None:
    async with control({"a": make_edge(control=Late(), admin=f"unix://{tmp_path}/admin.sock")}) as served:
        served.orders.send({"do": "yield"})
        await trio.sleep(0.1)
        assert served.code is None
        served.orders.send({"do": "retire"})
        assert await served.ends() is ExitCode.DRAINED


async def test_an_admin_token_that_cannot_be_read_is_a_fault_of_configuration(tmp_path: Path) -> None:
    admin = te.Admin("tcp://127.0.0.1:0", token=te.Secret(file=str(tmp_path / "none")))
    with pytest.RaisesGroup(te.ConfigurationError, flatten_subgroups=True):
        async with control({"a": make_edge(admin=admin)}) as served:
            await served.ended.wait()


async def test_orders_and_signals_reload_and_set_the_level_and_stop_signals_do_nothing() -> None:
    before = log_level()
    try:
        async with control({"a": make_edge()}) as served:
            await served.ready()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                signal.raise_signal(number)
            signal.raise_signal(signal.SIGHUP)
            served.orders.send({"do": "level", "level": "error"})
            served.orders.send({"do": "reload"})
            while served.reloads < 2 or log_level() != "error":
                await trio.sleep(0.005)
            assert served.code is None
    finally:
        set_log_level(before)


async def test_a_level_that_a_file_sets_is_told_to_the_parent() -> None:
    before = log_level()
    try:
        async with control({"a": make_edge()}) as served:
            await served.ready()
            set_log_level("error")
            assert await said(served.orders, "level") == {"say": "level", "level": "error"}
    finally:
        set_log_level(before)


async def test_the_death_of_the_parent_ends_it_once_no_worker_is_left() -> None:
    async with control({"a": make_edge()}) as served:
        await served.ready()
        with capture_logs() as lines:
            served.orders.close()
            assert await served.ends() is ExitCode.DRAINED
        assert lines[0]["event"] == "the parent is dead, so this process ends with the last worker"


async def test_a_task_beside_runs_in_it_and_ends_with_it() -> None:
    began, over = trio.Event(), list[bool]()

    async def beside() -> None:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            over.append(True)

    async with control({"a": make_edge()}, beside=beside) as served:
        await began.wait()
        served.orders.send({"do": "end"})
        await served.ends()
        assert over == [True]
