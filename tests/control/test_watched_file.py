"""A watched file under a clock that jumps: what counts as a change, and how soon it is noticed."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from trioedge.control.watched_file import DOUBT_SECONDS, LOOK_SECONDS, SETTLED_SECONDS, WatchedFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file in a directory of its own."""
    directory = tmp_path / "etc"
    directory.mkdir()
    path = directory / "services.toml"
    path.write_text("one")
    return path


async def stays_the_same(file: WatchedFile, seconds: float = 3.0) -> bool:
    with trio.move_on_after(seconds):
        await file.changed()
        return False
    return True


def append(path: Path) -> None:
    """Write in place. The size tells, because two writes may fall into one tick of the kernel's clock."""
    with path.open("a") as file:
        file.write("x")


def text(path: Path) -> str:
    return path.read_text()


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    new = path.with_name("new")
    new.write_text("two")
    new.rename(path)


def point(link: Path, target: Path | str) -> None:
    """Make a link point at `target`, by a rename, so that there is a link at every moment."""
    new = link.with_name("link")
    new.symlink_to(target)
    new.rename(link)


def replace_directory(path: Path) -> None:
    new = path.parent.with_name("new")
    shutil.copytree(path.parent, new)
    shutil.rmtree(path.parent)
    new.rename(path.parent)


def touch(path: Path) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def allow_writing_to_all(path: Path) -> None:
    """Change the permissions and nothing else, in a later tick of the kernel's clock than the last change."""
    other, before = path.with_name("other"), path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == before:
        other.touch()
        if other.stat().st_ctime_ns > before:
            path.chmod(0o666)


@pytest.mark.parametrize("change", [append, replace, touch, replace_directory])
async def test_each_kind_of_change_is_noticed_once(
    path: Path, change: Callable[[Path], None], autojump_clock: MockClock
) -> None:
    file = WatchedFile(path)
    for _ in range(2):
        change(path)
        assert await file.changed()
    assert await stays_the_same(file)


@pytest.mark.parametrize("moment", [0.0, 0.1, LOOK_SECONDS / 2, LOOK_SECONDS - 0.001, LOOK_SECONDS, 100.3])
async def test_a_change_is_noticed_within_a_look_and_the_time_to_settle(
    path: Path, moment: float, autojump_clock: MockClock
) -> None:
    file = WatchedFile(path)

    async def change() -> None:
        await trio.sleep(moment)
        append(path)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(change)
        assert await file.changed()
    took = trio.current_time() - moment
    assert SETTLED_SECONDS - 1e-9 <= took <= LOOK_SECONDS + SETTLED_SECONDS + 1e-9


async def test_a_file_that_stays_the_same_costs_two_looks_a_second(
    path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    file, looks, stat = WatchedFile(path), 0, Path.stat

    def counted(self: Path) -> os.stat_result:
        nonlocal looks
        looks += 1
        return stat(self)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", counted)
        assert await stays_the_same(file, 60.1)
    assert looks == 121


async def test_a_file_that_is_removed_and_written_again_is_noticed_both_times(
    path: Path, autojump_clock: MockClock
) -> None:
    file = WatchedFile(path)
    remove(path)
    assert not await file.changed()
    assert await stays_the_same(file)
    replace(path)
    assert await file.changed()


async def test_a_file_that_is_missing_at_first_is_noticed_when_it_is_written(
    path: Path, autojump_clock: MockClock
) -> None:
    remove(path)
    file = WatchedFile(path)
    assert await stays_the_same(file)
    replace(path)
    assert await file.changed()


async def test_other_files_of_its_directory_are_no_change(path: Path, autojump_clock: MockClock) -> None:
    file = WatchedFile(path)
    append(path.with_name("other"))
    replace(path.with_name("another"))
    assert await stays_the_same(file)


async def test_a_file_that_is_written_in_pieces_counts_as_changed_after_the_last(
    path: Path, autojump_clock: MockClock
) -> None:
    file, pieces = WatchedFile(path), 0

    async def write_slowly() -> None:
        nonlocal pieces
        for _ in range(15):
            append(path)
            pieces += 1
            await trio.sleep(SETTLED_SECONDS / 2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_slowly)
        assert await file.changed()
        assert pieces == 15
    assert await stays_the_same(file)


async def test_a_mounted_directory_that_is_turned_over_is_a_change(path: Path, autojump_clock: MockClock) -> None:
    """As Kubernetes mounts one: the file is a link through a link, and the second link is replaced."""
    for version in ("..v1", "..v2", "..v3"):
        path.with_name(version).mkdir()
        (path.with_name(version) / path.name).write_text(version)
    data = path.with_name("..data")
    point(data, "..v1")
    point(path, Path("..data") / path.name)
    file = WatchedFile(path)
    for version in ("..v2", "..v3"):
        point(data, version)
        assert await file.changed()
        assert text(path) == version
    append(path)
    assert await file.changed(), "a write where the link points now is a change as well"


@pytest.mark.parametrize("change", [append, replace, touch])
async def test_a_change_of_the_target_of_two_links_is_a_change(
    path: Path, tmp_path: Path, change: Callable[[Path], None], autojump_clock: MockClock
) -> None:
    target = tmp_path / "elsewhere" / "target"
    target.parent.mkdir()
    target.write_text("one")
    between = tmp_path / "links" / "between"
    between.parent.mkdir()
    point(between, target.parent)
    point(path, between / "target")
    file = WatchedFile(path)
    for _ in range(2):
        change(target)
        assert await file.changed()
    point(between, path.parent)
    assert not await file.changed(), "the link points at no file now"
    append(path.parent / "target")
    assert await file.changed()


async def test_a_file_that_is_written_under_another_name_is_a_change(
    path: Path, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """As a file is that was mounted on its own: nothing happens in its directory."""
    other = tmp_path / "other"
    other.hardlink_to(path)
    file = WatchedFile(path)
    for _ in range(2):
        append(other)
        assert await file.changed()


async def test_a_directory_that_is_removed_and_made_again_is_noticed(path: Path, autojump_clock: MockClock) -> None:
    file = WatchedFile(path)
    shutil.rmtree(path.parent)
    assert not await file.changed()
    path.parent.mkdir()
    assert await stays_the_same(file), "an empty directory has no file yet"
    append(path)
    assert await file.changed()


async def test_links_in_a_circle_are_no_file(path: Path, autojump_clock: MockClock) -> None:
    point(path, "other")
    point(path.with_name("other"), path.name)
    file = WatchedFile(path)
    assert await stays_the_same(file)
    remove(path)
    append(path)
    assert await file.changed()


async def test_a_path_below_a_file_is_no_file(path: Path, autojump_clock: MockClock) -> None:
    file = WatchedFile(path / "services.toml")
    assert await stays_the_same(file)
    replace_by_directory(path)
    append(path / "services.toml")
    assert await file.changed()


async def test_a_directory_in_the_place_of_the_file_is_a_change(path: Path, autojump_clock: MockClock) -> None:
    """The reader of the file says what is wrong with it."""
    file = WatchedFile(path)
    replace_by_directory(path)
    assert await file.changed()


async def test_permissions_that_change_are_a_change(path: Path, autojump_clock: MockClock) -> None:
    """A file that could not be read may be readable now."""
    file = WatchedFile(path)
    allow_writing_to_all(path)
    assert await file.changed()


async def test_a_relative_path_begins_where_the_process_was(
    path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.chdir(path.parent)
    file = WatchedFile(Path(path.name))
    monkeypatch.undo()
    append(path)
    assert await file.changed()


async def test_a_file_that_is_forgotten_changes_at_once(path: Path, autojump_clock: MockClock) -> None:
    file = WatchedFile(path)
    file.forget()
    assert await file.changed()
    assert trio.current_time() == pytest.approx(SETTLED_SECONDS)
    remove(path)
    assert not await file.changed()
    file.forget()
    assert not await file.changed(), "a file that is missing is forgotten in the same way"


@pytest.mark.parametrize("moment", [0.0, LOOK_SECONDS - 0.01, LOOK_SECONDS + SETTLED_SECONDS / 2])
async def test_a_cancel_takes_no_time_and_leaves_the_change_to_the_next_call(
    path: Path, moment: float, autojump_clock: MockClock
) -> None:
    file = WatchedFile(path)

    async def change() -> None:
        await trio.sleep(LOOK_SECONDS - 0.02)
        append(path)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(change)
        with trio.move_on_after(moment) as scope:
            await file.changed()
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(moment)
        assert await file.changed()


def shell(command: str) -> Callable[[Path], None]:
    """Change the file as a person does, with `$1` for its path."""

    def change(path: Path) -> None:
        subprocess.run(["/bin/sh", "-ec", command, "sh", path], check=True, timeout=20)

    change.__name__ = command
    return change


def back_up_and_write(path: Path) -> None:
    """Write as vim does: the file becomes the backup, and a new one is written under its name."""
    path.rename(path.with_name("services.toml~"))
    path.write_text("two")
    path.with_name("services.toml~").unlink()


RENAMES = [
    replace,
    replace_directory,
    back_up_and_write,
    shell('sed -i s/o/0/ "$1"'),
    shell('cp "$1" new; mv new "$1"'),
]
IN_PLACE = [append, shell('echo more >>"$1"'), shell('printf two >"$1"'), shell('cat /etc/passwd >"$1"'), touch]
SHORTER = [shell(': >"$1"'), shell('printf 1 >"$1"'), lambda path: os.truncate(path, 2)]


@pytest.mark.parametrize("change", RENAMES)
async def test_a_file_that_was_renamed_into_its_place_is_whole_at_once(
    path: Path, change: Callable[[Path], None], autojump_clock: MockClock
) -> None:
    file = WatchedFile(path)
    for _ in range(2):
        change(path)
        began = trio.current_time()
        assert await file.changed()
        assert await file.stays()
        assert trio.current_time() - began <= LOOK_SECONDS + SETTLED_SECONDS + 1e-9


@pytest.mark.parametrize("change", IN_PLACE)
async def test_a_file_that_was_written_in_place_is_whole_once_it_stays_the_same(
    path: Path, change: Callable[[Path], None], autojump_clock: MockClock
) -> None:
    file = WatchedFile(path)
    change(path)
    assert await file.changed()
    assert trio.current_time() <= LOOK_SECONDS + SETTLED_SECONDS + 1e-9, "the change itself is noticed as soon as any"
    began = trio.current_time()
    assert await file.stays()
    assert trio.current_time() - began == pytest.approx(DOUBT_SECONDS)
    assert await file.stays()
    assert trio.current_time() - began == pytest.approx(DOUBT_SECONDS), "and it is not doubted twice"


@pytest.mark.parametrize("change", SHORTER)
async def test_a_file_that_was_made_shorter_is_noticed_once_it_stays_the_same(
    path: Path, change: Callable[[Path], None], autojump_clock: MockClock
) -> None:
    file = WatchedFile(path)
    change(path)
    assert await file.changed()
    assert trio.current_time() == pytest.approx(DOUBT_SECONDS, abs=LOOK_SECONDS)
    began = trio.current_time()
    assert await file.stays()
    assert trio.current_time() == began


@pytest.mark.parametrize("pause", [SETTLED_SECONDS / 2, 0.5, DOUBT_SECONDS - 0.01])
async def test_a_file_that_is_written_in_halves_is_noticed_with_the_second(
    path: Path, pause: float, autojump_clock: MockClock
) -> None:
    shell('printf "a long text of former times" >"$1"')(path)
    file = WatchedFile(path)

    async def write_halves() -> None:
        shell('printf "a long text " >"$1"')(path)
        await trio.sleep(pause)
        shell('printf "of these present times" >>"$1"')(path)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_halves)
        assert await file.changed()
        assert text(path) == "a long text of these present times"
    assert trio.current_time() - pause <= LOOK_SECONDS + SETTLED_SECONDS + 1e-9


async def test_a_file_that_changes_while_it_is_doubted_is_not_whole_and_changes_again(
    path: Path, autojump_clock: MockClock
) -> None:
    file = WatchedFile(path)
    append(path)
    assert await file.changed()

    async def write_on() -> None:
        await trio.sleep(DOUBT_SECONDS - 0.1)
        append(path)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_on)
        assert not await file.stays()
    began = trio.current_time()
    assert await file.changed()
    assert trio.current_time() - began == pytest.approx(SETTLED_SECONDS)
    assert await file.stays()


async def test_a_file_that_was_gone_is_doubted_and_one_that_is_read_again_is_believed_as_before(
    path: Path, autojump_clock: MockClock
) -> None:
    file = WatchedFile(path)
    replace(path)
    assert await file.changed()
    file.forget()
    assert await file.changed()
    began = trio.current_time()
    assert await file.stays()
    assert trio.current_time() == began
    remove(path)
    assert not await file.changed()
    append(path)
    assert await file.changed()
    began = trio.current_time()
    assert await file.stays()
    assert trio.current_time() - began == pytest.approx(DOUBT_SECONDS)


@pytest.mark.parametrize("moment", [0.0, LOOK_SECONDS / 2, DOUBT_SECONDS - 0.01])
async def test_a_cancel_while_a_file_is_doubted_leaves_the_doubt(
    path: Path, moment: float, autojump_clock: MockClock
) -> None:
    file = WatchedFile(path)
    append(path)
    assert await file.changed()
    with trio.move_on_after(moment) as scope:
        await file.stays()
    assert scope.cancelled_caught
    began = trio.current_time()
    assert await file.stays()
    assert trio.current_time() - began == pytest.approx(DOUBT_SECONDS)
