"""Classes of keys: attrs classes of users' stages, each of which is a table of a service, with its fields as keys."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, cast

import attrs

_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@lru_cache
def key_of(keys: type) -> str:
    """Return the name of a class's table, its own in snake_case: ``OpenHours`` gives ``open_hours``."""
    return _WORD.sub("_", keys.__name__).lower().strip("_")


@lru_cache
def stage_fields(keys: type) -> Mapping[str, "attrs.Attribute[Any]"]:
    """Return the fields of an attrs class that its constructor takes, by the names that it takes them by."""
    fields = attrs.fields(cast(type[attrs.AttrsInstance], keys))
    return {field.alias or field.name: field for field in fields if field.init}


@lru_cache
def defaults_of(keys: Any) -> Any:
    """Return the defaults of a class: one instance, shared by all policies without an instance of their own.

    Raises:
        TypeError: `keys` is no such class.
    """
    if not (isinstance(keys, type) and attrs.has(keys)):
        raise TypeError(f"policy[...] takes the attrs class that a stage names as its policy, not {keys!r}")
    return keys()
