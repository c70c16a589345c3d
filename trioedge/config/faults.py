"""The faults of an ``edge.toml``: all of them at once, each with file, line, path and the nearest right name."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Final

import attrs

from ..errors import MAX_QUOTED_LETTERS, EdgeFileError, quote
from .places import Path, lines_of

MAX_NAMES: Final = 30
"""Names that a fault lists, where none of them is near."""


class Document:
    """One file, and its faults so far.

    Attributes:
        name: of the file, as the user wrote it.
    """

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._text = text
        self._lines: Mapping[Path, int] | None = None  # made for the first fault
        self._faults: list[tuple[int, str]] = []

    def line(self, path: Path) -> int:
        """Return the line of a path, or of the nearest table around it; 1 for the document."""
        if self._lines is None:
            self._lines = lines_of(self._text)
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def note(self, path: Path, words: str) -> None:
        """Note a fault; `words` follow the path."""
        self._faults.append((self.line(path), self.said(path, words)))

    def said(self, path: Path, words: str) -> str:
        """Return a fault in one line: file, line, path, and the words that follow it."""
        where = shown(path)
        glue = "" if not where or words.startswith((":", ".")) else " "
        return f"{self.name}:{self.line(path)}: {where}{glue}{words}"

    def __len__(self) -> int:
        """Return the number of faults."""
        return len(self._faults)

    def error(self) -> EdgeFileError:
        """Make the exception of all faults."""
        return EdgeFileError(list(dict.fromkeys(fault for _, fault in sorted(self._faults, key=lambda each: each[0]))))


@attrs.frozen
class Place:
    """A place in a document.

    Attributes:
        document: takes its faults.
        path: of the place.
    """

    document: Document
    path: Path

    def __truediv__(self, key: str | int) -> "Place":
        """Return the place of a key of this table, or of an entry of this list."""
        return Place(self.document, (*self.path, key))

    def note(self, words: str) -> None:
        """Note a fault; `words` follow the path."""
        self.document.note(self.path, words)

    def refuse(self, value: object, wants: str) -> None:
        """Note that a value is not of the kind that is needed: ``… = 'many' must be a whole number``."""
        self.note(f"= {written(value)} must be {wants}")


def written(value: object) -> str:
    """Write a value as :func:`quote`, but of a table only the keys and no URL with a login: they may have a secret."""
    if isinstance(value, str) and "://" in value and "@" in value:
        return "a URL with a login"
    if isinstance(value, Mapping):
        text = ", ".join(f"{shown((str(key),))} = …" for key in islice(value, MAX_NAMES))
        return _short(f"{{ {text} }}") if value else "{}"
    if isinstance(value, list):
        return _short(f"[{', '.join(map(written, islice(value, MAX_QUOTED_LETTERS)))}]")
    return quote(value)


def _short(text: str) -> str:
    return text if len(text) <= MAX_QUOTED_LETTERS else f"{text[:MAX_QUOTED_LETTERS]}..."


def shown(path: Path) -> str:
    """Write a path: ``edge.redis.stages[0].rate``."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            plain = key.replace("-", "").replace("_", "").isalnum() and key.isascii()
            text += ("." if text else "") + (key if plain and len(key) <= MAX_QUOTED_LETTERS else quote(key))
    return text


def nearest(word: str, known: Collection[str]) -> str:
    """Return the hint for a word that is none of the known ones: the nearest one, or all of them."""
    near = get_close_matches(word[:100], known, 1)
    if near:
        return f"did you mean {near[0]!r}?"
    names = sorted(known)
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    verb = "are" if len(names) > 1 else "is"
    return f"there {verb} {', '.join(names[:MAX_NAMES])}{more}" if names else "there is none"
