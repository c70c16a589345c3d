import errno
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing

from trioedge.control import watched_file as module
from trioedge.control.watched_file import WatchedFile

PATIENCE = 3
"""Seconds after which a test has failed, and less than what lies between two looks."""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in a directory of its own, whose changes are noticed soon."""
    monkeypatch.setattr(module, "STEP_SECONDS", 0.01)
    monkeypatch.setattr(module, "SETTLED_SECONDS", 0.01)
    monkeypatch.setattr(module, "UNWATCHED_SECONDS", 0.01)
    directory = tmp_path / "etc"
    directory.mkdir()
    path = directory / "services.toml"
    path.write_text("one")
    return path


@pytest.fixture
def log() -> Iterator[list[MutableMapping[str, object]]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


@asynccontextmanager
async def watched(path: Path) -> AsyncIterator[WatchedFile]:
    """A file that the system watches by now."""
    file = WatchedFile(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.run)
        await trio.testing.wait_all_tasks_blocked()
        assert await stays(file, 0.005), "the first look is over"
        with trio.fail_after(PATIENCE):
            yield file
        nursery.cancel_scope.cancel()


async def stays(file: WatchedFile, seconds: float = 0.06) -> bool:
    with trio.move_on_after(seconds):
        await file.changed()
        return False
    return True


async def change_of(file: WatchedFile) -> bool:
    """Wait for a change; no look is left over for the next one, which has to be noticed anew."""
    there = await file.changed()
    assert await stays(file, 0.005)
    return there


def write(path: Path) -> None:
    path.write_text("two")


def text(path: Path) -> str:
    return path.read_text()


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    new = path.with_name("new")
    new.write_text("two")
    new.rename(path)


def link(path: Path, target: Path | str) -> None:
    """Let a link point somewhere, without a moment in which there is none."""
    new = path.with_name("link")
    new.symlink_to(target)
    new.rename(path)


def move_directory(path: Path) -> None:
    new = path.parent.with_name("new")
    shutil.copytree(path.parent, new)
    path.parent.rename(path.parent.with_name("old"))
    new.rename(path.parent)


def touch(path: Path) -> None:
    os.utime(path)


@pytest.mark.parametrize("change", [write, replace, touch, move_directory])
async def test_a_change_is_noticed_without_a_look(path: Path, change: Callable[[Path], None]) -> None:
    async with watched(path) as file:
        for _ in range(2):
            shutil.rmtree(path.parent.with_name("old"), ignore_errors=True)
            change(path)
            assert await change_of(file)
        assert await stays(file)


async def test_a_file_that_goes_and_comes_is_noticed(path: Path) -> None:
    async with watched(path) as file:
        remove(path)
        assert not await change_of(file)
        write(path)
        assert await change_of(file)


async def test_what_changed_before_it_was_watched_is_noticed(path: Path) -> None:
    file = WatchedFile(path)
    write(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.run)
        with trio.fail_after(PATIENCE):
            assert await change_of(file)
        nursery.cancel_scope.cancel()


async def test_other_files_are_no_change(path: Path) -> None:
    async with watched(path) as file:
        write(path.with_name("other"))
        replace(path.with_name("another"))
        assert await stays(file)


async def test_a_busy_directory_delays_nothing(path: Path) -> None:
    async with watched(path) as file, trio.open_nursery() as nursery:

        async def busy() -> None:
            for number in range(1000):
                path.with_name(f"other{number}").touch()
                await trio.sleep(0.002)

        nursery.start_soon(busy)
        await trio.sleep(0.03)
        write(path)
        with trio.fail_after(0.5):
            assert await change_of(file)
        nursery.cancel_scope.cancel()


async def test_a_file_that_is_written_to_is_left_alone_until_it_is_not(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLED_SECONDS", 0.06)
    written = 0

    async def write_slowly() -> None:
        nonlocal written
        with path.open("a") as file:
            while written < 15:
                file.write("x")
                file.flush()
                written += 1
                await trio.sleep(0.01)

    async with watched(path) as file, trio.open_nursery() as nursery:
        nursery.start_soon(write_slowly)
        assert await change_of(file)
        assert written == 15


async def test_a_mounted_directory_is_turned_over(path: Path) -> None:
    """As Kubernetes mounts one: the file is a link through a link, and that one is replaced."""
    for version in ("..v1", "..v2", "..v3"):
        path.with_name(version).mkdir()
        (path.with_name(version) / path.name).write_text(version)
    data = path.with_name("..data")
    link(data, "..v1")
    link(path, Path("..data") / path.name)
    async with watched(path) as file:
        for version in ("..v2", "..v3"):
            link(data, version)
            assert await change_of(file)
            assert text(path) == version
        write(path)
        assert await change_of(file), "what is written where the link points now counts as well"


@pytest.mark.parametrize("change", [write, replace, touch])
async def test_what_a_link_points_to_changes(path: Path, tmp_path: Path, change: Callable[[Path], None]) -> None:
    target = tmp_path / "elsewhere" / "target"
    target.parent.mkdir()
    target.write_text("one")
    between = tmp_path / "links" / "between"
    between.parent.mkdir()
    link(between, target.parent)
    link(path, between / "target")
    async with watched(path) as file:
        for _ in range(2):
            change(target)
            assert await change_of(file)
        link(between, path.parent)
        assert not await change_of(file), "there is no such file"
        write(path.parent / "target")
        assert await change_of(file)


async def test_a_file_that_is_written_under_another_name_is_noticed(path: Path, tmp_path: Path) -> None:
    """As one is that was mounted on its own: nothing happens in its directory."""
    other = tmp_path / "other"
    other.hardlink_to(path)
    async with watched(path) as file:
        for _ in range(2):
            write(other)
            assert await change_of(file)


async def test_a_directory_that_goes_and_comes_is_noticed(path: Path, log: list[MutableMapping[str, object]]) -> None:
    async with watched(path) as file:
        shutil.rmtree(path.parent)
        assert not await change_of(file)
        await trio.sleep(0.03)
        path.parent.mkdir()
        assert await stays(file, 0.03)
        write(path)
        assert await change_of(file)
        replace(path)
        assert await change_of(file)
    assert log == []


async def test_links_in_a_circle_are_no_file(path: Path, log: list[MutableMapping[str, object]]) -> None:
    link(path, "other")
    link(path.with_name("other"), path.name)
    async with watched(path) as file:
        assert await stays(file)
        remove(path)
        write(path)
        assert await change_of(file)
    assert log == []


async def test_a_relative_path_stays_where_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    async with watched(Path(path.name)) as file:
        monkeypatch.undo()
        write(path)
        assert await change_of(file)


async def test_what_is_forgotten_changes_at_once(path: Path) -> None:
    async with watched(path) as file:
        assert await stays(file)
        file.forget()
        assert await change_of(file)
        remove(path)
        assert not await change_of(file)
        file.forget()
        assert not await change_of(file)


async def test_where_the_system_says_nothing_the_file_is_looked_at(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(WatchedFile, "_places", lambda _: {path.parent.parent: ()})
    async with watched(path) as file:
        assert await stays(file)
        write(path)
        assert await change_of(file)


class NoWatch:
    """In place of watchfiles, out of everything."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.asked = 0

    async def __call__(self, *paths: Path, **_: object) -> AsyncIterator[set[object]]:
        self.asked += 1
        raise self._error
        yield  # which makes it a generator


@pytest.mark.parametrize(
    "error",
    [
        OSError("OS file watch limit reached."),
        OSError(errno.EMFILE, "Too many open files"),
        RuntimeError("error creating watcher"),
        ExceptionGroup("unhandled errors in a TaskGroup", [RuntimeError("error in underlying watcher")]),
    ],
    ids=["watches", "descriptors", "instances", "later"],
)
async def test_without_a_watch_it_looks_and_says_so_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, log: list[MutableMapping[str, object]]
) -> None:
    monkeypatch.setattr("trioedge.telemetry.observer.NOTICE_SECONDS", 0)
    monkeypatch.setattr("watchfiles.awatch", no_watch := NoWatch(error))
    async with watched(path) as file:
        write(path)
        assert await change_of(file)
        assert await stays(file)
    assert no_watch.asked > 3, "there may be a watch again"
    what = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
    assert log == [
        {
            "event": "file cannot be watched",
            "log_level": "warning",
            "path": str(path),
            "looked_at": "every 0.01 s",
            "error": str(what),
        }
    ]


async def test_a_name_that_is_no_text_ends_no_watch(path: Path) -> None:
    """watchfiles raises out of its thread for one."""
    async with watched(path) as file:
        for _ in range(2):
            write(Path(os.fsdecode(b"%s/\xff" % bytes(path.parent))))
            assert await stays(file, 0.05)
            write(path)
            assert await change_of(file)


async def test_a_cancel_takes_a_step_at_most(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    async with watched(path):
        began = trio.current_time()
    assert trio.current_time() - began < 3 * module.STEP_SECONDS


async def test_a_cancel_of_whoever_waits_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED_SECONDS", 0.03)
    async with watched(path) as file:
        write(path)
        await trio.sleep(0.05)
        assert await stays(file, 0.01), "it was looked at, and has not settled yet"
        with trio.CancelScope() as scope:
            scope.cancel()
            await file.changed()
        assert scope.cancelled_caught
        assert await change_of(file)
