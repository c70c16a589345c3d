"""Parts out of tables: each table is the arguments of a constructor, and every fault is noted at its place."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigurationError, message_of, quote, quote_fault
from ..plugins import Kind, PluginError, find, is_part
from ..session.kinds import name_of
from .faults import Document, Place, nearest
from .keys import Key, keys_of
from .places import Path as KeyPath
from .shape import UNREAD, ReadList

_NAMED: Final = re.compile(r"(?:\w+\((?:[^=]*, )?)?(\w+)\b")
"""The argument that a constructor's message names first: ``SessionGate(rate=0) must be…``, ``listen names…``."""


class Builder:
    """Makes the parts of one file.

    Attributes:
        folder: of the file, at which relative paths begin.
        lists: each list that was read from a file, by its path in the document.
        mistakes: what plugins did wrong, by the place; the edges of these places cannot be made.
    """

    def __init__(self, document: Document, folder: Path, outbounds: Mapping[str, Any]) -> None:
        """Make nothing yet.

        Args:
            document: takes the faults.
            folder: of the file.
            outbounds: the tables of the file's outbounds, by name.
        """
        self.folder = folder
        self.lists: dict[KeyPath, ReadList] = {}
        self.mistakes: dict[Place, str] = {}
        self._document = document
        self._tables = outbounds
        self._outbounds: dict[str, Any] = {}

    def outbounds(self) -> None:
        """Make the outbounds that no part has asked for, so that their faults are named as well."""
        for name in self._tables:
            self.outbound(name, Place(self._document, ("outbound", name)))

    def outbound(self, name: str, place: Place) -> Any:
        """Return an outbound of the file, made when it is first asked for, or note that there is none."""
        if name not in self._tables:
            known = nearest(name, self._tables) if self._tables else "the file has no [outbound.…]"
            place.note(f"= {quote(name)} is no outbound: {known} (an address is written tcp://host:port)")
            return UNREAD
        if name not in self._outbounds:
            self._outbounds[name] = UNREAD  # for one that leads to itself
            self._outbounds[name] = self.part(
                Kind.OUTBOUND, self._tables[name], Place(self._document, ("outbound", name))
            )
        return self._outbounds[name]

    def stage(self, value: Any, place: Place) -> Any:
        """Make a stage inside of another part."""
        return self.part(Kind.STAGE, value, place)

    def part(self, kind: Kind, value: Any, place: Place) -> Any:
        """Make the part of a table with ``use``, or note its faults and return UNREAD."""
        if not isinstance(value, Mapping) or "use" not in value:
            place.refuse(value, f"a table with use, as in {{ use = {EXAMPLES[kind]!r} }}")
            return UNREAD
        use = value["use"]
        if not isinstance(use, str):
            (place / "use").refuse(use, "text")
            return UNREAD
        try:
            maker = find(kind, use)
        except PluginError as error:
            self.mistakes[place / "use"] = f": {error}"
            return UNREAD
        except ConfigurationError as error:
            (place / "use").note(str(error).removeprefix("use "))
            return UNREAD
        arguments = {key: each for key, each in value.items() if key != "use"}
        if not is_part(kind, maker):
            return self.table(maker, arguments, place)
        for key in arguments:
            (place / key).note(f"is no key of {name_of(maker)}: it has none")
        return UNREAD if arguments else maker

    def table(self, maker: Any, value: Mapping[str, Any], place: Place, given: Mapping[str, Any] | None = None) -> Any:
        """Make the object of a table of arguments, or note its faults and return UNREAD.

        Args:
            maker: the class, or the function that makes it.
            value: the table.
            place: of the table.
            given: arguments that are made already, and keys of the table that are no arguments; None for none.
        """
        try:
            known, made = keys_of(maker), dict(given or {})
        except PluginError as error:
            self.mistakes[place] = str(error)
            return UNREAD
        before = len(self._document)
        arguments = dict(self._read(maker, known, value, place, made))
        for name, key in known.items():
            if key.required and key.name not in value and name not in made:
                place.note(f"needs {name}{_in_short(key.words)}")
        if len(self._document) > before or any(each is UNREAD for each in (*arguments.values(), *made.values())):
            return UNREAD
        return self._made(maker, known, arguments | made, place)

    def _read(
        self, maker: Any, known: Mapping[str, Key], value: Mapping[str, Any], place: Place, made: Mapping[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        """Read the arguments of a table that are not made already."""
        for name, each in value.items():
            if name in made:
                continue
            key = known.get(name)
            if key is None:
                there = [other.name for other in known.values() if other.shape is not None or other.name in made]
                (place / name).note(f"is no key of {name_of(maker)}: {nearest(name, there)}")
            elif key.shape is None:
                (place / name).note("can be given in Python only")
            else:
                yield name, key.shape.read(each, place / name, self)

    def _made(self, maker: Any, known: Mapping[str, Key], arguments: dict[str, Any], place: Place) -> Any:
        """Call a constructor; leave out each argument that it refuses, to find the next fault."""
        failed = False
        while True:
            try:
                made = _call(maker, known, arguments)
            except ConfigurationError as error:
                said = " ".join(message_of(error).split())
                found = _NAMED.match(said)
                name = "" if found is None or found[1] not in arguments else found[1]
                if name or not failed:  # without an argument that it refused, a constructor may miss that
                    (place / name if name else place).note(f": {said}")
                failed = True
                if not name or known[name].required:
                    return UNREAD
                del arguments[name]
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # also a SystemExit
                self.mistakes[place] = f"{name_of(maker)} failed: {quote_fault(error)}"
                return UNREAD
            else:
                return UNREAD if failed else made


EXAMPLES: Final = {
    Kind.STAGE: "session-gate", Kind.ENDPOINT: "forward", Kind.OUTBOUND: "direct", Kind.CONTROL: "file",
    Kind.OBSERVER: "otel",
}  # fmt: skip
"""A name of each kind, for messages."""


def _in_short(words: str) -> str:
    """Return the beginning of a docstring's words about an argument, to follow its name."""
    short = re.split(r"[.;] ", words.replace("`", ""), maxsplit=1)[0].rstrip(".")
    return f": {short}" if short else ""


def _call(maker: Any, known: Mapping[str, Key], arguments: Mapping[str, Any]) -> Any:
    """Call a constructor; positional arguments before a ``*further`` are passed by position."""
    spread = next((key.name for key in known.values() if key.spread), None)
    if spread is None or spread not in arguments:
        return maker(**arguments)
    names = list(known)
    before = [name for name in names[: names.index(spread)] if name in arguments]
    rest = {name: each for name, each in arguments.items() if name not in (*before, spread)}
    return maker(*(arguments[name] for name in before), *arguments[spread], **rest)
