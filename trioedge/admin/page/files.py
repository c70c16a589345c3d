"""The files of the dashboard page, read once; there is no other way from a path to a file."""

from functools import lru_cache
from importlib.resources import files
from typing import Final

import attrs

KINDS: Final = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
"""The media type of each kind of file that a browser may ask for."""

POLICY: Final = b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
"""The page loads nothing from another host, runs no script that stands in its text, and is shown in no other page."""


@attrs.frozen
class PageFile:
    """One file of the page.

    Attributes:
        kind: its media type.
        body: its bytes.
    """

    kind: bytes
    body: bytes


@lru_cache(maxsize=1)
def page_files() -> dict[str, PageFile]:
    """Give every file by its path in the API: ``/`` for the page, ``/page/page.css``, and so on."""
    found = {}
    for file in files(__package__).iterdir():
        kind = KINDS.get("." + file.name.rpartition(".")[2])
        if kind is not None:
            path = "/" if file.name == "index.html" else f"/page/{file.name}"
            found[path] = PageFile(kind, file.read_bytes())
    return found
