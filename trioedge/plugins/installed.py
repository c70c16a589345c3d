"""The plugins of all installed packages, from their metadata; nothing is imported."""

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

import attrs

from .kinds import GROUPS, Kind

if TYPE_CHECKING:
    from importlib.metadata import Distribution

UNKNOWN: Final = "unknown"
"""The name or version of a package whose metadata has none."""


@attrs.frozen
class Plugin:
    """An entry point of an installed package.

    Attributes:
        kind: of the part.
        name: what ``use`` says.
        value: the place of the class, as in ``trioedge_hours:Hours``; empty if the entry point names none.
        package: the name of the package; ``unknown`` if its metadata has none.
        version: of the package.
    """

    kind: Kind
    name: str
    value: str
    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


def installed(kind: Kind | None = None) -> list[Plugin]:
    """Return the plugins of all installed packages, in the order of kind, name and package. Nothing is imported.

    Metadata that cannot be read is passed over, because another package's mistake must not stop an edge.

    Args:
        kind: of the plugins; None for all.
    """
    from importlib.metadata import distributions  # takes 20 ms, so only where a name is not built in

    kinds = {group: each for each, group in GROUPS.items() if kind in (None, each)}
    found: dict[tuple[Kind, str, str], Plugin] = {}
    for distribution in distributions():
        entries = list(_entries(distribution, kinds))
        package, version = _package(distribution) if entries else ("", "")
        for group, name, value in entries:
            plugin = Plugin(kinds[group], name, value, package, version)
            found.setdefault((plugin.kind, name, normalised(package)), plugin)  # the first on the path is imported
    order = list(Kind)
    return sorted(found.values(), key=lambda each: (order.index(each.kind), each.name, each.package))


def normalised(package: str) -> str:
    """Return the name of a package as indexes compare it: ``Trioedge.Hours`` is ``trioedge-hours``."""
    return re.sub(r"[-_.]+", "-", package).lower()


def _entries(distribution: "Distribution", groups: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Read group, name and value of each entry point of some groups.

    By hand, because importlib.metadata gives none of a package of which one line is malformed, in any group.
    """
    try:
        text = distribution.read_text("entry_points.txt") or ""
    except Exception:
        return
    if "[trioedge." not in text:
        return
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            group = line.strip("[]").strip()
        elif line and line[0] not in "#;" and group in groups:
            name, _, value = line.partition("=")
            yield group, name.strip(), value.strip()


def _package(distribution: "Distribution") -> tuple[str, str]:
    """Read name and version of a package."""
    try:
        metadata = distribution.metadata
        name, version = (" ".join((metadata.get_all(key) or [""])[0].split()) for key in ("Name", "Version"))
    except Exception:
        return UNKNOWN, UNKNOWN
    return name or UNKNOWN, version or UNKNOWN
