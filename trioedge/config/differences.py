"""The keys in which two versions of an ``edge.toml`` differ, and which of them an edge applies while it serves."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .places import Path

LIVE: Final = frozenset({("process", "log_level")})
"""Keys whose change is applied while edges serve. Services, certificates and tokens stand in files of their own, which
are looked at by those who use them."""


def differences(before: Any, after: Any, path: Path = ()) -> Iterator[Path]:
    """Give the path of each key that differs, is new or is gone; of a list whose length differs, the list's.

    Args:
        before: the tables of the file as they were.
        after: the same as they are now.
        path: of both.
    """
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            if key in before and key in after:
                yield from differences(before[key], after[key], (*path, key))
            else:
                yield (*path, key)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from differences(one, other, (*path, number))
    elif type(before) is not type(after) or before != after:
        yield path
