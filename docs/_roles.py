"""Let the reference link what docstrings refer to: ``:meth:`Edge.evict` `` becomes a link to that method.

What the reference does not show is not linked: its name stands as code.
"""

import re
from pathlib import Path
from typing import Any

from griffe import Extension, Object

ROLE = re.compile(r":[a-z]+:`~?([\w.]+)`")
SHOWN = {
    name
    for page in Path(__file__).parent.glob("reference/*.md")
    for name in re.findall(r"^::: trioedge[\w.]*\.(\w+)$", page.read_text(), re.MULTILINE)
}


class Roles(Extension):
    """Turns Sphinx roles into the cross-references of mkdocstrings, which resolves them in the object's scope."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            near = {*SHOWN, *obj.members, *(obj.parent.members if obj.parent and obj.parent.is_class else ())}

            def link(role: re.Match[str]) -> str:
                return f"[`{role[1]}`][{role[1]}]" if role[1].partition(".")[0] in near else f"`{role[1]}`"

            obj.docstring.value = ROLE.sub(link, obj.docstring.value)
