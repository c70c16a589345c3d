"""The keys of an edge.toml, made from the code: a hook of MkDocs.

``<!-- keys: stage session-gate -->`` in a page becomes the table of that part's keys, ``<!-- keys: edge -->`` and
``<!-- keys: process -->`` those of the tables around it, and ``<!-- parts: stage -->`` every part of a kind that ships.
The JSON schema is written beside the pages.
"""

import json
import re
from typing import Any

from mkdocs.structure.files import File

from trioedge.config.edge_file import LISTS, PARTS
from trioedge.config.keys import REQUIRED, Key, keys_of, summary_of
from trioedge.config.process_table import ProcessTable
from trioedge.config.schema import schema_of
from trioedge.edge import Edge
from trioedge.plugins import BUILT_IN, Kind, find

_MARK = re.compile(r"^<!-- (keys|parts): ([a-z-]+)(?: ([a-z0-9-]+))? -->$", re.MULTILINE)
_WANTS = {
    **dict.fromkeys(PARTS, "a table with `use`"), **dict.fromkeys(LISTS, "a list of tables with `use`"),
    "outbounds": "a list of names, each of an `[outbound.NAME]`",
}  # fmt: skip


def on_page_markdown(markdown: str, **_: Any) -> str:
    return _MARK.sub(_replacement, markdown)


def on_files(files: Any, config: Any) -> Any:
    shipped = {kind: {name: find(kind, name) for name in BUILT_IN[kind]} for kind in Kind}
    schema = json.dumps(schema_of(shipped), indent=1)
    files.append(File.generated(config, "edge.schema.json", content=f"{schema}\n"))
    return files


def _replacement(found: re.Match[str]) -> str:
    what, kind, name = found.groups()
    if what == "parts":
        shipped = Kind(kind)
        return "\n\n".join(
            f"### `{each}`\n\n{summary_of(find(shipped, each))}\n\n{table(find(shipped, each))}"
            for each in BUILT_IN[shipped]
        )
    return table({"edge": Edge, "process": ProcessTable}.get(kind) or find(Kind(kind), name))


def table(maker: Any) -> str:
    """Write the keys of a part as a table of Markdown."""
    lines = ["| key | value | default | |", "|---|---|---|---|"]
    for key in keys_of(maker).values():
        wants = _WANTS.get(key.name) if maker is Edge else None
        if wants is not None or key.shape is not None:
            lines.append(f"| `{key.name}` | {wants or _wants(key)} | {_default(key)} | {_cell(key.words)} |")
    return "\n".join(lines) if len(lines) > 2 else "It has no keys."


def _wants(key: Key) -> str:
    return _cell(re.sub(r"\{[^}]*\}|'[^']*'", lambda found: f"`{found[0]}`", key.shape.wants if key.shape else ""))


def _default(key: Key) -> str:
    if key.default is REQUIRED:
        return "" if key.spread else "**needed**"
    plain = isinstance(key.default, (bool, int, float, str)) and not isinstance(key.default, type)
    if not plain or key.default == "":
        return ""
    return f"`{json.dumps(str(key.default) if isinstance(key.default, str) else key.default)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
