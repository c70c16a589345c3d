"""The program of the demo's edges serves both of them, and ends with its stdin."""

import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

import trioedge as te
from tests.support.command_line import PATIENCE
from trioedge.cli.demo import program


@attrs.define
class Served:
    """What the program was about to serve."""

    edges: Mapping[str, te.Edge] = {}
    beside: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    workers: Any = 0


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    found = Served()

    def serve(edges: Mapping[str, te.Edge], reload: object, beside: Any, *, workers: int) -> te.ExitCode:
        found.edges, found.beside, found.workers = edges, beside, workers
        return te.ExitCode.DRAINED

    monkeypatch.setattr(program, "run_edges", serve)
    return found


@pytest.mark.parametrize(
    ("url", "control"), [([], te.FileControl), (["http://127.0.0.1:9"], te.HttpControl)], ids=["file", "control plane"]
)
def test_both_edges_are_served_by_two_workers(
    url: list[str], control: type, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(program.TOKEN, "secret")
    assert program.main(str(tmp_path), "7300", *url) is te.ExitCode.DRAINED
    assert (set(served.edges), served.workers) == ({program.EDGE, program.SOCKS}, 2)
    edge = served.edges[program.EDGE]
    assert isinstance(edge.control, control)
    assert edge.listen == ("tcp://127.0.0.1:7300",)
    admin = edge.description.admin_listener
    assert admin is not None
    assert admin.listen == f"unix://{tmp_path}/{program.ADMIN}"


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> int:
    """A pipe in place of the stdin; give the end that is written to, which the test closes."""
    read, write = os.pipe()
    monkeypatch.setattr(os, "dup", lambda _: read)
    return write


@pytest.mark.parametrize("parent_lives", [True, False])
async def test_the_end_of_the_stdin_ends_the_parent_and_no_other_process(
    parent_lives: bool, stdin: int, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills: list[tuple[int, int]] = []
    program.main(str(tmp_path), "0")
    monkeypatch.setattr(os, "kill", lambda *arguments: kills.append(arguments))
    monkeypatch.setattr(os, "getppid", lambda: os.getpid() if parent_lives else 1)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.beside)
            await trio.testing.wait_all_tasks_blocked()
            os.write(stdin, b"a line\n")
            await trio.testing.wait_all_tasks_blocked()
            assert kills == []
            os.close(stdin)
    assert kills == ([(os.getpid(), signal.SIGTERM)] if parent_lives else [])


async def test_a_cancel_closes_the_stdin_and_ends_nothing(
    stdin: int, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.main(str(tmp_path), "0")
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("killed"))
    with trio.move_on_after(0.01):
        await served.beside()
    with pytest.raises(BrokenPipeError):
        os.write(stdin, b"x")
    os.close(stdin)
