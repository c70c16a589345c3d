"""The demo's output: plain lines, and a table on a terminal that is as high as the screen allows."""

import time
from io import StringIO
from typing import Any

import pytest
import rich
import trio
from rich.console import Console

from tests.support.fake_edge import SESSION, STATISTICS
from trioedge.cli.demo.look import SESSIONS, Look
from trioedge.cli.demo.view import FIXED_LINES, Lines, LiveTable

STATE = {"failing_since": None, "error": "", "reported": 0, "version": "v7"}


def look(sessions: int = 0, *, state: dict[str, Any] | None = None, **counts: Any) -> Look:
    found = STATISTICS | {"live": sessions, "accepted": 0, "refused": {}, "ended": {}} | counts
    return Look(found, STATE | (state or {}), {}, [SESSION] * min(sessions, SESSIONS))


async def test_a_line_has_the_time_since_the_start_all_counts_and_the_version(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    view = Lines()
    await trio.sleep(100)
    with view.open():
        view.show(look(), 0, "video 0 B/s")
        await trio.sleep(3)
        view.show(look(1, accepted=3, refused={"source": 1}, ended={"finished": 1}), 5, "video 9 B/s")
    assert capsys.readouterr().out.splitlines() == [
        "0 s: 0 live, 0 accepted, 0 answered, video 0 B/s; refused: none; ended: none; services at version v7",
        (
            "3 s: 1 live, 3 accepted, 5 answered, video 9 B/s; refused: source 1; ended: finished 1; "
            "services at version v7"
        ),
    ]


async def test_notes_stand_above_the_next_line_once_and_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    view = Lines()
    with view.open():
        view.note("a")
        view.note("b")
        assert capsys.readouterr().out == ""
        view.show(look(), 0, "")
        assert capsys.readouterr().out.splitlines()[:-1] == ["a", "b"]
        view.show(look(), 0, "")
        assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"failing_since": 1_000.0, "error": "refused"}, "services as they were 8 s ago: refused"),
        ({"version": ""}, "services without a version"),
        ({"version": "", "reported": 3}, "services without a version, report 3 acknowledged"),
        ({"reported": 12}, "services at version v7, report 12 acknowledged"),
    ],
)
async def test_the_connection_to_the_control_plane_is_said_in_words(
    state: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_008.0)
    view = Lines()
    with view.open():
        view.show(look(state=state), 0, "")
    assert capsys.readouterr().out.strip().rpartition("; ")[2] == said


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Console:
    console = Console(file=StringIO(), width=100, height=40, color_system=None, record=True)
    monkeypatch.setattr(rich, "_console", console)
    return console


def shown(screen: Console) -> list[str]:
    return [line.rstrip() for line in screen.export_text().splitlines()]


@pytest.mark.parametrize(
    ("height", "rows"),
    [
        (1, 3),
        (FIXED_LINES + 3, 3),
        (FIXED_LINES + 4, 4),
        (FIXED_LINES + SESSIONS, SESSIONS),
        (FIXED_LINES + SESSIONS + 1, SESSIONS),
        (500, SESSIONS),
    ],
)
def test_the_table_has_the_rows_that_the_screen_has_room_for(height: int, rows: int, screen: Console) -> None:
    screen.height = height
    view = LiveTable()
    view.show(look(20), 0, "")
    with view.open():
        pass
    assert sum("192.0.2.7" in line for line in shown(screen)) == rows


@pytest.mark.parametrize(
    ("notes", "last"),
    [
        ([], ["", "", ""]),
        (["a"], ["", "", "a"]),
        (["a", "b", "c", "d"], ["b", "c", "d"]),
        (["[/x]", "[red]b", "x" * 200], ["[/x]", "[red]b", "x" * 99 + "…"]),
    ],
    ids=["none", "one", "four", "markup and a long one"],
)
def test_the_three_latest_notes_stand_above_the_speed_and_the_state(
    notes: list[str], last: list[str], screen: Console
) -> None:
    view = LiveTable()
    for note in notes:
        view.note(note)
    view.show(look(), 0, "video 2 MB/s")
    with view.open():
        pass
    assert shown(screen)[-5:] == [*last, "video 2 MB/s", "services at version v7"]
