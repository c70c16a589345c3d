"""Shapes of answers, as JSON schemas."""

from typing import Any, Final

from .parameters import Schema

TEXT: Final[Schema] = {"type": "string"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
NUMBER: Final[Schema] = {"type": "number"}
FLAG: Final[Schema] = {"type": "boolean"}
TEXTS: Final[Schema] = {"type": "array", "items": TEXT}
COUNTS: Final[Schema] = {"type": "object", "additionalProperties": COUNT}


def table(**fields: Any) -> Schema:
    """Give the schema of a table whose fields are all there."""
    return {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}


def several(item: Schema) -> Schema:
    """Give the schema of a list."""
    return {"type": "array", "items": item}


def or_null(schema: Schema) -> Schema:
    """Give the schema of a value that may be null."""
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def page(item: Schema, cursor: Schema) -> Schema:
    """Give the schema of a page of a list; `next` is the cursor of the next one, null where this is the last."""
    return table(items=several(item), next=or_null(cursor))
