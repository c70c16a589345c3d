"""The demo's edges, a family of processes that never outlives the demo."""

import os
import signal
from pathlib import Path

import pytest
import trio

from tests.support.cancels import left_open
from tests.support.command_line import PATIENCE
from tests.support.demo import demo, gone
from trioedge.cli.client.client import path_of
from trioedge.cli.demo import program
from trioedge.cli.demo.edge_process import EdgeProcess
from trioedge.cli.demo.story import Story
from trioedge.cli.demo.view import Lines
from trioedge.errors import EdgeError


def family_of(folder: Path) -> list[int]:
    """Give the edges' processes, the parent first: all have the folder in their command line."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            command = (each / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(folder).encode() in command:
            found.append(int(each.name))
    return sorted(found)


class Notes(Lines):
    """A view that keeps the notes."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []

    def note(self, text: str) -> None:
        self.kept.append(text)


def edges(folder: Path) -> EdgeProcess:
    Story(folder / program.SERVICES, "tcp://127.0.0.1:1", Lines())
    return EdgeProcess(folder, Notes())


async def test_the_edges_listen_answer_and_end_when_they_are_told(tmp_path: Path) -> None:
    edge = edges(tmp_path)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(edge.run, 0, None)
            assert set(edge.addresses) == {program.EDGE, program.SOCKS}
            found = await edge.client.get(path_of("statistics"))
            assert [each["number"] for each in found["workers"]] == [*range(program.WORKERS)]
            assert len(family_of(tmp_path)) == 2 + program.WORKERS
            await edge.stop()
    assert family_of(tmp_path) == []
    assert [path.name for path in await trio.Path(tmp_path).iterdir()] == [program.SERVICES]


@pytest.mark.parametrize("starts", [True, False])
async def test_a_cancel_kills_all_processes(tmp_path: Path, starts: bool) -> None:
    edge = edges(tmp_path)
    before = left_open()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            if starts:
                await nursery.start(edge.run, 0, None)
            else:
                nursery.start_soon(lambda: edge.run(0, None, task_status=trio.TASK_STATUS_IGNORED))
                while not family_of(tmp_path):
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        for pid in family_of(tmp_path):
            await gone(pid)
    assert left_open() == before


async def test_a_worker_that_dies_is_noted_and_a_parent_that_dies_is_an_error(tmp_path: Path) -> None:
    edge, view = edges(tmp_path), Notes()
    edge = EdgeProcess(tmp_path, view)
    with trio.fail_after(PATIENCE):
        with pytest.RaisesGroup(pytest.RaisesExc(EdgeError, match="the edge has ended: signal SIGKILL")):
            async with trio.open_nursery() as nursery:
                await nursery.start(edge.run, 0, None)
                (worker, *_) = (await edge.client.get(path_of("statistics")))["workers"]
                os.kill(worker["pid"], signal.SIGKILL)
                while not view.kept:
                    await trio.sleep(0.01)
                os.kill(family_of(tmp_path)[0], signal.SIGKILL)
        assert view.kept[0] == "log: child died, and is replaced: worker 0, signal SIGKILL"
        for pid in family_of(tmp_path):
            await gone(pid)


async def test_the_edges_end_when_the_demo_is_killed() -> None:
    async with demo() as watched:
        folder = Path((await watched.says(r"nano (\S+)"))[1]).parent
        family = family_of(folder)
        assert len(family) == 2 + program.WORKERS
        watched.process.kill()
        for pid in family:
            await gone(pid)
    assert [path.name for path in folder.iterdir()] == [program.SERVICES]
    (folder / program.SERVICES).unlink()
    folder.rmdir()
