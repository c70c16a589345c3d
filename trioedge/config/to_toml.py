"""An edge as an ``edge.toml``, where it can be said so: ``trioedge run edge.py --print-toml``."""

import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from typing import Any, Final

import attrs

from ..addresses.address import Address
from ..addresses.open_ports import OpenPorts
from ..arguments import Fixed
from ..edge import Edge
from ..errors import EdgeFileError
from ..plugins import BUILT_IN, Kind, find, installed
from ..secrets import Secret
from ..session.handshake import Handshake
from ..session.kinds import name_of
from ..session.stage import Decision, Recipe
from .keys import keys_of
from .nested_shapes import AnyOf, OutboundName, TableOf
from .plain_shapes import SecretText
from .shape import Shape

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_STAGES: Final = (Decision, Handshake, Recipe)

_APART: Final = ("name", "listen", "stages", "endpoint", "control", "observers", "outbounds")
"""Arguments of an edge that are written in a place of their own."""


def toml_of(edge: Edge) -> str:
    """Return the text of a file that makes the same edge; its table has the edge's name, or ``edge``.

    Args:
        edge: any edge.

    Raises:
        EdgeFileError: parts of it can be said in Python only; it names each of them.
    """
    return _Writer(edge).text()


class _Writer:
    """The text of one edge."""

    def __init__(self, edge: Edge) -> None:
        self._edge, self._name = edge, edge.description.name or "edge"
        self._faults: list[str] = []
        self._outbounds: dict[int, tuple[str, Any]] = {}  # by identity, because one may be in several places
        for each, outbound in edge.outbounds.items():
            self._outbounds[id(outbound)] = each, outbound

    def text(self) -> str:
        edge, *parts = self._edge, *self._edge.outline.parts
        listen = [*edge.listen]
        lines = [f"[edge.{_key(self._name)}]", f"listen = {_json(listen[0] if len(listen) == 1 else listen)}"]
        defaults = keys_of(Edge)
        for field in [each for each in defaults if each not in _APART]:
            value = getattr(edge if hasattr(edge, field) else edge.description, field)
            if value != defaults[field].default:
                lines.append(f"{field} = {self._value(value, defaults[field].shape, field)}")
        if edge.outbounds:
            lines.append(f"outbounds = {_json([*edge.outbounds])}")
        stages = [self._part(Kind.STAGE, each, f"stages[{number}]") for number, each in enumerate(parts[:-1])]
        lines += ["stages = [", *(f"  {each}," for each in stages), "]"] if stages else []
        lines.append(f"endpoint = {self._part(Kind.ENDPOINT, parts[-1], 'endpoint')}")
        if edge.control is not None:
            lines.append(f"control = {self._part(Kind.CONTROL, edge.control, 'control')}")
        observers = edge.description.observers
        told = [self._part(Kind.OBSERVER, each, f"observers[{number}]") for number, each in enumerate(observers)]
        lines += ["observers = [", *(f"  {each}," for each in told), "]"] if told else []
        done = 0
        while done < len(self._outbounds):  # one may lead to another one
            each, outbound = list(self._outbounds.values())[done]
            done += 1
            table = self._arguments(Kind.OUTBOUND, outbound, f"outbound.{each}")
            lines += ["", f"[outbound.{_key(each)}]", *(f"{key} = {value}" for key, value in table.items())]
        if self._faults:
            raise EdgeFileError(self._faults)
        return "\n".join([*lines, ""])

    def _part(self, kind: Kind, part: object, where: str) -> str:
        return _inline(self._arguments(kind, part, where))

    def _arguments(self, kind: Kind, part: object, where: str) -> dict[str, str]:
        """Return the keys of a part, ``use`` first."""
        use = name_in_files(kind, part)
        if use is None:
            self._faults.append(f"{where} is {part!r}, which no file can name: publish it as a plugin, or keep Python")
            return {}
        return {"use": _json(use)} | self._given(part, where)

    def _given(self, part: object, where: str) -> dict[str, str]:
        """Return the arguments of a part that are not the defaults."""
        given, found = _given_to(part), {}
        made_by: Any = type(part)
        for name, key in keys_of(made_by).items():
            if given is None:
                self._faults.append(f"{where}: {name_of(part)} does not keep its argument {name}")
            elif name in given and not _same(given[name], key.default):
                found[_key(name)] = self._value(given[name], key.shape, f"{where}.{name}")
        return found

    def _value(self, value: Any, shape: Shape | None, where: str) -> str:
        match value:
            case Secret():
                file = None if value.file is None else str(value.file)
                place = {"file": file, "env": value.env, "credential": value.credential}
                return _inline({key: _json(each) for key, each in place.items() if each is not None})
            case str() if isinstance(shape, SecretText) and ("://" not in value or "@" in value):
                self._faults.append(f"{where} is a secret: give it as te.Secret(file=…) or te.Secret(env=…)")
                return ""
            case Enum() if isinstance(value, str):
                return _json(str(value))
            case bool() | int() | float() | str():
                return "inf" if value == float("inf") else _json(value)
            case bytes():
                return _json(repr(value))
            case os.PathLike():
                return _json(os.fspath(value))
            case Address():
                return _json(str(value))
            case OpenPorts():
                return _json(value.texts)
            case Mapping():
                items = {self._mapped(key): self._value(each, None, f"{where}[{key!r}]") for key, each in value.items()}
                return _inline(items)
            case _ if self._leads_out(value, shape):
                return _json(self._outbound(value))
        if isinstance(value, _STAGES) and not _is_table(value, shape):
            return self._part(Kind.STAGE, value, where)
        if _given_to(value) is not None:
            return _inline(self._given(value, where))
        if isinstance(value, Iterable) and not callable(value):
            return f"[{', '.join(self._value(each, None, f'{where}[{n}]') for n, each in enumerate(value))}]"
        self._faults.append(f"{where} is {name_of(value)}, which can be given in Python only")
        return ""

    def _mapped(self, key: Any) -> str:
        return _key(repr(key) if isinstance(key, bytes) else str(key))

    def _leads_out(self, value: object, shape: Shape | None) -> bool:
        return any(isinstance(each, OutboundName) for each in _members(shape)) and not isinstance(value, str)

    def _outbound(self, value: object) -> str:
        """Return the name of an outbound, which gets a table of its own."""
        if id(value) not in self._outbounds:
            taken = {name for name, _ in self._outbounds.values()}
            base = name_in_files(Kind.OUTBOUND, value) or "out"
            name = next(each for n in range(1, 10_000) if (each := base if n == 1 else f"{base}{n}") not in taken)
            self._outbounds[id(value)] = name, value
        return self._outbounds[id(value)][0]


def name_in_files(kind: Kind, part: object) -> str | None:
    """Return the name that ``use`` has for a part; None for a function, or a class that is no plugin."""
    made_by = type(part)
    where = f"{made_by.__module__}:{made_by.__qualname__}"
    for name, built_in in BUILT_IN[kind].items():
        if built_in == where:
            return name
    package = made_by.__module__.partition(".")[0]
    for plugin in installed(kind) if package != "trioedge" else ():
        if plugin.value.partition(":")[0].partition(".")[0] == package and find(kind, plugin.name) in (made_by, part):
            return str(plugin.name)
    return None


def _given_to(part: object) -> Mapping[str, Any] | None:
    """Return the arguments that a part was made with; None if it does not keep them."""
    if isinstance(part, Fixed):
        return part.given()
    made_by: Any = type(part)
    if attrs.has(made_by):
        fields = [field for field in attrs.fields(made_by) if field.init]
        return {field.alias or field.name: getattr(part, field.name) for field in fields}
    own = getattr(part, "__dict__", {})
    if callable(part) or not own:
        return None
    kept = {name: own[each] for name in keys_of(made_by) for each in (name, f"_{name}") if each in own}
    return kept if kept.keys() >= keys_of(made_by).keys() else None


def _members(shape: Shape | None) -> Collection[Shape | None]:
    return shape.shapes if isinstance(shape, AnyOf) else (shape,)


def _is_table(value: object, shape: Shape | None) -> bool:
    return any(isinstance(each, TableOf) and each.maker is type(value) for each in _members(shape))


def _same(value: object, default: object) -> bool:
    return value is default or (type(value) is type(default) and value == default)


def _json(value: Any) -> str:
    """Write text, a number or a list of them; TOML has the escapes of JSON."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _json(name)


def _inline(items: Mapping[str, str]) -> str:
    return f"{{ {', '.join(f'{key} = {value}' for key, value in items.items())} }}" if items else "{}"
