"""The shapes of single values: text, numbers, flags, choices, bytes, paths and secrets."""

import ast
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from ..addresses.address import Address
from ..arguments import is_number, is_whole_number, size_fault
from ..errors import ConfigurationError, quote
from ..secrets import Secret
from .faults import Place
from .shape import UNREAD, Refer, Schema, World


@attrs.frozen
class Scalar:
    """Text, a number or a flag."""

    wants: str
    type: str
    fits: Callable[[Any], bool]

    def takes(self, value: Any) -> bool:
        return self.fits(value)

    def read(self, value: Any, place: Place, world: World) -> Any:  # noqa: ARG002 - the shape of shapes
        if fault := size_fault(value):
            place.note(fault)
        elif not self.fits(value) or value != value:  # no nan
            place.refuse(value, self.wants)
        else:
            return value
        return UNREAD

    def schema(self, refer: Refer) -> Schema:  # noqa: ARG002
        return {"type": self.type}


TEXT: Final = Scalar("text", "string", lambda value: isinstance(value, str))
SCALARS: Final = {
    bool: Scalar("true or false", "boolean", lambda value: isinstance(value, bool)),
    int: Scalar("a whole number", "integer", is_whole_number),
    float: Scalar("a number", "number", is_number),
    str: TEXT,
    Address: TEXT,
}


@attrs.frozen
class OneOf:
    """One of several values, of which at least one is text."""

    values: tuple[Any, ...]

    @property
    def wants(self) -> str:
        return " or ".join(repr(str(each) if isinstance(each, str) else each) for each in self.values)

    def takes(self, value: Any) -> bool:
        return any(type(value) in (type(each), str) and value == each for each in self.values)

    def read(self, value: Any, place: Place, world: World) -> Any:  # noqa: ARG002
        for each in self.values:
            if self.takes(value) and value == each:
                return each
        place.refuse(value, self.wants)
        return UNREAD

    def schema(self, refer: Refer) -> Schema:  # noqa: ARG002
        return {"enum": [str(each) if isinstance(each, str) else each for each in self.values]}


@attrs.frozen
class BytesText:
    """Bytes, written as Python writes them."""

    wants = "bytes as Python writes them, as in 'b\"SSH-\"'"

    def takes(self, value: Any) -> bool:
        return isinstance(value, str) and value[:2] in ('b"', "b'")

    def read(self, value: Any, place: Place, world: World) -> Any:  # noqa: ARG002
        try:
            found = ast.literal_eval(value) if self.takes(value) else None
        except (SyntaxError, ValueError):
            found = None
        if isinstance(found, bytes):
            return found
        place.refuse(value, self.wants)
        return UNREAD

    def schema(self, refer: Refer) -> Schema:  # noqa: ARG002
        return {"type": "string", "pattern": "^b[\"']"}


@attrs.frozen
class PathText:
    """A path."""

    wants = "a path"

    def takes(self, value: Any) -> bool:
        return isinstance(value, str)

    def read(self, value: Any, place: Place, world: World) -> Any:
        if not isinstance(value, str) or not value or "\0" in value:
            place.refuse(value, self.wants)
            return UNREAD
        text = TEXT.read(value, place, world)
        if text is UNREAD:
            return UNREAD
        return world.folder / text

    def schema(self, refer: Refer) -> Schema:  # noqa: ARG002
        return {"type": "string"}


@attrs.frozen
class SecretText:
    """A secret: the place of it, or a URL without a login."""

    wants = 'a secret: write { file = "…" }, { env = "…" } or { credential = "…" }'

    def takes(self, value: Any) -> bool:
        return isinstance(value, (str, Mapping))

    def read(self, value: Any, place: Place, world: World) -> Any:
        if isinstance(value, str) and "://" in value and "@" not in value:
            return TEXT.read(value, place, world)
        if not isinstance(value, Mapping):
            place.note(f"is {self.wants}")  # the value may be one, so it is not quoted
            return UNREAD
        for key, each in value.items():
            if key not in ("file", "env", "credential"):
                place.note(f"has no key {quote(key)}: it is {self.wants}")
                return UNREAD
            if not isinstance(each, str):
                (place / key).refuse(each, "text")
                return UNREAD
        try:
            file = value.get("file")
            secret = Secret(
                file=None if file is None else world.folder / file,
                env=value.get("env"),
                credential=value.get("credential"),
            )
            secret.read()
        except ConfigurationError as error:
            place.note(f": {error}")
            return UNREAD
        return secret

    def schema(self, refer: Refer) -> Schema:  # noqa: ARG002
        one = {"type": "object", "additionalProperties": False}
        return {
            "oneOf": [
                {**one, "properties": {"file": {"type": "string"}}, "required": ["file"]},
                {**one, "properties": {"env": {"type": "string"}}, "required": ["env"]},
                {**one, "properties": {"credential": {"type": "string"}}, "required": ["credential"]},
                {"type": "string", "pattern": "^[^@]*://[^@]*$"},
            ]
        }
