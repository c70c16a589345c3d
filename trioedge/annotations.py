"""Values of TOML and JSON, read as the annotation of an attrs field says."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from itertools import repeat
from types import NoneType, UnionType
from typing import Any, Final, NoReturn, Union, get_args, get_origin

import attrs

from .arguments import MAX_NUMBER, MAX_TEXT_LETTERS, choice_fault, is_number, is_whole_number, size_fault
from .errors import ConfigurationError, quote


@attrs.frozen
class Reader:
    """Reads the values of one annotation.

    Attributes:
        read: returns a value as the annotation has it: a tuple for a list, a member for the text of a StrEnum. Raises
            ConfigurationError with the text that follows the name of the value: `` = '8' must be a whole number``.
        wants: the kind of value in words, as in ``a whole number``; empty if it may be anything.
    """

    read: Callable[[Any], Any]
    wants: str = ""


def reader_of(annotation: object) -> Reader:
    """Return the reader of an annotation.

    Args:
        annotation: str, int, float, bool, a StrEnum, None, tuples and lists of those, and unions of all of them. A
            value of any other annotation is only checked for its size: text to 1,000 letters, integers to 64 bits.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return _union([reader_of(each) for each in arguments if each is not NoneType], NoneType in arguments)
    for kind in (tuple, list):
        if kind in (annotation, origin):
            return _sequence(kind, arguments)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return _choice(annotation)
    return _SCALARS.get(annotation, _ANYTHING)


def _scalar(fits: Callable[[Any], bool], wants: str) -> Reader:
    def read(value: Any) -> Any:
        return value if fits(value) else _refuse(value, wants)

    return Reader(read, wants)


def _choice(of: type[StrEnum]) -> Reader:
    members = tuple(of)
    wants = choice_fault(None, members).removeprefix("must be ")

    def read(value: Any) -> Any:
        return of(value) if value in members else _refuse(value, wants)

    return Reader(read, wants)


def _union(readers: Sequence[Reader], optional: bool) -> Reader:
    wants = " or ".join(reader.wants for reader in readers)

    def read(value: Any) -> Any:
        if optional and value is None:
            return None
        if len(readers) == 1:
            return readers[0].read(value)
        for reader in readers:
            try:
                return reader.read(value)
            except ConfigurationError:
                pass
        return _refuse(value, wants)

    return Reader(read, wants)


def _sequence(kind: type[list[Any]] | type[tuple[Any, ...]], arguments: tuple[Any, ...]) -> Reader:
    fixed = kind is tuple and arguments and arguments[-1] is not Ellipsis
    readers = [reader_of(each) for each in arguments if each is not Ellipsis] or [_ANYTHING]
    wants = f"a list of {len(readers)}" if fixed else "a list"

    def read(value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or (fixed and len(value) != len(readers)):
            _refuse(value, wants)
        entries: list[Any] = []
        try:
            for reader, each in zip(readers if fixed else repeat(readers[0]), value, strict=False):
                entries.append(reader.read(each))
        except ConfigurationError as error:
            raise ConfigurationError(f"[{len(entries)}]{error}") from None
        return kind(entries)

    return Reader(read, wants)


def _refuse(value: object, wants: str) -> NoReturn:
    fault = size_fault(value)
    raise ConfigurationError(f" {fault}" if fault else f" = {quote(value)} must be {wants}")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT_LETTERS


def _is_float(value: object) -> bool:
    return is_number(value) and -MAX_NUMBER <= value <= MAX_NUMBER


def _is_int(value: object) -> bool:
    return is_whole_number(value) and -MAX_NUMBER <= value <= MAX_NUMBER


_SCALARS: Final[dict[object, Reader]] = {
    str: _scalar(_is_text, "text"),
    int: _scalar(_is_int, "a whole number"),
    float: _scalar(_is_float, "a number"),
    bool: _scalar(lambda value: isinstance(value, bool), "true or false"),
    NoneType: _scalar(lambda value: value is None, "none"),
}
_SCALARS[None] = _SCALARS[NoneType]

_ANYTHING: Final = _scalar(lambda value: not size_fault(value), "")
