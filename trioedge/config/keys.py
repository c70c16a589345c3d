"""The keys of a part in TOML: the arguments of its constructor, with the words of its docstring."""

import inspect
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import attrs

from ..errors import quote, quote_fault
from ..plugins import PluginError
from .annotated import shape_of
from .nested_shapes import ListOf
from .plain_shapes import TEXT
from .shape import Shape

REQUIRED: Final = inspect.Parameter.empty
"""The default of an argument that has none."""

_SECTION: Final = re.compile(r"^(?:Args|Arguments|Attributes):\n((?:[ \t]+.*\n|\n)+)", re.MULTILINE)
_ENTRY: Final = re.compile(r"^\*{0,2}(\w+)(?: \([^)]*\))?:[ \t]*(.*)$")

_ROLE: Final = re.compile(r":\w+:`[~.]*([^`]*)`")


@attrs.frozen
class Key:
    """A key of a part.

    Attributes:
        name: of the argument.
        shape: of its values; None if Python alone can give one.
        default: of the argument; REQUIRED if it has none.
        words: about it, from the docstring; empty if that has none.
        spread: whether it is the ``*further`` of a constructor, and a list in TOML.
    """

    name: str
    shape: Shape | None
    default: Any
    words: str
    spread: bool = False

    @property
    def required(self) -> bool:
        """Whether a table needs it."""
        return self.default is REQUIRED and not self.spread


def keys_of(maker: Any) -> Mapping[str, Key]:
    """Return the keys of a part, in the order of its arguments.

    Args:
        maker: a class, or a function that makes the part.

    Raises:
        PluginError: its signature or its docstring cannot be read.
    """
    try:
        return _read(maker)
    except KeyboardInterrupt:
        raise
    except BaseException as fault:
        raise PluginError(f"the arguments of {quote(maker)} cannot be read: {quote_fault(fault)}") from fault


@lru_cache(maxsize=512)
def _read(maker: Any) -> Mapping[str, Key]:
    if inspect.unwrap(getattr(maker, "__init__", maker)) is object.__init__:
        return MappingProxyType({})  # whose signature would be *args, **kwargs
    words = words_of(maker)
    names = vars(sys.modules.get(maker.__module__, sys))
    found = {}
    for each in inspect.signature(maker).parameters.values():
        if each.kind is each.VAR_KEYWORD:
            continue
        spread = each.kind is each.VAR_POSITIONAL
        shape = _shape(each.annotation, names)
        if spread:
            shape = ListOf(shape or TEXT, list)
        found[each.name] = Key(each.name, shape, each.default, words.get(each.name, ""), spread)
    return MappingProxyType(found)


def words_of(maker: Any) -> Mapping[str, str]:
    """Return the words about each argument, from ``Args:`` of the constructor or ``Attributes:`` of the class."""
    found: dict[str, str] = {}
    own = vars(maker).get("__init__") if isinstance(maker, type) else None
    for text in (maker.__doc__, getattr(own, "__doc__", None)):
        section = _SECTION.search(f"{inspect.cleandoc(text or '')}\n")
        if section is None:
            continue
        lines = inspect.cleandoc(section[1]).splitlines()
        name = ""
        for line in lines:
            entry = None if line.startswith((" ", "\t")) else _ENTRY.match(line)
            if entry is not None:
                name, found[entry[1]] = entry[1], entry[2].strip()
            elif name and line.strip():
                found[name] = f"{found[name]} {line.strip()}".strip()
    return {name: _plain(said) for name, said in found.items()}


def summary_of(maker: Any) -> str:
    """Return the first paragraph of a part's docstring, in one line."""
    return _plain(" ".join(inspect.cleandoc(maker.__doc__ or "").partition("\n\n")[0].split()))


def _plain(words: str) -> str:
    """Return words of a docstring as they are shown to people: a role as its name, code in single quotes."""
    return _ROLE.sub(lambda found: f"`{found[1].rpartition('.')[2]}`", words).replace("``", "`")


def _shape(annotation: Any, names: dict[str, Any]) -> Shape | None:
    """Return the shape of an annotation, which may be text; None for one that cannot be read."""
    try:
        return shape_of(eval(annotation, dict(names)) if isinstance(annotation, str) else annotation)
    except KeyboardInterrupt:
        raise
    except BaseException:  # it is code of a plugin
        return None
