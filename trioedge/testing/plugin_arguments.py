"""The arguments of a plugin, and the values that each of them must refuse: of other types, and out of its bounds."""

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

import attrs

from ..arguments import is_number, is_whole_number

CANDIDATES: Final = ("no such word", 3, 2.5, True, ["no such entry"], {"no such key": 1})
"""Values of all types that TOML has, of which those that an argument does not take are tried."""

_SECTION: Final = re.compile(r"^(?:Args|Attributes):\n((?:[ \t]+.*\n|\n)+)", re.MULTILINE)
_ENTRY: Final = re.compile(r"^\*{0,2}(\w+)(?: \([^)]*\))?:[ \t]*(.*)$")

_NUMBER: Final = r"(-?\d[\d,]*(?:\.\d+)?)"
_BOUNDS: Final[tuple[tuple[re.Pattern[str], tuple[float, ...]], ...]] = (
    (re.compile(rf"\babove {_NUMBER}"), (0,)),
    (re.compile(rf"\bbelow {_NUMBER}"), (0,)),
    (re.compile(rf"\bat least {_NUMBER}"), (-1,)),
    (re.compile(rf"\bat most {_NUMBER}"), (1,)),
    (re.compile(rf"{_NUMBER} to {_NUMBER}"), (-1, 1)),
)
"""Bounds in words, and for each of their numbers how far from it the nearest wrong value is."""


@attrs.frozen
class Argument:
    """An argument of the constructor of a part.

    Attributes:
        name: as it is written in TOML and in Python.
        annotation: its type.
        required: whether it has no default.
        words: about it, from the docstring; empty if that has none.
    """

    name: str
    annotation: Any
    required: bool
    words: str


def arguments_of(maker: Any) -> list[Argument]:
    """Return the arguments of a class or function, in order."""
    try:
        signature = inspect.signature(maker, eval_str=True)
    except NameError:  # an annotation that only a type checker can read
        signature = inspect.signature(maker)
    words = _words_of(maker)
    return [
        Argument(each.name, each.annotation, each.default is each.empty, words.get(each.name, ""))
        for each in signature.parameters.values()
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]


def wrong_values(argument: Argument) -> Iterator[tuple[Any, str]]:
    """Yield the values that an argument must refuse, each with the reason in words.

    Nothing for an annotation of which TOML has no values, such as a function.
    """
    takes = _takes(argument.annotation)
    if takes is None:
        return
    for each in CANDIDATES:
        if not takes(each):
            yield each, "it has a wrong type"
    words = argument.words
    for pattern, steps in _BOUNDS:
        for found in pattern.finditer(words):
            for text, step in zip(found.groups(), steps, strict=True):
                number = float(text.replace(",", "")) + step
                value = int(number) if number.is_integer() else number
                if takes(0):
                    yield value, f"its words say {found[0]!r}"
                elif takes("") and re.match(r" (?:letters|characters)", words[found.end() :]) and value >= 0:
                    yield "x" * int(value), f"its words say {found[0]!r}"


def _words_of(maker: Any) -> dict[str, str]:
    """Return the words about each argument, from ``Args:`` of the constructor, or ``Attributes:`` of the class."""
    own = vars(maker).get("__init__") if isinstance(maker, type) else None
    found: dict[str, str] = {}
    for text in (maker.__doc__, getattr(own, "__doc__", None)):
        section = _SECTION.search(f"{inspect.cleandoc(text or '')}\n")
        name = ""
        for line in inspect.cleandoc(section[1]).splitlines() if section else ():
            entry = _ENTRY.match(line)
            if entry is not None:
                name, found[entry[1]] = entry[1], entry[2]
            elif name:
                found[name] = f"{found[name]} {line.strip()}".strip()
    return found


_SCALARS: Final[dict[Any, Callable[[Any], bool]]] = {
    str: lambda value: isinstance(value, str),
    int: is_whole_number,
    float: is_number,
    bool: lambda value: isinstance(value, bool),
}
_COLLECTIONS: Final = (list, tuple, set, frozenset, Sequence, Iterable, Collection)


def _takes(annotation: Any) -> Callable[[Any], bool] | None:
    """Return a function that tells whether an annotation takes a value of TOML; None if it says nothing of that."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        members = [_takes(each) for each in arguments if each is not NoneType]
        if None in members:
            return None
        return lambda value: any(member(value) for member in members if member is not None)
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if origin is Literal:
        return lambda value: value in arguments
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return lambda value: value in tuple(annotation)
    if (origin or annotation) in _COLLECTIONS:
        return lambda value: isinstance(value, (list, str))  # text is iterable, too
    if (origin or annotation) in (dict, Mapping):
        return lambda value: isinstance(value, dict)
    return None
