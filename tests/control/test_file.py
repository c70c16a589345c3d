import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.support.fake_link import FakeLink, linked
from tests.support.files import replace, write
from tests.support.slow_link import SlowLink
from trioedge.control import file as module
from trioedge.control import watched_file
from trioedge.control.file import FileControl, read_services
from trioedge.errors import MAX_FAULTS, ConfigurationError
from trioedge.services.control_plane import ChecksDevices, ControlPlane, SnapshotError, TakesReports
from trioedge.services.policy import Policy, Settings
from trioedge.services.snapshot import Plan, Snapshot

SHOP = "[services.shop]\nsession_rate = 20\n"
CAFE = "[services.cafe]\n"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of one service, which is looked at often."""
    monkeypatch.setattr(watched_file, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(watched_file, "SETTLED_SECONDS", 0.01)
    monkeypatch.setattr(watched_file, "DOUBT_SECONDS", 0.03)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    path = tmp_path / "services.toml"
    path.write_text(SHOP)
    return path


def faults_of(path: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read_services(path)
    return str(caught.value).removeprefix(f"{path}: ").split("; ")


def test_a_file_is_read_with_all_its_services(path: Path) -> None:
    path.write_text(SHOP + CAFE + '[services."a b"]\naccept = ["10.0.0.0/8"]\n')
    snapshot = read_services(path)
    assert snapshot.full
    assert snapshot.version
    assert snapshot.services == {
        "shop": Settings(Policy(session_rate=20)),
        "cafe": Settings(),
        "a b": Settings(Policy(accept=("10.0.0.0/8",))),
    }


def test_a_file_with_six_faults_names_all_six(path: Path) -> None:
    path.write_text(
        "bogus = 1\n[services]\nbank = 3\n[services.shop]\nsession_rate = 0\nsesion_burst = 3\n"
        '[services.cafe]\naccept = ["10.0.0.0/8", "nowhere"]\nreject = ["10.0.0.0/99"]\n'
    )
    assert [fault.partition(" ")[0] for fault in faults_of(path)] == [
        "has",
        "services.bank",
        "services.shop",
        "services.shop.session_rate",
        "services.cafe.accept[1]",
        "services.cafe.reject[0]",
    ]


def test_of_a_thousand_faults_the_first_hundred_are_named_and_the_rest_counted(path: Path) -> None:
    entries = ", ".join(['"nowhere"'] * 1000)
    path.write_text(f"[services.shop]\naccept = [{entries}]\n")
    faults = faults_of(path)
    assert len(faults) == MAX_FAULTS + 1
    assert faults[-1] == f"and {1000 - MAX_FAULTS} more"
    path.write_text(f"[services.bank]\nsession_rate = 0\n[services.shop]\naccept = [{entries}]\n")
    assert faults_of(path)[0].startswith("services.bank.session_rate = 0"), "and those within entries follow"
    assert faults_of(path)[-1] == f"and {1001 - MAX_FAULTS} more"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml: cannot be read: No such file or directory"):
        read_services(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("path", [5, None, ["services.toml"]])
def test_a_path_that_is_none_is_refused_at_once(path: Any) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        FileControl(path)
    assert str(refusal.value) == f"FileControl({path!r}) must be the path of a file, as in 'services.toml'"


async def test_the_file_is_applied_before_the_edge_starts(path: Path) -> None:
    async with linked(FileControl(path)) as link:
        assert link.snapshots == [read_services(path)]
    control = FileControl(path)
    assert isinstance(control, ControlPlane)
    assert not isinstance(control, ChecksDevices)
    assert not isinstance(control, TakesReports)
    assert repr(control) == f"FileControl({str(path)!r})"


@pytest.mark.parametrize("text", [None, "", "[services.shop]\nsession_rate = 0\n"])
async def test_an_edge_does_not_start_with_faults(path: Path, text: str | None) -> None:
    Path.unlink(path) if text is None else write(path, text)
    with pytest.raises(ConfigurationError, match=str(path)):
        await FileControl(path).run(FakeLink())


async def test_an_edge_that_refuses_the_first_snapshot_does_not_start(path: Path) -> None:
    link = FakeLink()
    link.refuses = ("services.shop: no",)
    with pytest.raises(ConfigurationError, match=f"{path}: services.shop: no"):
        await FileControl(path).run(link)


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", [replace, write])
async def test_a_change_is_applied(path: Path, change: Any) -> None:
    async with linked(FileControl(path)) as link:
        change(path, SHOP + CAFE)
        await link.until(lambda link: link.reaches)
        version = read_services(path).version
        assert link.snapshots[-1] == Snapshot({"cafe": Settings()}, full=False, allow_removal=False, version=version)
        change(path, CAFE)
        await link.until(lambda link: link.reaches == 2)
        version = read_services(path).version
        assert link.snapshots[-1] == Snapshot({}, frozenset({"shop"}), full=False, allow_removal=False, version=version)
        assert link.services == {"cafe": Settings()}
        assert link.errors == []


async def test_services_that_stay_the_same_are_not_applied_again(path: Path) -> None:
    async with linked(FileControl(path)) as link:
        for count, text in enumerate([SHOP + CAFE, SHOP + CAFE, SHOP + CAFE + "preconnect = 0\n"], 1):
            replace(path, text)
            await link.until(lambda link: link.reaches == count)  # noqa: B023 - awaited at once
        assert [set(snapshot.services) for snapshot in link.snapshots[1:]] == [{"cafe"}, set(), {"cafe"}]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "has no table [services]: for no services, write an empty [services]"),
        ("[services.shop", "is not TOML: "),
        (
            "[services]\nbank = 3\n[services.shop]\nsession_rate = 0\n",
            "services.bank = 3 must be a table; services.shop.session_rate = 0 must be a number above 0",
        ),
        (
            '[services.shop]\naccept = ["nohost"]\nsession_rate = 0\n',
            "services.shop.session_rate = 0 must be a number above 0; services.shop.accept[0] = 'nohost'",
        ),
    ],
)
async def test_a_faulty_file_is_refused_whole(path: Path, text: str, error: str) -> None:
    async with linked(FileControl(path)) as link:
        before = dict(link.services)
        replace(path, text)
        await link.until(lambda link: link.errors)
        assert link.errors[0].startswith(f"snapshot refused: {path}: ")
        assert error in link.errors[0]
        assert link.services == before
        replace(path, CAFE)
        await link.until(lambda link: link.reaches)
        assert link.services == {"cafe": Settings()}
        assert len(link.errors) == 1


async def test_a_snapshot_that_the_edge_refuses_is_a_failure_of_the_file(path: Path) -> None:
    async with linked(FileControl(path)) as link:
        link.refuses = ("services.cafe.accept[0] is wrong",)
        replace(path, CAFE)
        await link.until(lambda link: link.errors)
        assert link.errors == [f"snapshot refused: {path}: services.cafe.accept[0] is wrong"]


async def test_a_file_that_is_gone_changes_nothing(path: Path) -> None:
    async with linked(FileControl(path)) as link:
        Path.unlink(path)
        await link.until(lambda link: link.errors)
        await trio.sleep(0.1)
        assert link.errors == [f"{path} is gone; its services stay as they were"], "and no process tries to read it"
        assert link.services == {"shop": Settings(Policy(session_rate=20))}
        write(path, CAFE)
        await link.until(lambda link: link.reaches)
        assert link.services == {"cafe": Settings()}
        assert len(link.errors) == 1


async def test_a_directory_in_the_place_of_the_file_changes_nothing(path: Path) -> None:
    async with linked(FileControl(path)) as link:
        replace_by_directory(path)
        await link.until(lambda link: link.errors)
        assert link.errors == [f"snapshot refused: {path}: cannot be read: Is a directory"]
        assert link.services == {"shop": Settings(Policy(session_rate=20))}


async def test_a_change_of_one_letter_is_a_change(path: Path) -> None:
    async with linked(FileControl(path)) as link:
        write(path, SHOP.replace("20", "30"))
        await link.until(lambda link: link.reaches)
        assert link.services == {"shop": Settings(Policy(session_rate=30))}


async def test_a_link_that_points_elsewhere_is_a_change(path: Path) -> None:
    """As a mounted directory of configuration changes: a link to a link is turned over, and the name stays."""
    for name, text in (("v1", SHOP), ("v2", CAFE)):
        path.with_name(name).mkdir()
        (path.with_name(name) / path.name).write_text(text)
    current = path.with_name("current")
    current.symlink_to("v1")
    Path.unlink(path)
    Path.symlink_to(path, Path("current") / path.name)
    async with linked(FileControl(path)) as link:
        path.with_name("next").symlink_to("v2")
        path.with_name("next").rename(current)
        await link.until(lambda link: link.reaches)
        assert link.services == {"cafe": Settings()}


async def test_while_no_child_process_can_start_it_tries_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with linked(FileControl(path)) as link:
        monkeypatch.setattr("sys.executable", "/nowhere/python")
        replace(path, CAFE)
        await link.until(lambda link: len(link.errors) == 2)
        assert "cannot be read" in link.errors[0]
        monkeypatch.undo()
        await link.until(lambda link: link.reaches)
        assert link.services == {"cafe": Settings()}


async def test_a_child_that_is_killed_is_no_fault_of_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the system is short of memory: the file is read again, and applied."""
    open_process = trio.lowlevel.open_process

    async def killed_at_once(*args: Any, **kwargs: Any) -> trio.Process:
        process = await open_process(*args, **kwargs)
        process.kill()
        return process

    async with linked(FileControl(path)) as link:
        monkeypatch.setattr(trio.lowlevel, "open_process", killed_at_once)
        replace(path, CAFE)
        await link.until(lambda link: len(link.errors) == 2)
        assert link.errors[0] == f"{path} cannot be read now: its reader ended with -9"
        monkeypatch.setattr(trio.lowlevel, "open_process", open_process)
        await link.until(lambda link: link.reaches)
        assert link.services == {"cafe": Settings()}


async def test_a_child_that_prints_nothing_is_killed_and_the_file_read_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a child that reads from a disk that is gone."""
    async with linked(FileControl(path)) as link:
        monkeypatch.setattr(module, "SILENT_SECONDS", 0.1)
        Path.unlink(path)
        os.mkfifo(path)
        await link.until(lambda link: "its reader printed nothing for 0.1 s" in "".join(link.errors))
        monkeypatch.setattr(module, "SILENT_SECONDS", 10)
        replace(path, CAFE)
        await link.until(lambda link: link.reaches)
        assert link.services == {"cafe": Settings()}


async def test_a_second_run_for_the_same_link_reads_in_a_child_process(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control, link = FileControl(path), FakeLink()
    async with trio.open_nursery() as nursery:
        await nursery.start(control.run, link)
        nursery.cancel_scope.cancel()
    write(path, "[services.shop]\nsession_rate = 0\n")
    with monkeypatch.context() as patched:
        patched.setattr(module, "_read", None)
        async with trio.open_nursery() as nursery:
            await nursery.start(control.run, link)
            await link.until(lambda link: link.errors)
            assert link.services == {"shop": Settings(Policy(session_rate=20))}, "the services stay as they were"
            replace(path, CAFE)
            await link.until(lambda link: link.reaches)
            assert link.services == {"cafe": Settings()}
            nursery.cancel_scope.cancel()
    other = FakeLink()
    async with trio.open_nursery() as nursery:
        await nursery.start(control.run, other)
        assert other.services == {"cafe": Settings()}, "another link has its services from the start"
        nursery.cancel_scope.cancel()


async def test_two_links_at_once_have_every_change_and_their_own_answers(path: Path) -> None:
    control, first, second = FileControl(path), FakeLink(), FakeLink()
    first_edge = trio.CancelScope()

    async def serve_first(*, task_status: trio.TaskStatus[None]) -> None:
        with first_edge:
            await control.run(first, task_status=task_status)

    async with trio.open_nursery() as edges:
        await edges.start(serve_first)
        write(path, SHOP + CAFE)
        await edges.start(control.run, second)
        assert second.services.keys() == {"shop", "cafe"}, "a link that comes later has the file as it is then"
        await first.until(lambda link: "cafe" in link.services)
        second.refuses = ("services.bank: no",)
        write(path, SHOP + CAFE + "[services.bank]\n")
        await first.until(lambda link: "bank" in link.services)
        await second.until(lambda link: link.errors)
        assert (first.errors, second.errors) == ([], [f"snapshot refused: {path}: services.bank: no"])
        second.refuses = ()
        first_edge.cancel()
        write(path, CAFE)
        await second.until(lambda link: link.services.keys() == {"cafe"})
        assert first.services.keys() == {"shop", "cafe", "bank"}, "a run that was cancelled applies nothing more"
        edges.cancel_scope.cancel()


async def test_a_link_that_was_served_may_be_served_again_beside_another(path: Path) -> None:
    control, crashed, other = FileControl(path), FakeLink(), FakeLink()
    async with trio.open_nursery() as nursery:
        await nursery.start(control.run, crashed)
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        await nursery.start(control.run, other)
        write(path, "[services.shop]\nsession_rate = 0\n")
        await nursery.start(control.run, crashed)
        await crashed.until(lambda link: link.errors)
        await other.until(lambda link: link.errors)
        replace(path, CAFE)
        for link in (crashed, other):
            await link.until(lambda link: link.services == {"cafe": Settings()})
        nursery.cancel_scope.cancel()


async def test_a_cancel_kills_the_child_that_reads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[trio.Process] = []
    open_process = trio.lowlevel.open_process

    async def note(*arguments: Any, **more: Any) -> trio.Process:
        started.append(await open_process(*arguments, **more))
        return started[-1]

    monkeypatch.setattr(trio.lowlevel, "open_process", note)
    async with linked(FileControl(path)):
        os.mkfifo(path.with_name("pipe"))
        path.with_name("pipe").rename(path)  # an open of the pipe waits for a writer
        with trio.fail_after(10):
            while not started:
                await trio.sleep(0.01)
        began = trio.current_time()
    assert trio.current_time() - began < 1
    assert started[0].returncode == -9


async def test_a_cancel_while_it_waits_takes_no_time(autojump_clock: trio.testing.MockClock, path: Path) -> None:
    with trio.move_on_after(1.0005) as scope:
        await FileControl(path).run(FakeLink())
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(1.0005)


@pytest.mark.parametrize("moment", ["before", "within"])
async def test_a_cancel_before_the_first_snapshot_leaves_it_to_the_next_run(path: Path, moment: str) -> None:
    class Cancelling(FakeLink):
        async def apply(self, snapshot: Snapshot, /) -> Plan:
            scope.cancel()
            return await super().apply(snapshot)

    control, link = FileControl(path), FakeLink() if moment == "before" else Cancelling()
    with trio.CancelScope() as scope:
        if moment == "before":
            scope.cancel()
        await control.run(link)
    assert (scope.cancelled_caught, link.snapshots, list(control._served)) == (True, [], [])
    again = FakeLink()
    async with trio.open_nursery() as nursery:
        await nursery.start(control.run, again)
        nursery.cancel_scope.cancel()
    assert again.services == {"shop": Settings(Policy(session_rate=20))}


async def test_a_cancel_while_the_child_starts_kills_it_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[subprocess.Popen[bytes]] = []
    make = subprocess.Popen

    def cancelled(*arguments: Any, **more: Any) -> subprocess.Popen[bytes]:
        trio.from_thread.run_sync(scope.cancel)
        made.append(make(*arguments, **more))
        return made[-1]

    with trio.fail_after(10), trio.CancelScope() as scope:
        async with linked(FileControl(path)) as link:
            monkeypatch.setattr(subprocess, "Popen", cancelled)
            replace(path, CAFE)
            await link.until(lambda link: link.reaches)
    assert scope.cancelled_caught
    assert [process.returncode for process in made] == [-9]
    assert link.services == {"shop": Settings(Policy(session_rate=20))}


@pytest.mark.parametrize("refused", [False, True])
async def test_after_a_cancel_while_a_change_is_applied_or_refused_the_link_is_told_nothing(
    path: Path, refused: bool
) -> None:
    class Cancelling(FakeLink):
        async def apply(self, snapshot: Snapshot, /) -> Plan:
            if self.snapshots:
                scope.cancel()
                if refused:
                    raise SnapshotError(["no"])
            return await super().apply(snapshot)

    link = Cancelling()
    with trio.fail_after(10), trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(FileControl(path).run, link)
            replace(path, CAFE)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert (len(link.snapshots), link.reaches, link.errors) == (1, 0, [])


async def replaced_slowly(path: Path, link: SlowLink, text: str) -> str:
    """Replace the file by one that takes long to apply; return its version once that has begun."""
    new = path.with_name("next")
    new.write_text(text)
    version = read_services(new).version
    link.slow(version)
    replace(path, text)
    await link.until(lambda _: version in link.begun)
    return version


async def test_a_file_that_is_replaced_while_the_former_one_is_being_applied_is_applied_as_well(path: Path) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(FileControl(path).run, link := SlowLink())
        await replaced_slowly(path, link, SHOP + CAFE)
        await replaced_slowly(path, link, SHOP + CAFE + "enabled = false\n")
        assert link.services.keys() == {"shop"}, "both are being applied"
        nursery.cancel_scope.cancel()


async def test_a_file_that_was_given_up_with_a_refused_one_is_read_again(path: Path) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(FileControl(path).run, link := SlowLink())
        refused = await replaced_slowly(path, link, CAFE)
        given_up = await replaced_slowly(path, link, SHOP + CAFE)
        link.faults[refused] = SnapshotError(["no"])
        del link.ends[given_up]
        link.ends[refused].set()
        await link.until(lambda link: "cafe" in link.services)
        assert link.services == {"shop": Settings(Policy(session_rate=20)), "cafe": Settings()}
        assert [error.partition(": ")[0] for error in link.errors] == ["snapshot refused"]
        nursery.cancel_scope.cancel()
