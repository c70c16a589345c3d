"""What a shape of a value is: it reads a value of TOML and notes every fault, and it has a JSON schema."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from .faults import Place
from .places import Path as KeyPath

Schema: TypeAlias = dict[str, Any]

ReadList: TypeAlias = tuple[Path, int]
"""A list that was read from a file: the file, and a hash of its text."""

UNREAD: Final = object()
"""The result of a value with a fault, which has been noted."""


class World(Protocol):
    """The rest of the file, and what makes its parts."""

    @property
    def folder(self) -> Path:
        """The folder of the file, at which relative paths begin."""

    @property
    def lists(self) -> dict[KeyPath, ReadList]:
        """Each list that was read from a file, by its path in the document."""

    def table(self, maker: Any, value: Mapping[str, Any], place: Place, /) -> Any:
        """Make the object of a table, or note its faults and return UNREAD."""

    def stage(self, value: Any, place: Place, /) -> Any:
        """The same for a stage inside of another part."""

    def outbound(self, name: str, place: Place, /) -> Any:
        """Return an outbound of the file, or note that there is none of this name."""


class Shape(Protocol):
    """The shape of a value."""

    @property
    def wants(self) -> str:
        """The value in words, as in ``a whole number``."""

    def takes(self, value: Any, /) -> bool:
        """Return whether a value is of this kind, right or wrong; a union asks its members in their order."""

    def read(self, value: Any, place: Place, world: World, /) -> Any:
        """Return the value for the constructor, or note its faults and return UNREAD."""

    def schema(self, refer: "Refer", /) -> Schema:
        """Return the JSON schema of the values."""


class Refer(Protocol):
    """Gives the schemas of tables, which have names of their own in a document."""

    def table(self, maker: Any, /) -> Schema: ...
    def stage(self) -> Schema: ...
