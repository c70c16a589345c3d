import io

import pytest

from trioedge.cli.table import Cell, Column, print_facts, print_table, shown, styled, wide


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Put a terminal in the place of stdout; in the test itself, because pytest sets stdout before each test."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return terminal


LAST = Column("up", spare=1)
COLUMNS = (
    Column("id", right=True),
    Column("service", cut=True),
    Column("peer", spare=2, cut=True),
    Column("up", spare=1),
)


def test_columns_are_aligned_and_numbers_stand_right(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [(7, "shop", None, "1 kB"), (1234, "a", "192.0.2.1:5", "")])
    assert capsys.readouterr().out.splitlines() == [
        "  id  service  peer         up",
        "   7  shop     -            1 kB",
        "1234  a        192.0.2.1:5  -",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        (0, "0"),
        ("a b", "a b"),
        ("a\x1b[31mb\nc\u202e", "a\\x1b[31mb\\nc\\u202e"),
        ("名前", "名前"),
    ],
)
def test_a_value_cannot_change_a_terminal(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_pipe_has_every_column_whole_and_no_colour(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    print_table(COLUMNS, [(7, "s" * 100, "p" * 100, Cell("1 kB", "red"))])
    assert capsys.readouterr().out.splitlines()[1] == f" 7  {'s' * 100}  {'p' * 100}  1 kB"


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (40, ["id  service       peer              up", " 7  ssssssssssss  pppppppppppppppp  1 kB"]),
        (34, ["id  service      peer         up", " 7  ssssssssss…  pppppppppp…  1 kB"]),
        (22, ["id  service       up", " 7  ssssssssssss  1 kB"]),
        (18, ["id  service   up", " 7  sssssss…  1 kB"]),
        (12, ["id  service", " 7  sssssss…"]),
        (1, ["id  service", " 7  sssssss…"]),
    ],
)
def test_a_terminal_has_what_fits(width: int, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(COLUMNS, [(7, "s" * 12, "p" * 16, "1 kB")])
    assert terminal.getvalue().splitlines() == lines


def test_letters_that_take_two_places_are_counted_so(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "16")
    print_table((Column("name", cut=True), Column("up")), [("名前" * 20, "1"), ("ab", "2")])
    _, long, short = terminal.getvalue().splitlines()
    assert [wide(long), wide(short)] == [15, 15]
    assert long.endswith("…   1")


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals_that_want_them(
    environment: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_terminal(monkeypatch)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert styled("x", "red") == ("\x1b[31mx\x1b[0m" if coloured else "x")
    assert styled("x", "") == "x"
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert styled("x", "red") == "x"


def test_facts_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts([("edge", "shop"), ("control plane", Cell("answers", "green")), ("quota", None)])
    assert capsys.readouterr().out.splitlines() == [
        "edge           shop",
        "control plane  answers",
        "quota          -",
    ]
