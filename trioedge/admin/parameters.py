"""Parameters of requests: how each is read, what is refused, and how it is described."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any, Final, Literal, TypeAlias

import attrs

from ..addresses.source_prefix import parse_span
from ..arguments import MAX_NUMBER, is_number, is_whole_number, unknown_keys
from ..errors import ConfigurationError, quote

Schema: TypeAlias = dict[str, Any]
"""A JSON schema of OpenAPI 3.1."""

Place: TypeAlias = Literal["path", "query", "body"]

MAX_DIGITS: Final = 19
"""Of a number in a path or a query."""

_BYTE: Final = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_HEX: Final = "[0-9a-fA-F]{1,4}"

SOURCE: Final[Schema] = {
    "type": "string",
    "anyOf": [
        {"pattern": f"^{_BYTE}(\\.{_BYTE}){{3}}(/(3[0-2]|[12]?[0-9]))?$"},
        {"pattern": f"^({_HEX}(:{_HEX}){{0,5}})?::/(12[0-8]|1[01][0-9]|[1-9]?[0-9])$"},
        {"format": "ipv6"},
        {"const": "unix"},
    ],
}
"""The schema of a client's address or prefix."""


@attrs.frozen(kw_only=True)
class Parameter:
    """One parameter of an operation.

    Attributes:
        name: of it.
        says: its description, one line.
        place: where it stands.
        schema: its JSON schema; the type is ``string``, ``integer`` or ``number``.
        check: describes the fault of a value that is right by its schema; "" for a good one.
        required: whether it must be there; always so in a path.
        default: its value where it is not there.
    """

    name: str
    says: str
    schema: Schema
    place: Place = "query"
    check: Callable[[Any], str] | None = None
    required: bool = attrs.field(default=attrs.Factory(lambda self: self.place == "path", takes_self=True))
    default: Any = None

    def fault(self, value: object) -> str:
        """Describe the fault of a value, to follow the name; "" for a good one."""
        schema = self.schema
        if schema["type"] == "string":
            if not isinstance(value, str):
                return "must be text"
            if "enum" in schema and value not in schema["enum"]:
                return f"must be {' or '.join(map(repr, schema['enum']))}"
            least, most = schema.get("minLength", 0), schema.get("maxLength", 1_000)
            if not least <= len(value) <= most:
                return f"must be text of {least} to {most:,} letters"
        elif not (is_whole_number(value) if schema["type"] == "integer" else is_number(value) and abs(value) < inf):
            return "must be a whole number" if schema["type"] == "integer" else "must be a number"
        else:
            low, high = schema.get("minimum", 0), schema.get("maximum", MAX_NUMBER)
            if not low <= value <= high:
                return f"must be a number from {low:,} to {high:,}"
        return "" if self.check is None else self.check(value)

    def read(self, text: str) -> Any:
        """Read a value of a path or a query; one that is no number stays text, of which :meth:`fault` tells."""
        kind = self.schema["type"]
        if kind == "integer" and text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS:
            return int(text)
        if kind == "number":
            try:
                return float(text)
            except ValueError:
                return text
        return text


def source_fault(value: str) -> str:
    """Describe the fault of a client's address or prefix."""
    try:
        parse_span(value)
    except ConfigurationError:
        return "must be an IP address, a prefix such as 192.0.2.0/24, or 'unix'"
    return ""


def text(maximum: int = 255, minimum: int = 1) -> Schema:
    """Give the schema of text."""
    return {"type": "string", "minLength": minimum, "maxLength": maximum}


def whole(minimum: int = 0, maximum: int = MAX_NUMBER) -> Schema:
    """Give the schema of a whole number."""
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


def choice(*names: str) -> Schema:
    """Give the schema of one of several texts."""
    return {"type": "string", "enum": [*names]}


def checked(
    given: Mapping[str, Any], known: Sequence[Parameter], place: Place, unfit: Iterable[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """Check the parameters of one place.

    Args:
        given: by name.
        known: those of the place.
        place: of them, for the faults.
        unfit: faults that were found before.

    Returns:
        Each known parameter with its value or its default, and the faults.
    """
    names = {each.name: each for each in known}
    faults = [*unfit]
    if unknown := [name for name in given if name not in names]:
        faults.append(f"{place}: has no {unknown_keys(unknown, names)}")
    values: dict[str, Any] = {}
    for name, each in names.items():
        values[name] = each.default
        if name in given:
            value = _whole(given[name]) if each.schema["type"] == "integer" else given[name]
            if fault := each.fault(value):
                faults.append(f"{place}.{name}: {quote(value)} {fault}")
            else:
                values[name] = value
        elif each.required:
            faults.append(f"{place}.{name}: is missing: {each.says}")
    return values, faults


def _whole(value: Any) -> Any:
    """Give 7 for 7.0, which is a whole number to a JSON schema."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
