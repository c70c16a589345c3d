"""A file beside a process that serves it, under a fake clock."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from trioedge.config.edge_file import EdgeFile, read_edge_file
from trioedge.process import live_file
from trioedge.process.live_file import LiveFile

TEXT = """
[process]
log_level = "info"
[edge.a]
listen = "tcp://127.0.0.1:0"
stages = [{ use = "session-gate", rate = 5 }]
endpoint = { use = "forward", to = "tcp://127.0.0.1:1" }
"""


class Served:
    """A file that is served, with the log levels that were set."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_text(TEXT)
        self.levels: list[str] = []
        self.live = LiveFile(read_edge_file(path), self.levels.append)

    async def write(self, text: str) -> list[Any]:
        """Replace the file, and give the lines that are logged within some seconds."""
        with capture_logs() as logs:
            other = self.path.with_suffix(".new")
            other.write_text(text)
            other.rename(self.path)
            await trio.sleep(5)
        return logs


@pytest.fixture
async def served(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> Served:
    """A file that is served; a test must name `autojump_clock` too, or it waits by the real one."""

    async def run_sync(function: Callable[[], Any], *, abandon_on_cancel: bool) -> Any:
        assert abandon_on_cancel, "a cancel waits for no disk"
        await trio.lowlevel.checkpoint()
        return function()

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)  # the clock would not wait for a thread
    served = Served(tmp_path / "edge.toml")
    nursery.start_soon(served.live.run)
    await trio.testing.wait_all_tasks_blocked()
    return served


async def test_the_log_level_is_applied(served: Served, autojump_clock: trio.testing.MockClock) -> None:
    (line,) = await served.write(TEXT.replace('"info"', '"debug"'))
    assert (line["event"], line["to"], served.levels) == ("log level changed", "debug", ["debug"])
    (line,) = await served.write(TEXT)
    assert served.levels == ["debug", "info"]


async def test_a_key_that_needs_a_restart_is_named_and_not_applied(
    served: Served, autojump_clock: trio.testing.MockClock
) -> None:
    changed = TEXT.replace("rate = 5", "rate = 6").replace('"info"', '"error"').replace("0.1:0", "0.1:9")
    level, restart = await served.write(changed)
    assert level["to"] == "error"
    assert restart["event"] == "edge file: these keys need a restart, and are not applied"
    assert restart["keys"] == ["edge.a.listen", "edge.a.stages[0].rate"]
    again = await served.write(changed.replace('"error"', '"warning"'))
    assert [line.get("keys") for line in again] == [None, ["edge.a.listen", "edge.a.stages[0].rate"]]
    assert [line.get("keys") for line in await served.write(TEXT)] == [None]  # as it is served


async def test_a_list_of_another_file_that_has_changed_needs_a_restart(
    served: Served, autojump_clock: trio.testing.MockClock
) -> None:
    drop = served.path.with_name("drop.txt")
    drop.write_text("192.0.2.1\n")
    match = '{ use = "source-match", reject = { file = "drop.txt" } }'
    served.path.write_text(TEXT.replace("stages = [", f"stages = [{match}, "))
    live = LiveFile(read_edge_file(served.path), served.levels.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(live.run)
        await trio.sleep(5)
        with capture_logs() as logs:
            drop.write_text("192.0.2.2\n")
            await trio.sleep(5)
            live.reload()
            await trio.sleep(5)
            drop.unlink()
            await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert [line.get("keys") for line in logs] == [["edge.a.stages[0].reject.file"]] * 2 + [None]
    assert logs[2]["event"] == "edge file has faults, and changes nothing"


@pytest.mark.parametrize("bad", ["rate = 0", "rat = 5", "rate = "])
async def test_a_bad_file_changes_nothing(served: Served, autojump_clock: trio.testing.MockClock, bad: str) -> None:
    (line,) = await served.write(TEXT.replace("rate = 5", bad).replace('"info"', '"debug"'))
    assert (line["event"], line["log_level"]) == ("edge file has faults, and changes nothing", "error")
    assert len(line["faults"]) == 1
    assert line["faults"][0].startswith(str(served.path))
    assert served.levels == []
    (line,) = await served.write(TEXT.replace('"info"', '"debug"'))
    assert served.levels == ["debug"]


async def test_an_exception_of_a_new_plugin_is_logged_and_changes_nothing(
    served: Served, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_edge_file(*_: object) -> EdgeFile:
        raise ZeroDivisionError("in a plugin")

    with monkeypatch.context() as patch:
        patch.setattr(live_file, "read_edge_file", read_edge_file)
        (line,) = await served.write(TEXT)
    assert (line["event"], line["log_level"]) == ("edge file cannot be read, and changes nothing", "critical")
    assert "ZeroDivisionError: in a plugin" in line["traceback"]
    await served.write(TEXT.replace('"info"', '"debug"'))
    assert served.levels == ["debug"]


async def test_a_file_that_becomes_a_fifo_changes_nothing_and_may_come_back(
    served: Served, autojump_clock: trio.testing.MockClock
) -> None:
    with capture_logs() as logs:
        served.path.unlink()
        os.mkfifo(served.path)
        await trio.sleep(5)
    assert [line["faults"] for line in logs] == [[f"{served.path} cannot be read: it is no regular file"]]
    assert [line["event"] for line in await served.write(TEXT.replace('"info"', '"debug"'))] == ["log level changed"]


async def test_a_file_that_is_gone_changes_nothing_and_may_come_back(
    served: Served, autojump_clock: trio.testing.MockClock
) -> None:
    with capture_logs() as logs:
        served.path.unlink()
        await trio.sleep(5)
    assert [line["event"] for line in logs] == ["edge file is gone, and changes nothing"]
    assert [line["event"] for line in await served.write(TEXT.replace('"info"', '"debug"'))] == ["log level changed"]


async def test_a_file_without_a_table_process_has_the_log_level_that_it_leaves_out(
    served: Served, autojump_clock: trio.testing.MockClock
) -> None:
    without = TEXT.replace('[process]\nlog_level = "info"\n', "")
    assert await served.write(without) == []
    for _ in range(2):
        with capture_logs() as logs:
            served.live.reload()
            await trio.sleep(5)
        assert [line["event"] for line in logs] == ["edge file is unchanged"]
    lines = await served.write(TEXT.replace('"info"', '"debug"')) + await served.write(without)
    assert [line["event"] for line in lines] == ["log level changed", "log level changed"]
    assert served.levels == ["debug", "info"]


async def test_a_reload_of_an_unchanged_file_says_so(served: Served, autojump_clock: trio.testing.MockClock) -> None:
    with capture_logs() as logs:
        served.live.reload()
        await trio.sleep(5)
    assert [line["event"] for line in logs] == ["edge file is unchanged"]


def cancelled_after(seconds: float) -> Callable[[Path], None]:
    async def main(path: Path) -> None:
        served = Served(path)
        with trio.move_on_after(seconds) as scope:
            served.live.reload()
            await served.live.run()
        assert scope.cancelled_caught

    return lambda path: trio.run(main, path, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.55, 1.0, 100.0])
def test_a_cancel_ends_it_whenever_it_comes(tmp_path: Path, seconds: float) -> None:
    cancelled_after(seconds)(tmp_path / "edge.toml")
