"""The values that a key of a plugin must refuse: of other types, and beyond the bounds in its words."""

import re
from collections.abc import Iterator
from typing import Any, Final

from ..config.keys import Key

CANDIDATES: Final = ("no such word", 3, 2.5, True, ["no such entry"], {"no such key": 1})
"""Values of all types that TOML has, of which those that a key does not take are tried."""

_NUMBER: Final = r"(-?\d[\d,]*(?:\.\d+)?)"
_BOUNDS: Final[tuple[tuple[re.Pattern[str], tuple[float, ...]], ...]] = (
    (re.compile(rf"\babove {_NUMBER}"), (0,)),
    (re.compile(rf"\bbelow {_NUMBER}"), (0,)),
    (re.compile(rf"\bat least {_NUMBER}"), (-1,)),
    (re.compile(rf"\bat most {_NUMBER}"), (1,)),
    (re.compile(rf"{_NUMBER} to {_NUMBER}"), (-1, 1)),
)
"""Bounds in words, and for each of their numbers how far from it the nearest wrong value is."""


def wrong_values(key: Key) -> Iterator[tuple[Any, str]]:
    """Yield the values that a key must refuse, each with the reason in words.

    Nothing for a key of which TOML has no values, such as a function, and for a ``*further`` of a constructor.
    """
    shape = key.shape
    if shape is None or key.spread:
        return
    for each in CANDIDATES:
        if shape.takes(each) or (isinstance(each, dict) and shape.takes([])):  # a dict is as good as a list of its keys
            continue
        yield each, "it has a wrong type"
    for pattern, steps in _BOUNDS:
        for found in pattern.finditer(key.words):
            for text, step in zip(found.groups(), steps, strict=True):
                number = float(text.replace(",", "")) + step
                value = int(number) if number.is_integer() else number
                if shape.takes(0):
                    yield value, f"its words say {found[0]!r}"
                elif shape.takes("") and re.match(r" (?:letters|characters)", key.words[found.end() :]) and value >= 0:
                    yield "x" * int(value), f"its words say {found[0]!r}"
