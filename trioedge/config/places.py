"""Where each key of a TOML text stands. The standard library's parser keeps no places."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

Path: TypeAlias = "tuple[str | int, ...]"
"""Keys from the top of a document, and indexes of its lists: ``("edge", "redis", "stages", 0, "rate")``."""

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY: Final = re.compile(r"""[ \t]*(?:"((?:[^"\\\n]|\\.)*)"|'([^'\n]*)'|([A-Za-z0-9_-]+))[ \t]*(\.?)""")
_TEXT: Final = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL)
_OTHER: Final = re.compile(r"[^,\]}\n#]*")
_ESCAPE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_ESCAPED: Final = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}


def lines_of(text: str) -> Mapping[Path, int]:
    """Return the line of each key, table and list entry, from 1.

    Args:
        text: a document that `tomllib` reads; of any other one some places are missing or wrong.
    """
    return _Scanner(text).lines


class _Scanner:
    """One pass over a document. It reads keys and brackets, and steps over values."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._counted_to, self._line = 0, 1
        self._entries: dict[Path, int] = {}  # of lists of tables: the number of each so far
        table: Path = ()
        while self._blank():
            before = self._at
            if text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)
            if self._at == before:  # no TOML
                return

    def _header(self) -> Path:
        """Read ``[a.b]`` or ``[[a.b]]`` and return the path of the table."""
        line, many = self._here(), self._text.startswith("[[", self._at)
        self._at += 1 + many
        path: Path = ()
        keys = list(self._keys())
        for number, key in enumerate(keys):
            path = (*path, key)
            if path in self._entries and not (many and number == len(keys) - 1):
                path = (*path, self._entries[path] - 1)  # a table below the last entry of a list
        if many:
            self._entries[path] = self._entries.get(path, 0) + 1
            self.lines.setdefault(path, line)
            path = (*path, self._entries[path] - 1)
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end
        self._note(path, line)
        return path

    def _pair(self, table: Path) -> None:
        """Read ``a.b = value``."""
        line = self._here()
        path = (*table, *self._keys())
        self._note(path, line)
        if self._text.startswith("=", self._at):
            self._at += 1
            self._value(path)

    def _note(self, path: Path, line: int) -> None:
        """Note the line of a path, and of the tables above it that have none."""
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)

    def _keys(self) -> Iterator[str]:
        while found := _KEY.match(self._text, self._at):
            self._at = found.end()
            basic, literal, bare, dot = found.groups()
            yield _ESCAPE.sub(_unescaped, basic) if basic is not None else literal if literal is not None else bare
            if not dot:
                return

    def _value(self, path: Path) -> None:
        self._blank()
        opening = self._text[self._at : self._at + 1]
        if opening == "[":
            self._at += 1
            number = 0
            while self._blank() and not self._text.startswith("]", self._at):
                self._note((*path, number), self._here())
                self._value((*path, number))
                number += 1
                if not self._comma():
                    break
            self._at += 1
        elif opening == "{":
            self._at += 1
            while self._blank() and not self._text.startswith("}", self._at):
                self._pair(path)
                if not self._comma():
                    break
            self._at += 1
        else:
            found = _TEXT.match(self._text, self._at) or _OTHER.match(self._text, self._at)
            assert found is not None  # the second pattern matches an empty text, too
            self._at = found.end()

    def _comma(self) -> bool:
        self._blank()
        there = self._text.startswith(",", self._at)
        self._at += there
        return there

    def _blank(self) -> bool:
        """Step over blanks and comments; say whether there is more."""
        found = _BLANK.match(self._text, self._at)
        assert found is not None  # the pattern matches an empty text, too
        self._at = found.end()
        return self._at < len(self._text)

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        return self._line


def _unescaped(found: "re.Match[str]") -> str:
    said = found[1]
    return chr(int(said[1:], 16)) if said[0] in "uU" and len(said) > 1 else _ESCAPED.get(said, said)
