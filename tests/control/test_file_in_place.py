"""A file of services that is written in place: half of it takes nothing away."""

from pathlib import Path

import pytest
import trio

from tests.support.fake_link import PATIENCE, linked
from tests.support.files import replace, write
from trioedge.control import watched_file
from trioedge.control.file import FileControl
from trioedge.control.watched_file import WatchedFile
from trioedge.services.policy import Policy, Settings

SHOP, CAFE, BANK = "[services.shop]\nsession_rate = 20\n", "[services.cafe]\n", "[services.bank]\n"
PADDING = "# a comment makes the first half longer than the whole file was before\n" * 3
NEVER = 3600.0


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of two services, which is looked at often, and is doubted for ever."""
    monkeypatch.setattr(watched_file, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(watched_file, "SETTLED_SECONDS", 0.01)
    monkeypatch.setattr(watched_file, "DOUBT_SECONDS", NEVER)
    path = tmp_path / "services.toml"
    path.write_text(SHOP + CAFE)
    return path


class Doubts:
    """Counts how many times a file is doubted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        stays = WatchedFile.stays

        async def counted(file: WatchedFile) -> bool:
            self.count += 1
            return await stays(file)

        monkeypatch.setattr(WatchedFile, "stays", counted)

    async def come_to(self, count: int) -> None:
        with trio.fail_after(PATIENCE):
            while self.count < count:
                await trio.sleep(0.005)


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


async def test_of_a_file_whose_first_half_lacks_a_service_no_service_is_removed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first half is longer than the file was, so only what it says tells that it is one."""
    doubts = Doubts(monkeypatch)
    async with linked(FileControl(path)) as link:
        for number in (1, 2):
            write(path, PADDING * number + CAFE)
            await doubts.come_to(number)
            append(path, SHOP + (BANK if number == 2 else ""))
            await link.until(lambda link: link.reaches == number)  # noqa: B023 - awaited at once
        assert link.services.keys() == {"shop", "cafe", "bank"}
        assert [snapshot.removed for snapshot in link.snapshots] == [frozenset()] * 3
        assert link.errors == []


async def test_a_file_that_was_made_shorter_is_not_even_read_before_it_is_whole(path: Path) -> None:
    async with linked(FileControl(path)) as link:
        write(path, "[services.sh")
        await trio.sleep(0.1)
        write(path, SHOP + CAFE + BANK)
        await link.until(lambda link: link.reaches)
        assert link.services.keys() == {"shop", "cafe", "bank"}
        assert len(link.snapshots) == 2
        assert link.errors == [], "and the half is no fault in the log"


async def test_a_rename_is_believed_at_once_whatever_it_takes_away(path: Path) -> None:
    async with linked(FileControl(path)) as link:
        replace(path, CAFE)
        await link.until(lambda link: link.reaches)
        assert link.services == {"cafe": Settings()}


async def test_a_write_in_place_that_takes_no_service_away_is_applied_at_once(path: Path) -> None:
    async with linked(FileControl(path)) as link:
        write(path, SHOP.replace("20", "30") + CAFE + BANK)
        await link.until(lambda link: link.reaches)
        assert link.services["shop"] == Settings(Policy(session_rate=30))
        assert "bank" in link.services


@pytest.mark.parametrize("text", [CAFE, PADDING + CAFE])
async def test_a_write_in_place_that_takes_a_service_away_is_applied_once_it_stays(
    path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(watched_file, "DOUBT_SECONDS", 0.05)
    async with linked(FileControl(path)) as link:
        write(path, text)
        await link.until(lambda link: link.reaches)
        assert link.services == {"cafe": Settings()}


async def test_a_cancel_while_a_file_is_doubted_ends_the_run_and_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubts = Doubts(monkeypatch)
    async with linked(FileControl(path)) as link:
        write(path, PADDING + CAFE)
        await doubts.come_to(1)
    assert link.services.keys() == {"shop", "cafe"}
    assert (link.reaches, link.errors) == (0, [])
