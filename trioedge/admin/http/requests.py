"""The parameters of a request, out of its path, its query and its body."""

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl

from ...errors import quote
from ..operation import Operation
from ..parameters import Place, checked
from ..refusals import FaultyError, RefusedError

MAX_QUERY_FIELDS: Final = 64


def read_parameters(
    operation: Operation, path: Mapping[str, str], query: bytes, body: Mapping[str, Any]
) -> dict[str, Any]:
    """Check all parameters of a request.

    Args:
        operation: of the request.
        path: the texts of its path.
        query: its query as it came.
        body: the fields of its body.

    Raises:
        FaultyError: names every fault as ``query.limit: '0' must be …``.
    """
    in_path = {each.name: each.read(path[each.name]) for each in operation.of("path")}
    fields, unfit = _query(query)
    in_query = {each.name: each.read(fields[each.name]) for each in operation.of("query") if each.name in fields}
    values: dict[str, Any] = {}
    faults: list[str] = []
    places: tuple[tuple[Place, Mapping[str, Any], list[str]], ...] = (
        ("path", in_path, []), ("query", {**fields, **in_query}, unfit), ("body", body, []),
    )  # fmt: skip
    for place, given, before in places:
        found, wrong = checked(given, operation.of(place), place, before)
        values |= found
        faults += wrong
    if "device" in body and "service" not in body:
        faults.append("body.device: needs its service, because devices are a service's own")
    if operation.body_needs and not any(name in body for name in operation.body_needs) and not faults:
        faults.append(f"body: must name {' or '.join(operation.body_needs)}")
    if faults:
        raise FaultyError(faults)
    return values


def _query(query: bytes) -> tuple[dict[str, str], list[str]]:
    """Read a query, and give the faults of its form."""
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, strict_parsing=bool(query), errors="strict",
            max_num_fields=MAX_QUERY_FIELDS,
        )  # fmt: skip
    except ValueError:
        return {}, ["query: must be fields as in limit=10&after=7, percent-encoded UTF-8"]
    fields, faults = dict[str, str](), list[str]()
    for name, value in pairs:
        if name in fields:
            faults.append(f"query.{quote(name)}: is there twice")
        fields[name] = value
    return fields, faults


def read_table(body: bytes) -> dict[str, Any]:
    """Read a body that is a table of JSON; an empty one has no fields.

    Raises:
        FaultyError: it is none.
    """
    if not body.strip():
        return {}
    try:
        value = json.loads(body, parse_constant=_no_constant, object_pairs_hook=_once)
    except FaultyError:
        raise
    except (ValueError, RecursionError):
        raise FaultyError(["body: must be JSON in UTF-8"]) from None
    if not isinstance(value, dict):
        raise FaultyError([f"body: {quote(value)} must be a table"])
    return value


def check_type(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a body that says it is no JSON.

    Raises:
        RefusedError: 415.
    """
    said = headers.get(b"content-type")
    if said is not None and said.partition(b";")[0].strip().lower() != b"application/json":
        raise RefusedError(415, "the body must be application/json")


def _no_constant(name: str) -> NoReturn:
    raise FaultyError([f"body: {name} is no number of JSON"])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise FaultyError(["body: a field is there twice"])
    return table
