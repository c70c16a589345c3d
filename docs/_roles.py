"""Let the reference link what docstrings refer to: ``:meth:`Edge.evict` `` becomes a link to that method."""

import re
from typing import Any

from griffe import Extension, Object

ROLE = re.compile(r":[a-z]+:`~?([\w.]+)`")


class Roles(Extension):
    """Turns Sphinx roles into the cross-references of mkdocstrings, which resolves them in the object's scope."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(r"[`\1`][\1]", obj.docstring.value)
