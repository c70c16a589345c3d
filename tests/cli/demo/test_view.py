"""The demo's output: plain lines, and a table on a terminal that is as high as the screen allows."""

from io import StringIO

import pytest
import rich
import trio
from rich.console import Console

import trioedge as te
from tests.support.edges import exchange
from trioedge.cli.demo.view import FIXED_LINES, MAX_ROWS, Lines, LiveTable
from trioedge.process import logs
from trioedge.services.control_plane import Link
from trioedge.services.snapshot import Snapshot
from trioedge.testing import open_edge


@pytest.fixture(autouse=True)
def _no_log_on_stdout() -> None:
    logs.configure(level="error")


class Control:
    """A control plane of one service that can be made to fail; it takes no reports."""

    def __init__(self) -> None:
        self.link: Link

    async def run(self, link: Link, /, *, task_status: trio.TaskStatus[None]) -> None:
        self.link = link
        await link.apply(Snapshot({"chat": te.Settings()}, version="v7"))
        task_status.started()
        await trio.sleep_forever()


def edge(control: te.ControlPlane) -> te.Edge:
    stages = [te.Identify("chat"), te.SourceMatch(accept=["127.0.0.0/8"])]
    return te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://127.0.0.1:1"), control=control, report_seconds=1)


async def test_a_line_has_the_time_since_the_start_all_counts_and_the_version(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    view = Lines()
    async with open_edge(edge(Control())) as world:
        await trio.sleep(100)
        with view.open():
            view.show(world.edge, 0, "video 0 B/s")
            await trio.sleep(3)
            client = await world.connect("127.0.0.4")
            await client.close()
            await client.ended()
            await world.connect("127.0.0.4")
            await world.connect("192.0.2.1")
            view.show(world.edge, 5, "video 9 B/s")
    assert capsys.readouterr().out.splitlines() == [
        "0 s: 0 live, 0 accepted, 0 answered, video 0 B/s; refused: none; ended: none; services at version v7",
        (
            "3 s: 1 live, 3 accepted, 5 answered, video 9 B/s; refused: source 1; ended: finished 1; "
            "services at version v7"
        ),
    ]


async def test_notes_stand_above_the_next_line_once_and_in_order(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    view = Lines()
    async with open_edge(edge(Control())) as world:
        with view.open():
            view.note("a")
            view.note("b")
            assert capsys.readouterr().out == ""
            view.show(world.edge, 0, "")
            assert capsys.readouterr().out.splitlines()[:-1] == ["a", "b"]
            view.show(world.edge, 0, "")
            assert len(capsys.readouterr().out.splitlines()) == 1


async def test_a_control_plane_that_fails_is_shown_with_the_age_of_the_services_until_it_answers(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    view, control = Lines(), Control()
    async with open_edge(edge(control)) as world:
        with view.open():
            control.link.failed("refused")
            await trio.sleep(8)
            view.show(world.edge, 0, "")
            control.link.reached()
            view.show(world.edge, 0, "")
    ends = [line.rpartition("; ")[2] for line in capsys.readouterr().out.splitlines()]
    assert ends == ["services as they were 8 s ago: refused", "services at version v7"]


async def test_the_last_acknowledged_report_is_shown(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    view = Lines()
    async with open_edge(edge(te.MemoryControl({"chat": te.Policy()}))) as world:
        with view.open():
            view.show(world.edge, 0, "")
            assert capsys.readouterr().out.endswith("; services without a version\n")
            await exchange(await world.connect("127.0.0.4"))
            await trio.sleep(3)
            reported = world.edge.control_state().reported
            view.show(world.edge, 0, "")
    assert reported > 0
    assert capsys.readouterr().out.endswith(f"; services without a version, report {reported} acknowledged\n")


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
        (FIXED_LINES + MAX_ROWS, MAX_ROWS),
        (FIXED_LINES + MAX_ROWS + 1, MAX_ROWS),
        (500, MAX_ROWS),
    ],
)
async def test_the_table_has_the_rows_that_the_screen_has_room_for(
    height: int, rows: int, autojump_clock: trio.testing.MockClock, screen: Console
) -> None:
    screen.height = height
    view = LiveTable()
    async with open_edge(edge(Control())) as world:
        for _ in range(20):
            await world.connect("127.0.0.4")
        view.show(world.edge, 0, "")
        with view.open():
            pass
    assert sum("127.0.0.4" in line for line in shown(screen)) == rows


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
async def test_the_three_latest_notes_stand_below_the_speed_and_the_state(
    notes: list[str], last: list[str], autojump_clock: trio.testing.MockClock, screen: Console
) -> None:
    view = LiveTable()
    async with open_edge(edge(Control())) as world:
        for note in notes:
            view.note(note)
        view.show(world.edge, 0, "video 2 MB/s")
        with view.open():
            pass
    assert shown(screen)[-5:] == ["video 2 MB/s", "services at version v7", *last]
