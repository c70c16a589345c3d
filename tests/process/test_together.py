import gc
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

import trioedge as te
from trioedge.process.exit_code import ExitCode
from trioedge.process.together import COLLECT, Together


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class Edge:
    """Serves until the test ends it."""

    def __init__(self, *, cut: int = 0, fault: BaseException | None = None) -> None:
        self.cut, self.fault = cut, fault
        self.ready, self.end = trio.Event(), trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[Any]) -> int:
        await self.ready.wait()
        if self.fault is not None:
            raise self.fault
        task_status.started(self)
        await self.end.wait()
        return self.cut


async def test_it_is_ready_once_each_edge_is_ready_or_has_failed(nursery: trio.Nursery) -> None:
    edges = {"a": Edge(), "b": Edge(fault=te.ConfigurationError("no file")), "c": Edge(cut=2)}
    settled, ready = list[str](), list[bool]()
    together = Together({name: edge.serve for name, edge in edges.items()}, settled.append, lambda: ready.append(True))
    done = trio.Event()

    async def serve() -> None:
        await together.serve()
        done.set()

    nursery.start_soon(serve)
    with capture_logs() as lines:
        for name in "cba":
            assert ready == []
            edges[name].ready.set()
            await trio.testing.wait_all_tasks_blocked()
    assert settled == ["c", "b", "a"]
    assert ready == [True]
    assert gc.get_threshold() == COLLECT
    assert [(line["event"], line["error"]) for line in lines] == [("edge cannot start", "no file")]
    for name in "ac":
        assert not done.is_set()
        edges[name].end.set()
        await trio.testing.wait_all_tasks_blocked()
    assert done.is_set()
    assert together.cut == 2
    assert together.code() is ExitCode.FAULT


async def test_an_edge_that_fails_later_costs_itself_alone(nursery: trio.Nursery) -> None:
    async def fail(*, task_status: trio.TaskStatus[None]) -> int:
        task_status.started()
        raise ValueError("a bug")

    edge = Edge(cut=1)
    edge.ready.set()
    together = Together({"a": fail, "b": edge.serve})
    with capture_logs() as lines:
        nursery.start_soon(together.serve)
        await trio.testing.wait_all_tasks_blocked()
    assert [line["event"] for line in lines] == ["edge failed"]
    assert "a bug" in lines[0]["traceback"]
    edge.end.set()
    await trio.testing.wait_all_tasks_blocked()
    assert together.code() is ExitCode.FAULT


@pytest.mark.parametrize(
    ("faults", "kind", "message"),
    [
        ([te.ListenError("in use"), te.ConfigurationError("no file")], te.ListenError, "edge.a: in use"),
        ([te.ConfigurationError("no file"), ValueError("a bug")], te.ConfigurationError, "edge.a: no file"),
        ([ValueError("a bug"), te.ListenError("in use")], te.EdgeError, "edge.a failed"),
    ],
)
async def test_if_all_fail_the_first_fault_names_its_edge_and_it_is_never_ready(
    faults: list[Exception], kind: type[Exception], message: str, nursery: trio.Nursery
) -> None:
    def no_ready() -> None:
        pytest.fail("it is ready")

    edges = {name: Edge(fault=ExceptionGroup("tasks", [fault])) for name, fault in zip("ab", faults, strict=True)}
    together = Together({name: edge.serve for name, edge in edges.items()}, ready=no_ready)
    nursery.start_soon(together.serve)
    with capture_logs():
        for edge in edges.values():
            edge.ready.set()
            await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(kind, match=message):
        together.code()


async def test_the_fault_of_a_single_edge_is_raised_as_it_is() -> None:
    edge = Edge(fault=te.ConfigurationError("no file"))
    edge.ready.set()
    with pytest.RaisesGroup(te.ConfigurationError):
        await Together({"": edge.serve}).serve()


async def test_a_cancel_ends_every_edge_and_is_no_fault() -> None:
    edges = {"a": Edge(), "b": Edge()}
    edges["a"].ready.set()
    together = Together({name: edge.serve for name, edge in edges.items()})
    with trio.move_on_after(0):
        await together.serve()
    together.cut += 3
    assert together.code() is ExitCode.CUT


def test_without_cuts_and_faults_it_has_drained() -> None:
    assert Together({}).code() is ExitCode.DRAINED
    assert Together({"a": Edge().serve}).code() is ExitCode.DRAINED
