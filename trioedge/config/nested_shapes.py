"""The shapes of lists and tables, and of values that may have one of several shapes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from ..errors import quote
from ..regular_file import read_regular
from .faults import Place
from .plain_shapes import TEXT, PathText
from .shape import UNREAD, Refer, Schema, Shape, World

MAX_LIST_BYTES: Final = 256 * 1024 * 1024
"""Of a file with a list; a million prefixes have some 20 MB."""


@attrs.frozen
class ListOf:
    """A list; of text also a file with an entry a line."""

    item: Shape
    make: Callable[[Iterable[Any]], Any]

    @property
    def wants(self) -> str:
        return "a list" + (' or { file = "…" }' if self._from_file else "")

    @property
    def _from_file(self) -> bool:
        return self.item is TEXT

    def takes(self, value: Any) -> bool:
        return isinstance(value, list) or (self._from_file and isinstance(value, Mapping) and set(value) == {"file"})

    def read(self, value: Any, place: Place, world: World) -> Any:
        if not self.takes(value):
            place.refuse(value, self.wants)
            return UNREAD
        if isinstance(value, Mapping):
            return self._of_file(PathText().read(value["file"], place / "file", world), place / "file", world)
        found = [self.item.read(each, place / number, world) for number, each in enumerate(value)]
        if any(each is UNREAD for each in found):
            return UNREAD
        try:
            return self.make(found)
        except TypeError:  # a set of what has no hash, such as tables
            place.note("can be given in Python only")
            return UNREAD

    def _of_file(self, path: Any, place: Place, world: World) -> Any:
        """Read the entries of a file, one a line; a ``#`` begins a comment."""
        if path is UNREAD:
            return UNREAD
        try:
            raw = read_regular(path, MAX_LIST_BYTES)
            if len(raw) > MAX_LIST_BYTES:
                place.note(f"= {quote(str(path))} has more than {MAX_LIST_BYTES:,} bytes")
                return UNREAD
            text = raw.decode()
        except OSError as error:
            place.note(f"= {quote(str(path))} cannot be read: {error.strerror}")
            return UNREAD
        except UnicodeDecodeError:
            place.note(f"= {quote(str(path))} is no text of UTF-8")
            return UNREAD
        world.lists[place.path] = path, hash(text)
        return self.make(entry for line in text.splitlines() if (entry := line.partition("#")[0].strip()))

    def schema(self, refer: Refer) -> Schema:
        several: Schema = {"type": "array", "items": self.item.schema(refer)}
        if not self._from_file:
            return several
        file: Schema = {"type": "object", "properties": {"file": {"type": "string"}}, "required": ["file"]}
        return {"anyOf": [several, {**file, "additionalProperties": False}]}


@attrs.frozen
class TupleOf:
    """A list of a fixed number of values."""

    items: tuple[Shape, ...]

    @property
    def wants(self) -> str:
        return f"a list of {len(self.items)}"

    def takes(self, value: Any) -> bool:
        return isinstance(value, list)

    def read(self, value: Any, place: Place, world: World) -> Any:
        if not isinstance(value, list) or len(value) != len(self.items):
            place.refuse(value, self.wants)
            return UNREAD
        found = tuple(
            item.read(each, place / number, world)
            for number, (item, each) in enumerate(zip(self.items, value, strict=True))
        )
        return UNREAD if any(each is UNREAD for each in found) else found

    def schema(self, refer: Refer) -> Schema:
        items = [item.schema(refer) for item in self.items]
        return {"type": "array", "items": items, "minItems": len(items), "maxItems": len(items)}


@attrs.frozen
class MapOf:
    """A table whose keys are data."""

    key: Shape
    item: Shape
    wants = "a table"

    def takes(self, value: Any) -> bool:
        return isinstance(value, Mapping)

    def read(self, value: Any, place: Place, world: World) -> Any:
        if not isinstance(value, Mapping):
            place.refuse(value, self.wants)
            return UNREAD
        found = {
            self.key.read(key, place / key, world): self.item.read(each, place / key, world)
            for key, each in value.items()
        }
        return UNREAD if any(each is UNREAD for pair in found.items() for each in pair) else found

    def schema(self, refer: Refer) -> Schema:
        return {"type": "object", "additionalProperties": self.item.schema(refer)}


@attrs.frozen
class TableOf:
    """A table of the arguments of a constructor."""

    maker: Any
    wants = "a table"

    def takes(self, value: Any) -> bool:
        return isinstance(value, Mapping)

    def read(self, value: Any, place: Place, world: World) -> Any:
        if not isinstance(value, Mapping):
            place.refuse(value, self.wants)
            return UNREAD
        return world.table(self.maker, value, place)

    def schema(self, refer: Refer) -> Schema:
        return refer.table(self.maker)


@attrs.frozen
class StageTable:
    """A stage inside of another part."""

    wants = "a table with use"

    def takes(self, value: Any) -> bool:
        return isinstance(value, Mapping) and "use" in value

    def read(self, value: Any, place: Place, world: World) -> Any:
        return world.stage(value, place)

    def schema(self, refer: Refer) -> Schema:
        return refer.stage()


@attrs.frozen
class OutboundName:
    """The name of an outbound of the file."""

    wants = "the name of an outbound"

    def takes(self, value: Any) -> bool:
        return isinstance(value, str) and "://" not in value

    def read(self, value: Any, place: Place, world: World) -> Any:
        if not isinstance(value, str):
            place.refuse(value, self.wants)
            return UNREAD
        return world.outbound(value, place)

    def schema(self, refer: Refer) -> Schema:  # noqa: ARG002
        return {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_-]{0,62}$"}


@attrs.frozen
class AnyOf:
    """A value of one of several shapes."""

    shapes: tuple[Shape, ...]

    @property
    def wants(self) -> str:
        return " or ".join(dict.fromkeys(shape.wants for shape in self.shapes))

    def takes(self, value: Any) -> bool:
        return any(shape.takes(value) for shape in self.shapes)

    def read(self, value: Any, place: Place, world: World) -> Any:
        for shape in self.shapes:
            if shape.takes(value):
                return shape.read(value, place, world)
        place.refuse(value, self.wants)
        return UNREAD

    def schema(self, refer: Refer) -> Schema:
        return {"anyOf": [shape.schema(refer) for shape in self.shapes]}
