"""The JSON schema of an ``edge.toml``, for editors: draft 7, which all of them read."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..edge import Edge
from ..plugins import Kind
from ..session.kinds import name_of
from .edge_file import LISTS, PARTS
from .keys import Key, keys_of, summary_of
from .process_table import ProcessTable
from .shape import Schema

NAME: Schema = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_-]{0,62}$"}
"""The name of an outbound."""


def schema_of(parts: Mapping[Kind, Mapping[str, Any]]) -> Schema:
    """Return the schema of the files that these parts may make.

    Args:
        parts: the classes by kind and by the name that ``use`` has: those that are built in, and plugins.
    """
    writer = _Writer(parts)
    edge = _table(Edge, writer, use=None)
    for key, kind in PARTS.items():
        edge["properties"][key] = {**writer.part(kind), "description": keys_of(Edge)[key].words}
    for key, kind in LISTS.items():
        if key in keys_of(Edge):
            edge["properties"][key] = {
                "type": "array", "items": writer.part(kind), "description": keys_of(Edge)[key].words,
            }  # fmt: skip
    edge["properties"]["outbounds"] = {
        "type": "array", "items": NAME, "description": keys_of(Edge)["outbounds"].words,
    }  # fmt: skip
    edge["required"] = [name for name in edge["required"] if name != "stages"]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "edge.toml of trioedge",
        "type": "object",
        "required": ["edge"],
        "additionalProperties": False,
        "properties": {
            "process": _table(ProcessTable, writer, use=None),
            "edge": {"type": "object", "description": "The edges of the process, by name.",
                     "additionalProperties": edge, "minProperties": 1},
            "outbound": {"type": "object", "description": "Ways out, by the name that endpoints and policies give.",
                         "propertyNames": NAME, "additionalProperties": writer.part(Kind.OUTBOUND)},
        },
        "definitions": writer.definitions,
    }  # fmt: skip


class _Writer:
    """Gives the schemas of tables, each of which stands once in the document."""

    def __init__(self, parts: Mapping[Kind, Mapping[str, Any]]) -> None:
        self._parts = parts
        self.definitions: dict[str, Schema] = {}

    def table(self, maker: Any) -> Schema:
        """Refer to the table of a class."""
        return self._defined(name_of(maker), lambda: _table(maker, self, use=None))

    def stage(self) -> Schema:
        """Refer to a stage."""
        return self.part(Kind.STAGE)

    def part(self, kind: Kind) -> Schema:
        """Refer to a part of a kind: one table for each name."""
        return self._defined(str(kind), lambda: self._one_of(kind))

    def _one_of(self, kind: Kind) -> Schema:
        names = self._parts.get(kind, {})
        cases = []
        for use, maker in names.items():
            found = self._defined(f"{kind}-{use}", lambda maker=maker, use=use: _table(maker, self, use=use))
            cases.append({"if": {"properties": {"use": {"const": use}}}, "then": found})
        return {
            "type": "object", "required": ["use"], "properties": {"use": {"enum": [*names]}}, "allOf": cases,
        }  # fmt: skip

    def _defined(self, name: str, make: Any) -> Schema:
        if name not in self.definitions:
            self.definitions[name] = {}  # for a table that has itself inside
            self.definitions[name] = make()
        return {"$ref": f"#/definitions/{name}"}


def _table(maker: Any, writer: _Writer, *, use: str | None) -> Schema:
    """Return the schema of a table of a constructor's arguments."""
    keys: Iterable[Key] = keys_of(maker).values() if callable(maker) else ()
    properties: dict[str, Schema] = {} if use is None else {"use": {"const": use, "description": summary_of(maker)}}
    for key in keys:
        if key.shape is not None:
            properties[key.name] = key.shape.schema(writer) | _about(key)
    required = [key.name for key in keys if key.required]
    return {
        "type": "object", "title": name_of(maker), "description": summary_of(maker), "properties": properties,
        "required": [*(["use"] if use else []), *required], "additionalProperties": False,
    }  # fmt: skip


def _about(key: Key) -> Schema:
    about: Schema = {"description": key.words} if key.words else {}
    if isinstance(key.default, (bool, int, float, str)):
        about["default"] = str(key.default) if isinstance(key.default, str) else key.default
    return about
