"""The signals of an edge that serves, whatever its stages do: real processes, and the lines that they write."""

import json
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import trio
import trio.testing

import trioedge as te
from tests.support.command_line import Running, running
from trioedge.process import signals
from trioedge.process.signals import PATIENCE_SECONDS, StopSignals

EDGE = """\
import time
from pathlib import Path
import trio
import trioedge as te

def wait_for(path):
    while not path.exists():
        time.sleep(0.06)

@te.decision
def blocks(session):
    Path({begun!r}).touch()
    wait_for(Path({go_on!r}))
    return te.CONTINUE

@te.middleware
async def holds_back(session, call_next):
    with trio.CancelScope(shield={shield}):
        Path({begun!r}).touch()
        await trio.sleep_forever()

edge = te.Edge("unix://{path}", [{stage}], te.Forward("tcp://127.0.0.1:1"), {more})
"""


@asynccontextmanager
async def edge(
    folder: Path, stage: str = "", *, shield: bool = False, more: str = "", program: str = ""
) -> AsyncIterator[Running]:
    """Run an edge, and have a client whose session is in its stage if it has one."""
    begun, path = folder / "begun", folder / "edge.sock"
    program = program + EDGE.format(
        path=path, begun=str(begun), go_on=str(folder / "go on"), stage=stage, shield=shield, more=more
    )
    (folder / "x.py").write_text(program)
    async with running("run", str(folder / "x.py"), "--log-format", "json") as command:
        await command.says("listening")
        if not stage:
            yield command
            return
        async with await trio.open_unix_socket(str(path)):
            while not await trio.Path(begun).exists():
                await trio.sleep(0.01)
            yield command


async def line(command: Running, event: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await command.says(event))
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
async def test_a_signal_drains(number: signal.Signals, tmp_path: Path) -> None:
    async with edge(tmp_path) as command:
        command.signal(number)
        assert await command.ends() == te.ExitCode.DRAINED
    assert [json.loads(each)["event"] for each in command.stderr.splitlines()] == ["listening", "draining", "stopped"]


async def test_a_hangup_reads_the_services_again_and_ends_nothing(tmp_path: Path) -> None:
    services = tmp_path / "services.toml"
    services.write_text("[services.default]\nsession_rate = 5\n")
    async with edge(tmp_path, more=f"control=te.FileControl({str(services)!r})") as command:
        status = services.stat()
        command.signal(signal.SIGHUP)
        await command.says("reloading")
        services.write_text("[services.default]\nsession_rate = 6\n")
        assert services.stat().st_size == status.st_size
        await command.says("changes 1 service")
        command.signal(signal.SIGHUP)
        command.signal(signal.SIGTERM)
        assert await command.ends() == te.ExitCode.DRAINED


async def test_sigusr2_to_one_process_says_that_a_restart_needs_workers_and_changes_nothing(tmp_path: Path) -> None:
    async with edge(tmp_path) as command:
        command.signal(signal.SIGUSR2)
        await command.says("a restart in place needs several workers")
        command.signal(signal.SIGTERM)
        assert await command.ends() == te.ExitCode.DRAINED


async def test_a_signal_that_waits_for_a_blocked_loop_says_where_and_a_third_one_ends_it(tmp_path: Path) -> None:
    async with edge(tmp_path, "blocks") as command:
        command.signal(signal.SIGINT)
        said = await line(command, "the event loop is blocked")
        assert said["at"] == f"blocks, line 13 of {tmp_path / 'x.py'}"
        command.signal(signal.SIGINT)
        command.signal(signal.SIGTERM)
        assert await command.ends() == te.ExitCode.KILLED
    last = json.loads(command.stderr.splitlines()[-1])
    assert (last["event"], last["level"]) == ("ended at once by a third signal", "critical")
    assert last["at"].startswith("blocks, line 13")
    assert "stopped" not in command.stderr


async def test_signals_that_came_while_the_loop_was_blocked_act_once_it_is_free(tmp_path: Path) -> None:
    async with edge(tmp_path, "blocks") as command:
        command.signal(signal.SIGTERM)
        await command.says("the event loop is blocked")
        await trio.Path(tmp_path / "go on").touch()
        await command.says("draining")
        assert await command.ends() == te.ExitCode.DRAINED


async def test_a_stage_that_holds_back_its_cancel_is_said_and_a_third_signal_ends_it(tmp_path: Path) -> None:
    async with edge(tmp_path, "holds_back", shield=True) as command:
        command.signal(signal.SIGTERM)
        await command.says("draining")
        command.signal(signal.SIGTERM)
        said = await line(command, "sessions that were cut have not ended")
        assert (said["live"], said["so"]) == (1, "one more signal ends the process at once")
        assert "stopped" not in command.stderr
        command.signal(signal.SIGTERM)
        assert await command.ends() == te.ExitCode.KILLED
    assert json.loads(command.stderr.splitlines()[-1])["live"] == 1


async def test_the_second_signal_cuts_what_does_not_hold_back(tmp_path: Path) -> None:
    async with edge(tmp_path, "holds_back") as command:
        command.signal(signal.SIGTERM)
        await command.says("draining")
        command.signal(signal.SIGINT)
        assert await command.ends() == te.ExitCode.CUT
    assert json.loads(command.stderr.splitlines()[-1])["event"] == "stopped"


async def test_a_slow_decision_is_a_warning(tmp_path: Path) -> None:
    async with edge(tmp_path, "blocks") as command:
        await trio.Path(tmp_path / "go on").touch()
        said = await line(command, "a stage is slow")
        assert (said["stage"], said["level"]) == ("blocks", "warning")
        assert said["ms"] > 50


NO_THREADS = """
from trioedge.process import signals

def refuse(*_):
    raise RuntimeError("can't start new thread")

signals.start_new_thread = refuse
"""


async def test_signals_do_their_work_where_the_system_has_no_thread_left(tmp_path: Path) -> None:
    async with edge(tmp_path, "holds_back", shield=True, program=NO_THREADS) as command:
        command.signal(signal.SIGTERM)
        await command.says("draining")
        command.signal(signal.SIGINT)
        command.signal(signal.SIGQUIT)
        assert await command.ends() == te.ExitCode.KILLED
    assert "Traceback" not in command.stderr


async def test_the_end_waits_for_threads_of_signals_that_the_system_starts_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread that begins while the interpreter ends crashes the process."""
    steps: list[str] = []

    def start_late(function: Callable[..., object], arguments: tuple[object, ...]) -> None:
        def begin() -> None:
            time.sleep(0.1)
            function(*arguments)
            steps.append("ended")

        Thread(target=begin).start()

    monkeypatch.setattr(signals, "start_new_thread", start_late)
    stops = StopSignals(lambda: steps.append("drain"), lambda: steps.append("cut"), lambda: 0, 0)
    for _ in range(2):
        stops.on_signal(signal.SIGTERM, None)
    await trio.testing.wait_all_tasks_blocked()
    began = time.monotonic()
    stops.close()
    assert time.monotonic() - began < PATIENCE_SECONDS, "threads that wait for an effect end at once"
    time.sleep(0.01)  # noqa: ASYNC251 - nothing else runs
    assert steps == ["drain", "cut", "ended", "ended"]
