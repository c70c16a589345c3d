"""From the method and the path of a request to an operation."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

from ..operation import Operation
from ..operations import OPERATIONS
from ..refusals import RefusedError, not_found

MAX_SEGMENTS: Final = 8


class Routes:
    """The paths of the operations."""

    def __init__(self, operations: Sequence[Operation] = OPERATIONS) -> None:
        """Read the paths of all operations."""
        self._routes: list[tuple[tuple[str, ...], dict[str, Operation]]] = []
        by_path: dict[tuple[str, ...], dict[str, Operation]] = {}
        for each in operations:
            by_path.setdefault(tuple(each.path.split("/")), {})[each.method] = each
        self._routes = [*by_path.items()]

    def find(self, method: str, raw_path: bytes) -> tuple[Operation, dict[str, str]]:
        """Give the operation of a request, and the texts of its path.

        Args:
            method: of the request.
            raw_path: its path as it came, percent-encoded, without the query.

        Raises:
            RefusedError: 404 for an unknown path, 405 for one that has other methods.
        """
        segments = _segments(raw_path)
        for names, methods in self._routes:
            given = _match(names, segments)
            if given is None:
                continue
            if method not in methods:
                allowed = ", ".join(methods)
                allow = [(b"allow", allowed.encode())]
                raise RefusedError(405, f"this path has {allowed}, not {method[:20]}", headers=allow)
            return methods[method], given
        raise not_found("there is no such path: GET /openapi.json lists them")


def _segments(raw_path: bytes) -> list[str]:
    """Decode a path; each segment by itself, because a name may have a slash."""
    if raw_path.count(b"/") > MAX_SEGMENTS:
        raise not_found("there is no path of so many segments")
    try:
        return [unquote_to_bytes(each).decode() for each in raw_path.split(b"/")]
    except UnicodeDecodeError:
        raise not_found("a path is UTF-8, percent-encoded") from None


def _match(names: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    if len(names) != len(segments):
        return None
    given = {}
    for name, segment in zip(names, segments, strict=True):
        if name.startswith("{") and segment:
            given[name[1:-1]] = segment
        elif name != segment:
            return None
    return given
