"""The table of sessions, as a terminal of 80 columns shows it."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console, RenderableType

from tests.support.fake_edge import BARE, CONTROL, SESSION, STATISTICS
from trioedge.cli.demo.look import Look
from trioedge.cli.demo.session_table import render

HEADINGS = ["id", "worker", "source", "service", "phase", "age", "up", "down"]


def look(*sessions: dict[str, Any], **counts: Any) -> Look:
    return Look(STATISTICS | {"live": len(sessions)} | counts, CONTROL, {}, [*sessions])


def lines(shown: RenderableType, width: int = 80) -> list[str]:
    console = Console(file=StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(shown)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_without_a_session_the_table_has_empty_rows_and_no_counts() -> None:
    shown = lines(render(look(accepted=0, bytes_up=0, bytes_down=0, refused={}, ended={}), rows=3))
    assert shown[0].split() == HEADINGS
    assert shown[2:6] == ["", "", "", ""]
    assert [line.split(maxsplit=1) for line in shown[6:]] == [
        ["accepted", "0, live 0, up 0 B, down 0 B"],
        ["refused", "none"],
        ["ended", "none"],
    ]


def test_a_session_has_a_row_with_its_worker_its_age_and_its_bytes() -> None:
    shown = lines(render(look(SESSION, BARE), rows=2))
    assert shown[2].split() == ["17", "0", "192.0.2.7", "shop", "relaying", "132.4", "s", "12", "kB", "6.8", "MB"]
    assert shown[3].split() == ["18", "1", "2001:db8::7", "shop", "connecting", "0.2", "s", "0", "B", "0", "B"]


def test_counts_are_by_reason() -> None:
    shown = lines(render(look(), rows=1))
    assert [line.split(maxsplit=1) for line in shown[4:]] == [
        ["accepted", "20340, live 0, up 1.0 GB, down 30 GB"],
        ["refused", "rate 20, source 1203"],
        ["ended", "finished 18000"],
    ]


@pytest.mark.parametrize(
    ("live", "rows", "left_out"), [(0, 3, ""), (2, 3, ""), (3, 3, ""), (4, 3, "and 1 more"), (9, 3, "and 6 more")]
)
def test_the_table_has_one_height_with_the_oldest_sessions_and_says_how_many_more_there_are(
    live: int, rows: int, left_out: str
) -> None:
    ids = [*range(1, live + 1)]
    shown = lines(render(look(*(SESSION | {"id": each} for each in ids)), rows=rows))
    assert len(shown) == 2 + rows + 1 + 3
    assert [int(line.split()[0]) for line in shown[2 : 2 + rows] if line] == ids[:rows]
    assert shown[2 + rows].strip() == left_out


def test_sessions_that_were_not_asked_for_are_counted() -> None:
    assert lines(render(look(SESSION, live=20), rows=3))[5].strip() == "and 19 more"


@pytest.mark.parametrize("name", ["[red]x[/red]", "[/x]", "[", ":smile:", "a\\[b]"])
def test_a_service_with_the_markup_of_rich_in_its_name_is_shown_as_it_is(name: str) -> None:
    shown = lines(render(look(SESSION | {"service": name}), rows=1), width=100)
    assert shown[2].split()[3] == name


@pytest.mark.parametrize("refused", [{}, {"source": 1}])
def test_the_refused_are_red_if_there_are_any(refused: dict[str, int]) -> None:
    console = Console(file=StringIO(), width=100, color_system="standard", force_terminal=True)
    with console.capture() as capture:
        console.print(render(look(refused=refused), rows=1))
    assert ("\x1b[31m" in capture.get()) == bool(refused)
