"""An ``edge.toml`` becomes edges: ``[process]``, ``[edge.NAME]`` and ``[outbound.NAME]``."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from ..addresses.address import parse_address
from ..edge import Edge
from ..errors import ConfigurationError, quote
from ..plugins import Kind
from ..regular_file import read_regular
from ..upstreams.own_listeners import reached
from .build import Builder
from .faults import Document, Place, nearest
from .places import Path as KeyPath
from .process_table import ProcessTable
from .shape import UNREAD, ReadList

MAX_BYTES: Final = 16 * 1024 * 1024
"""Of an ``edge.toml``; long lists stand in files of their own."""

MAX_DEPTH: Final = 50
"""Of tables and lists within each other. A part inside of a part inside of a stage has some 8."""

TABLES: Final = ("process", "edge", "outbound")
"""The tables at the top of a file."""

_SERVICES: Final = "services stand in a file of their own, which an edge names: control = { use = 'file', path = '…' }"

_AT_LINE: Final = re.compile(r" \(at line (\d+), column (\d+)\)$")

PARTS: Final = {"endpoint": Kind.ENDPOINT, "control": Kind.CONTROL}
"""Keys of an edge that are one part."""

LISTS: Final = {"stages": Kind.STAGE, "observers": Kind.OBSERVER}
"""Keys of an edge that are a list of parts."""


@attrs.frozen
class EdgeFile:
    """The edges of a file.

    Attributes:
        path: of the file.
        process: its ``[process]``.
        edges: by name, in the order of the file.
        broken: edges that a plugin's mistake has cost, by name, each with what it is.
        document: the tables, as they were read.
        lists: each list that was read from a file, by its path in the document.
    """

    path: Path
    process: ProcessTable
    edges: Mapping[str, Edge]
    broken: Mapping[str, str]
    document: Mapping[str, Any]
    lists: Mapping[KeyPath, ReadList]

    def only(self, name: str) -> "EdgeFile":
        """Return the same with one of its edges."""
        return attrs.evolve(
            self,
            edges={each: edge for each, edge in self.edges.items() if each == name},
            broken={each: words for each, words in self.broken.items() if each == name},
        )

    def as_served(self, process: ProcessTable) -> "EdgeFile":
        """Return the file as it is served, with another log level; other keys keep their values until a restart."""
        document = {**self.document, "process": {**self.document.get("process", {}), "log_level": process.log_level}}
        return attrs.evolve(self, process=attrs.evolve(self.process, log_level=process.log_level), document=document)


def read_edge_file(path: Path, shown: str | None = None) -> EdgeFile:
    """Read a file and make its edges; nothing is opened, and nothing is connected.

    Args:
        path: of the file.
        shown: its name in messages; by default `path`.

    Raises:
        EdgeFileError: every fault of the file.
        ConfigurationError: it cannot be read.
    """
    name = shown or str(path)
    return edges_of(read_text(path, name), path, name)


def read_text(path: Path, name: str) -> str:
    """Read the text of a file.

    Raises:
        ConfigurationError: it cannot be read; one line names it.
    """
    try:
        raw = read_regular(path, MAX_BYTES)
        if len(raw) > MAX_BYTES:
            raise ConfigurationError(f"{name} has more than {MAX_BYTES:,} bytes: put its long lists into files")
        return raw.decode()
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{name} is no text of UTF-8, at byte {error.start}") from None


def tables_of(text: str, name: str) -> dict[str, Any]:
    """Parse a text.

    Raises:
        ConfigurationError: it is no TOML, or its tables and lists are nested too deeply; one line names the file.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(_syntax_fault(str(error), text, name)) from None
    except ValueError:  # Python reads no number of more digits
        raise ConfigurationError(f"{name}: it has a number of more than 4,000 digits") from None
    except RecursionError:
        raise ConfigurationError(f"{name}: its tables are nested too deeply") from None
    level: list[Any] = [tables]
    for _ in range(MAX_DEPTH):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [each for several in inner for each in several if isinstance(each, (dict, list))]
    if level:
        raise ConfigurationError(f"{name}: its tables are nested too deeply")
    return tables


def edges_of(text: str, path: Path, name: str) -> EdgeFile:
    """Make the edges of a text; the rest as :func:`read_edge_file`."""
    tables = tables_of(text, name)
    document = Document(name, text)
    top = Place(document, ())
    for key in tables:
        if key not in TABLES:
            mend = _SERVICES if key == "services" else nearest(key, TABLES)
            (top / key).note(f"is no table of an edge.toml: {mend}")
    builder = Builder(document, path.parent, _table(tables, "outbound", top))
    process = builder.table(ProcessTable, _table(tables, "process", top), top / "process")
    made = {each: _edge(builder, table, top / "edge" / each) for each, table in _table(tables, "edge", top).items()}
    builder.outbounds()
    _refuse_shared_listeners(made, top)
    if not made and not len(document):
        top.note(f"{name} has no edge: write [edge.NAME]")
    costs_no_edge = builder.mistakes and all(edge is not UNREAD for edge in made.values())  # of an outbound alone
    if len(document) or costs_no_edge:
        for place, words in builder.mistakes.items():  # so that one run names all
            place.note(words)
        raise document.error()
    broken = {
        each: "; ".join(
            document.said(place.path, words)
            for place, words in builder.mistakes.items()
            if place.path[:2] == ("edge", each) or place.path[0] == "outbound"
        )
        for each, edge in made.items()
        if edge is UNREAD
    }
    edges = {each: edge for each, edge in made.items() if edge is not UNREAD}
    return EdgeFile(path, process, edges, broken, tables, builder.lists)


def _edge(builder: Builder, table: Any, place: Place) -> Any:
    """Make an edge of its table, or note its faults and return UNREAD."""
    if not isinstance(table, Mapping):
        place.refuse(table, "a table")
        return UNREAD
    given: dict[str, Any] = {}
    for key, kind in PARTS.items():
        if key in table:
            given[key] = builder.part(kind, table[key], place / key)
    for key, kind in LISTS.items():
        entries = table.get(key, [])
        if not isinstance(entries, list):
            (place / key).refuse(entries, "a list of tables")
            given[key] = UNREAD
        elif entries or key == "stages":
            given[key] = [builder.part(kind, each, place / key / number) for number, each in enumerate(entries)]
            if any(each is UNREAD for each in given[key]):
                given[key] = UNREAD
    if "outbounds" in table:
        given["outbounds"] = _outbounds(builder, table["outbounds"], place / "outbounds")
    if "name" not in table:
        given["name"] = place.path[-1]
    return builder.table(Edge, table, place, given)


def _refuse_shared_listeners(made: Mapping[str, Any], top: Place) -> None:
    """Note each listener that an edge above it in the file has already: only one of them could open it."""
    taken: dict[str, str] = {}
    for name, edge in made.items():
        own = [] if edge is UNREAD else [text for text in edge.listen if _is_fixed(text)]
        for text in own:
            if other := next((each for each in taken if reached(text, [each]) or reached(each, [text])), None):
                has = "it" if other == text else other
                (top / "edge" / name / "listen").note(f"= {quote(text)} is taken: edge.{taken[other]} has {has}")
        taken |= dict.fromkeys(own, name)


def _is_fixed(listener: str) -> bool:
    address = parse_address(listener, listening=True)
    return address.scheme != "tcp" or address.port != 0


def _outbounds(builder: Builder, names: Any, place: Place) -> Any:
    """Return the outbounds that policies may name, of a list of their names."""
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        place.refuse(names, "a list of names, each of an [outbound.NAME]")
        return UNREAD
    found = {each: builder.outbound(each, place / number) for number, each in enumerate(names)}
    return UNREAD if any(each is UNREAD for each in found.values()) else found


def _table(tables: Mapping[str, Any], key: str, top: Place) -> Mapping[str, Any]:
    found = tables.get(key, {})
    if isinstance(found, Mapping):
        return found
    (top / key).refuse(found, f"a table, as in [{key}{'' if key == 'process' else '.NAME'}]")
    return {}


def _syntax_fault(says: str, text: str, name: str) -> str:
    """Write what the parser says with the line in front, as in other faults, and with what is mostly wrong there."""
    says = says[:1].lower() + says[1:]
    at = _AT_LINE.search(says)
    if at is None:
        return f"{name}: {says}"
    line, column = map(int, at.groups())
    here = text.splitlines()[line - 1]
    is_cut = column > len(here) and "{" in here and "}" not in here.rpartition("{")[2]
    hint = "; an inline table, { … }, stands on one line" if is_cut else ""
    return f"{name}:{line}: {says[: at.start()]} (column {column}){hint}"
