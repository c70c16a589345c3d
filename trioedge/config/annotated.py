"""The shapes of values that an annotation allows in TOML: each reads a value and notes every fault, or has a schema.

| annotation | in TOML |
| --- | --- |
| str, int, float, bool, Literal, a StrEnum | text, a number, true or false, one of the texts |
| bytes | text as Python writes it: ``b"SSH-"`` |
| a path | text; a relative one begins at the folder of the file |
| a list, tuple, Sequence, Iterable, set | a list; of text also ``{ file = "…" }``, an entry a line |
| a dict or Mapping | a table |
| Secret | ``{ file = "…" }``, ``{ env = "…" }`` or ``{ credential = "…" }`` |
| an attrs class, or one whose constructor has words for its arguments | a table of these arguments |
| Decision, Handshake or Recipe | a table with ``use``, as in the stages of an edge |
| Outbound, Balanced | the name of an outbound of the file |
| a function, or anything else | Python only |
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import attrs

from ..arguments import Fixed
from ..secrets import Secret
from ..services.context import Outbound
from ..session.handshake import Handshake
from ..session.stage import Decision, Recipe
from ..upstreams.balancing.balanced import Balanced
from .nested_shapes import AnyOf, ListOf, MapOf, OutboundName, StageTable, TableOf, TupleOf
from .plain_shapes import SCALARS, TEXT, BytesText, OneOf, PathText, SecretText
from .shape import Shape

_LISTS: Final[dict[Any, Any]] = {
    list: list, Sequence: list, Iterable: list, Collection: list, tuple: tuple, set: set, Set: frozenset,
    frozenset: frozenset,
}  # fmt: skip
_STAGES: Final = (Decision, Handshake, Recipe)
_OUTBOUNDS: Final = (Outbound, Balanced)


def shape_of(annotation: Any) -> Shape | None:
    """Return the shape of the values that an annotation allows in TOML; None if Python alone can give one."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return shape_of(arguments[0])
    if origin in (Union, UnionType):
        return _one_of([each for each in arguments if each is not NoneType])
    if annotation in SCALARS:
        return SCALARS[annotation]
    if annotation is bytes:
        return BytesText()
    if origin is Literal:
        return OneOf(arguments)
    if annotation is os.PathLike or origin is os.PathLike:
        return PathText()
    kind = annotation if origin is None else origin
    if kind in _LISTS:
        return _list(kind, arguments)
    if kind in (dict, Mapping):
        key, item = map(shape_of, arguments) if len(arguments) == 2 else (TEXT, None)
        return None if key is None or item is None else MapOf(key, item)
    return _of_class(annotation) if isinstance(annotation, type) else None


def _of_class(annotation: type) -> Shape | None:
    if annotation is Secret:
        return SecretText()
    if annotation in _STAGES:
        return StageTable()
    if annotation in _OUTBOUNDS:
        return OutboundName()
    if issubclass(annotation, os.PathLike):
        return PathText()
    if issubclass(annotation, StrEnum):
        return OneOf(tuple(annotation))
    return TableOf(annotation) if attrs.has(annotation) or issubclass(annotation, Fixed) else None


def _one_of(annotations: Sequence[Any]) -> Shape | None:
    """Return the shape of a union; members that Python alone can give are left out."""
    shapes = list(dict.fromkeys(shape for each in annotations if (shape := shape_of(each)) is not None))
    if any(isinstance(shape, SecretText) for shape in shapes):
        return SecretText()  # text is no way to write a secret
    if any(isinstance(shape, PathText) for shape in shapes):
        shapes = [shape for shape in shapes if shape is not TEXT]
    if OutboundName() in shapes:  # what opens to an outbound is named, too
        shapes = [shape for shape in shapes if shape != StageTable()]
    shapes.sort(key=lambda shape: (shape is TEXT or isinstance(shape, PathText), isinstance(shape, TableOf)))
    return AnyOf(tuple(shapes)) if len(shapes) > 1 else shapes[0] if shapes else None


def _list(kind: Any, arguments: tuple[Any, ...]) -> Shape | None:
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        items = [shape_of(each) for each in arguments]
        return None if None in items else TupleOf(tuple(each for each in items if each is not None))
    item = shape_of(arguments[0]) if arguments else None
    return None if item is None else ListOf(item, _LISTS[kind])
