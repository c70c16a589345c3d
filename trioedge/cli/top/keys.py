"""Keys, out of the bytes that a terminal sends."""

import re
from collections.abc import Iterator
from typing import Final

ESCAPED: Final = {
    "[A": "up", "OA": "up", "[B": "down", "OB": "down", "[C": "right", "OC": "right", "[D": "left", "OD": "left",
    "[H": "home", "OH": "home", "[1~": "home", "[F": "end", "OF": "end", "[4~": "end",
    "[5~": "pageup", "[6~": "pagedown", "[Z": "backtab",
}  # fmt: skip
"""What follows an ESC, and the key."""

PLAIN: Final = {"\t": "tab", "\r": "enter", "\n": "enter", "\x1b": "escape", "\x03": "q", "\x04": "q"}

_KEY: Final = re.compile(r"\x1b(?P<escaped>\[[0-9;]*[A-Za-z~]|O[A-Za-z])|(?P<plain>.)", re.DOTALL)


def keys(data: bytes) -> Iterator[str]:
    """Give the keys of one read: their letters, or names such as ``up``; an unknown sequence is no key.

    A read has whole sequences, because a terminal sends each at once. A lone ESC is ``escape``.
    """
    for found in _KEY.finditer(data.decode(errors="replace")):
        if found["escaped"]:
            if name := ESCAPED.get(found["escaped"]):
                yield name
        else:
            yield PLAIN.get(found["plain"], found["plain"])
