"""Let tables fit the page and the phone: labels in cells, and places in long names where a line may end.

A hook of MkDocs. It adds attributes and ``<wbr>``; `assets/style.css` does the rest.
"""

import re
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString

SHORT_LETTERS = 13
"""A cell of so few letters stays on one line, so that a number stays beside its unit."""
LONG_NAME = 16
"""Code of more letters may be broken behind a mark or an underscore."""


class Labels(Treeprocessor):
    """Marks tables of many columns, tells each cell the head of its column, and lets long names break."""

    def run(self, root: Element) -> None:
        for table in root.iter("table"):
            heads = ["".join(head.itertext()) for head in table.iter("th")]
            table.set("data-columns", "many" if len(heads) > 3 else "few")
            for row in table.iterfind("tbody/tr"):
                for head, cell in zip(heads, row, strict=False):
                    cell.set("data-label", head)
                    if len("".join(cell.itertext())) <= SHORT_LETTERS:
                        cell.set("data-short", "")
            for code in table.iter("code"):
                _let_break(code)


def _let_break(code: Element) -> None:
    name = code.text or ""
    if len(name) <= LONG_NAME or len(code):
        return
    code.text, *parts = (AtomicString(part) for part in re.split(r"(?<=[._/,(=])(?=[\w'\"])", name))
    for part in parts:
        SubElement(code, "wbr").tail = part


class Tables(Extension):
    """Runs after the text of cells has been read, whose marks are gone by then."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - the name is Markdown's
        md.treeprocessors.register(Labels(md), "labels", 1)


def on_config(config: Any) -> None:
    config.markdown_extensions.append(Tables())
