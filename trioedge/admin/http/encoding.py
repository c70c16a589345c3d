"""JSON of long answers, in steps."""

import json
from typing import Any, Final

from ...loop.slices import Stepwise

ITEMS: Final = 8
"""Items of a list that are written in one step."""


def encoded(value: Any) -> Stepwise[bytes]:
    """Write a value as JSON; the lists of a table are written in steps of a few items.

    Raises:
        ValueError: it has a number that JSON has not.
    """
    if not isinstance(value, dict):
        return _json(value).encode()
    parts = []
    for name, each in value.items():
        if isinstance(each, list) and len(each) > ITEMS:
            pieces = []
            for start in range(0, len(each), ITEMS):
                pieces.append(_json(each[start : start + ITEMS])[1:-1])
                yield
            parts.append(f"{_json(name)}:[{','.join(pieces)}]")
        else:
            parts.append(f"{_json(name)}:{_json(each)}")
    yield
    return f"{{{','.join(parts)}}}".encode()


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
