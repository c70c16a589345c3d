"""The files of the dashboard page, read once; no path leads to another file."""

from functools import lru_cache
from importlib.resources import files
from typing import Final

from ...endpoints.asgi.messages import Receive
from ..asking import Parameters
from ..http.responses import Response
from ..refusals import not_found

INDEX: Final = "index.html"

KINDS: Final = {
    "css": b"text/css; charset=utf-8",
    "html": b"text/html; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}
"""The media type of each kind of file that is part of the page."""


@lru_cache(maxsize=1)
def page_files() -> dict[str, Response]:
    """Give the answer with each file of the page, by its name."""
    return {
        file.name: Response(file.read_bytes(), KINDS[kind])
        for file in files(__package__).iterdir()
        if (kind := file.name.rpartition(".")[2]) in KINDS
    }


async def page_answer(parameters: Parameters, receive: Receive) -> Response:
    """Answer with the page."""
    return page_files()[INDEX]


async def page_file_answer(parameters: Parameters, receive: Receive) -> Response:
    """Answer with a file that the page loads.

    Raises:
        RefusedError: 404; the page has no such file.
    """
    name = parameters["file"]
    if name == INDEX or (found := page_files().get(name)) is None:
        raise not_found(f"the page has no file {name[:100]!r}")
    return found
