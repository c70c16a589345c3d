"""The description of the admin API as OpenAPI 3.1, made of the table of operations."""

from collections.abc import Sequence
from typing import Any, Final

from ..operation import Operation
from ..operations import OPERATIONS
from ..parameters import Parameter, Schema
from ..refusals import STATUSES
from ..shapes import TEXT, TEXTS, table
from ..topics.statistics import own_version

ERROR: Final = table(error=TEXT)
FAULTS: Final = table(faults=TEXTS)

_KINDS: Final = {
    "json": ("application/json",), "text": ("text/plain",), "events": ("text/event-stream",), "page": ("text/html",),
    "file": ("text/css", "text/javascript", "image/svg+xml"),
}  # fmt: skip
"""The media types of each form of an answer."""


def openapi(operations: Sequence[Operation] = OPERATIONS, *, needs_token: bool = False) -> dict[str, Any]:
    """Describe the API.

    Args:
        operations: of it.
        needs_token: whether it asks for a token.
    """
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, needs_token)
    return {
        "openapi": "3.1.0",
        "info": {"title": "trioedge admin API", "version": own_version() or "0"},
        "paths": paths,
        "components": {
            "schemas": {"Error": ERROR, "Faults": FAULTS},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation, needs_token: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.says,
        "security": [{"token": []}] if needs_token and not operation.open else [],
        "responses": {
            "200": {
                "description": "the answer",
                "content": {kind: {"schema": operation.answer} for kind in _KINDS[operation.kind]},
            },
            **{str(status): _error(operation, status) for status in operation.statuses},
        },
    }
    if placed := [each for each in operation.parameters if each.place != "body"]:
        described["parameters"] = [_parameter(each) for each in placed]
    if operation.lines:
        content = {"application/x-ndjson": {"schema": TEXT}}
        described["requestBody"] = {"required": True, "content": content}
    elif fields := operation.of("body"):
        needed = bool(operation.body_needs) or any(each.required for each in fields)
        described["requestBody"] = {
            "required": needed,
            "content": {"application/json": {"schema": _body(fields, operation.body_needs)}},
        }
    return described


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = dict(parameter.schema)
    if parameter.default is not None:
        schema["default"] = parameter.default
    return {
        "name": parameter.name, "in": parameter.place, "required": parameter.required, "description": parameter.says,
        "schema": schema,
    }  # fmt: skip


def _body(fields: Sequence[Parameter], needs: Sequence[str]) -> Schema:
    """Describe a body; one that needs one of several fields has a shape for each of these."""
    properties = {each.name: {**each.schema, "description": each.says} for each in fields}
    required = [each.name for each in fields if each.required]
    if not needs:
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    shapes = []
    for name in needs:
        shown = properties if name == "service" else {key: each for key, each in properties.items() if key != "device"}
        shapes.append({"type": "object", "properties": shown, "required": [name], "additionalProperties": False})
    return {"anyOf": shapes}


def _error(operation: Operation, status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Faults" if status == 422 else "#/components/schemas/Error"}
    described: dict[str, Any] = {"description": STATUSES[status], "content": {"application/json": {"schema": schema}}}
    if operation.name == "ready" and status == 503:
        described["content"]["application/json"]["schema"] = operation.answer
    if status == 401:
        described["headers"] = {"WWW-Authenticate": {"schema": TEXT, "required": True}}
    if status == 405:
        described["headers"] = {"Allow": {"schema": TEXT, "required": True}}
    if status == 500:
        described = {"description": STATUSES[500]}
    return described
