"""The table of sessions, as a terminal of 100 columns shows it."""

from io import StringIO

import pytest
import trio
from rich.console import Console, RenderableType

import trioedge as te
from tests.support.edges import exchange
from trioedge.cli.demo.session_table import render
from trioedge.testing import open_edge

HEADINGS = ["id", "source", "service", "phase", "age", "up", "down"]


def edge(name: str = "chat", *, accept: str = "127.0.0.0/8") -> te.Edge:
    stages = [te.Identify(lambda _: name), te.SourceMatch(accept=[accept])]
    return te.Edge("tcp://127.0.0.1:0", stages, te.Forward("tcp://127.0.0.1:1"))


def lines(shown: RenderableType) -> list[str]:
    console = Console(file=StringIO(), width=100, color_system=None)
    with console.capture() as capture:
        console.print(shown)
    return [line.rstrip() for line in capture.get().splitlines()]


async def test_without_a_session_the_table_has_empty_rows_and_no_counts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_edge(edge()) as world:
        shown = lines(render(world.edge, now=trio.current_time(), rows=3))
    assert shown[0].split() == HEADINGS
    assert shown[2:6] == ["", "", "", ""]
    assert [line.split(maxsplit=1) for line in shown[6:]] == [
        ["accepted", "0, live 0, up 0 B, down 0 B"],
        ["refused", "none"],
        ["ended", "none"],
    ]


async def test_a_session_has_a_row_with_its_age_and_bytes(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge()) as world:
        client = await world.connect("127.0.0.4")
        await exchange(client, b"x" * 1234)
        await trio.sleep(2.5)
        shown = lines(render(world.edge, now=trio.current_time(), rows=1))
        number = str(client.session.id)
    assert shown[2].split() == [number, "127.0.0.4", "chat", "relaying", "2.5", "s", "1.2", "kB", "1.2", "kB"]
    assert shown[4].split(maxsplit=1)[1] == "1, live 1, up 1.2 kB, down 1.2 kB"


async def test_a_refused_and_an_ended_session_are_counted_by_reason(autojump_clock: trio.testing.MockClock) -> None:
    async with open_edge(edge()) as world:
        await world.connect("192.0.2.1")
        client = await world.connect("127.0.0.4")
        await client.close()
        await client.ended()
        shown = lines(render(world.edge, now=trio.current_time(), rows=1))
    assert [line.split(maxsplit=1) for line in shown[4:]] == [
        ["accepted", "2, live 0, up 0 B, down 0 B"],
        ["refused", "source 1"],
        ["ended", "finished 1"],
    ]


@pytest.mark.parametrize(
    ("live", "rows", "left_out"), [(0, 3, ""), (2, 3, ""), (3, 3, ""), (4, 3, "and 1 more"), (9, 3, "and 6 more")]
)
async def test_the_table_has_one_height_with_the_oldest_sessions_and_says_how_many_more_there_are(
    live: int, rows: int, left_out: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_edge(edge()) as world:
        clients = [await world.connect(f"127.0.0.{number}") for number in range(1, live + 1)]
        shown = lines(render(world.edge, now=trio.current_time(), rows=rows))
        ids = [str(client.session.id) for client in clients]
    assert len(shown) == 2 + rows + 1 + 3
    assert [line.split()[0] for line in shown[2 : 2 + rows] if line] == ids[:rows]
    assert shown[2 + rows].strip() == left_out


@pytest.mark.parametrize("name", ["[red]x[/red]", "[/x]", "[", ":smile:", "a\\[b]"])
async def test_a_service_with_the_markup_of_rich_in_its_name_is_shown_as_it_is(
    name: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_edge(edge(name)) as world:
        await world.connect("127.0.0.4")
        shown = lines(render(world.edge, now=trio.current_time(), rows=1))
    assert shown[2].split()[2] == name


@pytest.mark.parametrize(("accept", "red"), [("127.0.0.0/8", False), ("192.0.2.0/24", True)])
async def test_the_refused_are_red_if_there_are_any(
    accept: str, red: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_edge(edge(accept=accept)) as world:
        await world.connect("127.0.0.4")
        console = Console(file=StringIO(), width=100, color_system="standard", force_terminal=True)
        with console.capture() as capture:
            console.print(render(world.edge, now=trio.current_time(), rows=1))
    assert ("\x1b[31m" in capture.get()) == red
