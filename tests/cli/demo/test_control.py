"""The demo with a control plane in a child process, which never outlives the demo."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio

import trioedge as te
from tests.support.cancels import left_open
from tests.support.command_line import PATIENCE
from tests.support.demo import demo, gone
from trioedge.cli import main
from trioedge.cli.demo.control import ControlProcess, settled
from trioedge.cli.demo.view import Lines

ROOT = Path(__file__).parents[2]
MODULE = "examples.control_plane"
ASLEEP = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
DEAF = "print('http://127.0.0.1:1', flush=True); input()"


async def test_changes_of_the_file_reach_the_edge_and_the_books_agree_at_the_end_though_a_worker_died(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes seven seconds, because the demo is slow enough to be followed by eye."""
    monkeypatch.chdir(ROOT)
    async with demo("--control-plane", MODULE) as watched:
        services = trio.Path((await watched.says(r"nano (\S+)"))[1])
        pid = int((await watched.says(r"kill (\d+)"))[1])
        await services.write_text(f"{await services.read_text()}[services.yours]\n")
        await watched.says(r"the device check denied 127\.0\.6\.1 after 0\.[3-9] s: 2 sessions cut")
        await watched.says(r"evicted 3 sessions of 127\.0\.0\.4")
        await watched.says(r"services\.toml gives video 6 MB/s: retunes 2 sessions; in force after")
        await watched.says(r"worker \d killed, replaced in \d+ ms: its [1-9] sessions? lost, 0 others, 0 refused")
        os.killpg(watched.process.pid, signal.SIGINT)  # as a terminal does, to all that is in the foreground
        assert await watched.ends() == 0
        amount = r"[\d.]+ k?M?B"
        books = rf"chat {amount}, crawler {amount}, guest 0 B, video {amount}, web {amount}, yours 0 B"
        await watched.says(rf"The control plane's books: {books}; to the byte what the edge counted\.\n")
        await gone(pid)
        assert not await services.parent.exists()


async def test_sessions_go_on_after_the_control_plane_was_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes three seconds: its processes start, and lines come once a second."""
    monkeypatch.chdir(ROOT)
    async with demo("--control-plane", MODULE) as watched:
        services = trio.Path((await watched.says(r"nano (\S+)"))[1])
        pid = int((await watched.says(r"kill (\d+)"))[1])
        await services.write_text("[services.web]\nsession_rate = 0\n")
        await watched.says(r"control plane: .*services\.toml: services\.web\.session_rate = 0 must be a number above 0")
        os.kill(pid, signal.SIGKILL)
        await watched.says(r"the control plane has ended \(signal SIGKILL\)")
        await watched.says(r"[1-9] live, .*; services as they were \d+ s ago: ")
        watched.process.send_signal(signal.SIGTERM)
        assert await watched.ends() == 0
        await watched.says(r"The control plane has ended, and its books with it; the edge counted chat .*, web ")
        assert "Traceback" not in watched.said


async def test_the_control_plane_ends_when_the_demo_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes two seconds: two processes start, and one takes a second to stop."""
    monkeypatch.chdir(ROOT)
    async with demo("--control-plane", MODULE) as watched:
        folder = Path((await watched.says(r"nano (\S+)"))[1]).parent
        pid = int((await watched.says(r"kill (\d+)"))[1])
        watched.process.kill()
        await gone(pid)
    shutil.rmtree(folder)


async def test_a_cancel_while_the_child_starts_kills_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[subprocess.Popen[bytes]] = []
    make = subprocess.Popen

    def cancelled(*arguments: Any, **more: Any) -> subprocess.Popen[bytes]:
        trio.from_thread.run_sync(scope.cancel)
        made.append(make(*arguments, **more))
        return made[-1]

    monkeypatch.setattr(subprocess, "Popen", cancelled)
    before = left_open()
    with trio.fail_after(PATIENCE), trio.CancelScope() as scope:
        process = ControlProcess(MODULE, tmp_path / "services.toml", Lines())
        await process.run("shop", "192.0.2.*", task_status=trio.TASK_STATUS_IGNORED)
    assert scope.cancelled_caught
    assert [each.returncode for each in made] == [-signal.SIGKILL]
    assert left_open() == before


async def test_a_signal_while_the_control_plane_starts_ends_both(tmp_path: Path) -> None:
    """It takes a second: two processes start."""
    (tmp_path / "asleep.py").write_text(ASLEEP)
    async with demo("--control-plane", "asleep") as watched:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await trio.sleep(0.01)
        watched.process.send_signal(signal.SIGTERM)
        assert await watched.ends() == 0
        await gone(int((tmp_path / "pid").read_text()))
        assert watched.said == ""


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (None, "does not start: .*No module named other"),
        ("1 / 0", "does not start: ZeroDivisionError: division by zero"),
        ("pass", "does not start: it printed nothing"),
        ("print('half a', 'line', end='')", "does not start: half a line\n"),
        (DEAF, "refuses to deny a device: PUT http://127.0.0.1:1/services/chat/denied/127.0.6.*: "),
    ],
    ids=["no module", "fault", "silent", "half a line", "deaf"],
)
def test_a_control_plane_that_does_not_work_is_one_line(
    program: str | None, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It takes the time in which a process starts."""
    if program is not None:
        (tmp_path / "other.py").write_text(program)
    assert main(["demo", "--control-plane", "other"]) == te.ExitCode.CONFIGURATION
    out, error = capsys.readouterr()
    assert out == ""
    assert re.match(f"trioedge: --control-plane other {why}", error)
    assert error.count("\n") == 1


def test_the_books_are_compared_in_words() -> None:
    chat, web = {"bytes_up": 5, "bytes_down": 5, "opened": 1}, {"bytes_up": 0, "bytes_down": 0, "opened": 0}
    counted = {"chat": chat | {"live": 0}, "web": web | {"live": 0}}
    assert settled(counted, {"chat": chat, "web": web}) == (
        "The control plane's books: chat 10 B, web 0 B; to the byte what the edge counted."
    )
    assert settled(counted, {"chat": chat | {"bytes_down": 4}, "web": web}) == (
        "The control plane's books: chat 9 B, web 0 B; but the edge counted chat 10 B, web 0 B."
    )
    assert settled(counted, {"chat": chat | {"opened": 0}, "web": web}).endswith(
        "but the edge counted chat 10 B, web 0 B."
    )
    assert settled(counted, None) == (
        "The control plane has ended, and its books with it; the edge counted chat 10 B, web 0 B."
    )
