"""FileControl where no child process can read: in a frozen program, and in one within a zip file."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import trio

import trioedge
from tests.support.fake_link import FakeLink
from tests.support.files import replace
from trioedge.control import file as module
from trioedge.control import toml_lines, watched_file
from trioedge.control.file import FileControl
from trioedge.services.policy import Policy, Settings

SHOP, CAFE = "[services.shop]\nsession_rate = 20\n", "[services.cafe]\n"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of one service, which is looked at often."""
    for name in ("LOOK_SECONDS", "SETTLED_SECONDS", "DOUBT_SECONDS"):
        monkeypatch.setattr(watched_file, name, 0.01)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    path = tmp_path / "services.toml"
    path.write_text(SHOP)
    return path


def freeze(monkeypatch: pytest.MonkeyPatch) -> None:
    """As PyInstaller does it: the executable is the program, and would start itself again."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)


def put_into_a_zip_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toml_lines, "__file__", "/app.pyz/trioedge/control/toml_lines.py")


def embed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an interpreter within another program: it does not know an executable of its own."""
    monkeypatch.setattr(sys, "executable", "")


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*arguments: Any, **more: Any) -> trio.Process:
        raise AssertionError(f"{arguments} was started")

    monkeypatch.setattr(trio.lowlevel, "open_process", refused)


@pytest.mark.parametrize("program", [freeze, put_into_a_zip_file, embed])
async def test_a_change_is_applied_and_no_program_is_started(
    path: Path, program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(monkeypatch)
    monkeypatch.setattr(module, "CHUNK_BYTES", 7)
    link = FakeLink()
    async with trio.open_nursery() as nursery:
        await nursery.start(FileControl(path).run, link)
        replace(path, SHOP + CAFE)
        await link.until(lambda link: link.reaches)
        assert link.services == {"shop": Settings(Policy(session_rate=20)), "cafe": Settings()}
        replace(path, "[services.shop\n")
        await link.until(lambda link: link.errors)
        assert "is not TOML" in link.errors[0]
        replace(path, CAFE)
        await link.until(lambda link: link.services == {"cafe": Settings()})
        nursery.cancel_scope.cancel()


async def test_a_disk_that_is_gone_is_given_up_and_the_file_read_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(monkeypatch)
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.05)
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    link = FakeLink()
    async with trio.open_nursery() as nursery:
        await nursery.start(FileControl(path).run, link)
        pipe.rename(path)
        await link.until(lambda link: link.errors)
        assert link.errors[0] == f"{path} cannot be read now: its reader gave nothing for 0.05 s"
        monkeypatch.setattr(module, "SILENT_SECONDS", 10)
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))  # the threads that wait for a writer end
        replace(path, CAFE)
        await link.until(lambda link: link.services == {"cafe": Settings()})
        nursery.cancel_scope.cancel()


async def test_a_cancel_abandons_the_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    freeze(monkeypatch)
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    link, began = FakeLink(), trio.Event()
    run_sync = trio.to_thread.run_sync

    async def noted(*arguments: Any, **more: Any) -> Any:
        began.set()
        return await run_sync(*arguments, **more)

    monkeypatch.setattr(trio.to_thread, "run_sync", noted)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(FileControl(path).run, link)
            pipe.rename(path)
            await began.wait()
            nursery.cancel_scope.cancel()
    assert (link.reaches, link.errors) == (0, [])
    os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


PROGRAM = """
import sys, trio
from pathlib import Path
from trioedge.control import toml_lines, watched_file
from trioedge.control.file import FileControl
from trioedge.services.snapshot import Plan
from trioedge.services.stage_keys import NO_KEYS

watched_file.LOOK_SECONDS = watched_file.SETTLED_SECONDS = 0.01
assert "app.zip" in toml_lines.__file__

class Link:
    stage_keys = NO_KEYS
    async def apply(self, snapshot):
        print(*snapshot.services, flush=True)
        return Plan()
    def failed(self, error):
        sys.exit(error)
    def reached(self):
        nursery.cancel_scope.cancel()

async def main():
    global nursery
    path = Path(sys.argv[1])
    async with trio.open_nursery() as nursery:
        await nursery.start(FileControl(path).run, Link())
        path.write_text(path.read_text() + "[services.cafe]")

trio.run(main)
"""


def test_a_real_zip_file_has_its_changes_applied(path: Path) -> None:
    """Takes a second, because another interpreter imports the package."""
    packed, root = path.with_name("app.zip"), Path(trioedge.__file__).parent
    with zipfile.ZipFile(packed, "w") as file:
        for each in root.rglob("*.py"):
            file.write(each, each.relative_to(root.parent))
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, path], env=os.environ | {"PYTHONPATH": str(packed)}, cwd=path.parent,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr, run.stdout) == (0, "", "shop\ncafe\n")
