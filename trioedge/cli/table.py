"""Tables for people: aligned columns that fit the terminal, colour only where there is one."""

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

import attrs

STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}

NARROWEST: Final = 8
"""Letters of a column that is shortened."""

NONE: Final = "-"


@attrs.frozen
class Cell:
    """A value with a style of :data:`STYLES`."""

    text: str
    style: str = ""


@attrs.frozen
class Column:
    """A column of a table.

    Attributes:
        title: its heading.
        right: numbers stand at its right edge.
        spare: on a terminal that is too narrow the columns with the highest number are left out first; 0 stays.
        cut: what does not fit may be shortened.
    """

    title: str
    right: bool = False
    spare: int = 0
    cut: bool = False


Value: TypeAlias = "str | int | Cell | None"


def shown(value: object) -> str:
    """Write a value in one line that can change no terminal: a client chooses names. None and "" are ``-``."""
    text = str(value) if value is not None else ""
    if not text:
        return NONE
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def coloured() -> bool:
    """Say whether stdout shows colours."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str) -> str:
    """Colour a text for stdout, if it shows colours."""
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if style and coloured() else text


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[Value]]) -> None:
    """Print a table; on a terminal no wider than it, in a pipe whole."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    cells = [[value if isinstance(value, Cell) else Cell(shown(value)) for value in row] for row in rows]
    for line in _lines(columns, cells, width):
        print("  ".join(styled(text, style) if text.strip() else text for text, style in line).rstrip())


def print_facts(facts: Iterable[tuple[str, Value]]) -> None:
    """Print a name and a value in each line, the values below each other."""
    kept = [(name, value if isinstance(value, Cell) else Cell(shown(value))) for name, value in facts]
    wide = max((len(name) for name, _ in kept), default=0)
    for name, cell in kept:
        print(f"{styled(name.ljust(wide), 'bold')}  {styled(cell.text, cell.style)}".rstrip())


def _lines(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int | None
) -> Iterator[list[tuple[str, str]]]:
    """Lay a table out: each line as texts with their styles."""
    widths = [max([wide(column.title), *(wide(row[at].text) for row in rows)]) for at, column in enumerate(columns)]
    kept = list(range(len(columns)))
    if width is not None:
        _fit(columns, kept, widths, width)
    yield [(_placed(columns[at].title, widths[at], columns[at].right), "bold") for at in kept]
    for row in rows:
        yield [(_placed(row[at].text, widths[at], columns[at].right), row[at].style) for at in kept]


def _fit(columns: Sequence[Column], kept: list[int], widths: list[int], width: int) -> None:
    """Leave columns out and make others narrower, until a line has at most `width` letters or nothing is left to do."""

    def excess() -> int:
        return sum(widths[at] for at in kept) + 2 * (len(kept) - 1) - width

    while excess() > 0:
        spare = [at for at in kept if columns[at].spare]
        cut = [at for at in kept if columns[at].cut and widths[at] > max(NARROWEST, len(columns[at].title))]
        room = sum(widths[at] - max(NARROWEST, len(columns[at].title), widths[at] // 2) for at in cut)
        if spare and room < excess():
            kept.remove(max(spare, key=lambda at: (columns[at].spare, at)))
        elif cut:
            widths[max(cut, key=lambda at: widths[at])] -= 1
        else:
            return


def _placed(text: str, width: int, right: bool) -> str:
    missing = width - wide(text)
    if missing < 0:
        while wide(text) > width - 1:
            text = text[:-1]
        text += "…"
        missing = width - wide(text)
    return " " * missing + text if right else text + " " * missing


def wide(text: str) -> int:
    """Count the places that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # tables of ASCII need not wait for it

    return cell_len(text)


def note(text: str) -> None:
    """Tell the reader of a table what it does not have; on stderr, so that programs get the table alone."""
    print(text, file=sys.stderr)
