"""Every exception that trioedge raises, split by who is at fault; and how many faults of one text are reported.

EdgeError
├── ConfigurationError      an argument, a file or an order of stages that cannot work; nothing was started
│   ├── ListenError         an address cannot be listened on
│   ├── EdgeFileError       an edge.toml with faults, all of them
│   └── RulesError          source entries that cannot be read, each with its fault
├── SnapshotError           a snapshot with faults, which grants nothing (services.control_plane)
└── UpstreamError           no connection to an upstream; carries the session's Reason (upstreams.errors)
"""

from collections.abc import Iterable, Iterator
from typing import Final

MAX_FAULTS: Final = 100
"""Faults that are kept; further ones are counted."""

MAX_FAULT_LETTERS: Final = 300
"""Letters of a fault. Of a longer one the middle is left out: its beginning is the path, its end the mistake."""

MAX_QUOTED_LETTERS: Final = 100
"""Letters of a quoted value, enough to find it by its beginning."""

ENDS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""Exceptions that end the process or a coroutine: a guard raises them again, and holds back every other one."""

_END: Final = 100


class EdgeError(Exception):
    """The root of trioedge's exceptions."""


class ConfigurationError(EdgeError):
    """A mistake in an argument or a file; the message names it, its place, and how to mend it."""


class ListenError(ConfigurationError):
    """An address cannot be listened on: in use, not ours, or not permitted."""


class EdgeFileError(ConfigurationError):
    """An ``edge.toml`` with faults; nothing of it is used. The message has a line for each.

    Attributes:
        faults: every fault, with its file, line and path, in the order of the file.
    """

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class RulesError(ConfigurationError):
    """Source entries that cannot be read; the message is the first fault.

    Attributes:
        faults: one message for each of the first 100 faulty entries, in the order of the entries, accepted ones first.
        more: how many faulty entries there are besides.
    """

    def __init__(self, faults: Iterable[str], more: int = 0) -> None:
        self.faults = tuple(faults)
        self.more = more
        super().__init__(self.faults[0])


def quote(value: object, letters: int = MAX_QUOTED_LETTERS) -> str:
    """Write a value as `repr` does, and of a long one the first 100 letters and ``...``.

    An object whose own `repr` raises is written as its class and that exception's: a guard may quote every object.

    Args:
        value: any object; of JSON or TOML only the part that is written is read, at any length and depth.
        letters: the most letters of the value.
    """
    text = ""
    try:
        for piece in _pieces(value, letters):
            text += piece
            if len(text) > letters:
                return f"{text[:letters]}..."
    except ENDS:
        raise
    except BaseException as fault:
        return f"<{type(value).__name__}, whose repr raised {type(fault).__name__}>"
    return text


def quote_fault(fault: BaseException) -> str:
    """Write an exception as `repr` does, with room for its message; never raises, as :func:`quote`."""
    return quote(fault, MAX_FAULT_LETTERS)


def message_of(fault: BaseException) -> str:
    """Give the message of an exception; of one whose own `str` raises, what :func:`quote_fault` gives."""
    try:
        return str(fault)
    except ENDS:
        raise
    except BaseException:
        return quote_fault(fault)


def _pieces(value: object, letters: int) -> Iterator[str]:
    """Write a value piece by piece, none of them long."""
    match value:
        case str() if type(value) is str:
            yield repr(value[: letters + 1])
        case list():
            yield "["
            for number, each in enumerate(value):
                yield ", " if number else ""
                yield from _pieces(each, letters)
            yield "]"
        case dict():
            yield "{"
            for number, (key, each) in enumerate(value.items()):
                yield ", " if number else ""
                yield from _pieces(key, letters)
                yield ": "
                yield from _pieces(each, letters)
            yield "}"
        case _:
            yield repr(value)


class Faults:
    """A list of faults: the first 100 in order, and the number of further ones.

    Iterating gives the texts, then ``and 99,900 more`` if there are more. True when there are any.

    Attributes:
        more: faults that were counted and not kept.
    """

    __slots__ = ("_kept", "more")

    def __init__(self) -> None:
        self._kept: list[str] = []
        self.more = 0

    def note(self, text: str) -> None:
        """Add a fault, or count it if 100 are kept. Takes 0.2 µs.

        Args:
            text: the fault, beginning with its path; of more than 300 letters the middle is left out.
        """
        if len(self._kept) == MAX_FAULTS:
            self.more += 1
            return
        if len(text) > MAX_FAULT_LETTERS:
            text = f"{text[: MAX_FAULT_LETTERS - _END]}...{text[-_END:]}"
        self._kept.append(text)

    def extend(self, texts: Iterable[str], more: int = 0) -> None:
        """Add several faults.

        Args:
            texts: as for :meth:`note`.
            more: the number of further ones that have no text.
        """
        for text in texts:
            self.note(text)
        self.more += more

    def __bool__(self) -> bool:
        return bool(self._kept or self.more)

    def __iter__(self) -> Iterator[str]:
        yield from self._kept
        if self.more:
            yield f"and {self.more:,} more"

    def __str__(self) -> str:
        return "; ".join(self)
