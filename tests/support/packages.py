"""Installed packages without pip: a folder on the path that has modules, and metadata as pip would write it."""

from pathlib import Path

HOURS = """\
class Hours:
    def decide(self, session): ...
"""
"""A module with a decision."""


class Packages:
    """A folder of installed packages, which this process and its children import from.

    Attributes:
        folder: on ``sys.path`` for the length of a test.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self, name: str, version: str = "0.1.0", *, entry_points: str = "", metadata: str | None = None, **modules: str
    ) -> None:
        """Install a package.

        Args:
            name: of the package.
            version: of the package.
            entry_points: the text of ``entry_points.txt``.
            metadata: the text of ``METADATA``; None for name and version.
            modules: the text of each module.
        """
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        said = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" if metadata is None else metadata
        (info / "METADATA").write_text(said)
        if entry_points:
            (info / "entry_points.txt").write_text(entry_points)
        for module, text in modules.items():
            (self.folder / f"{module}.py").write_text(text)


def plugin(group: str, name: str, value: str) -> str:
    """The text of ``entry_points.txt`` of one plugin."""
    return f"[trioedge.{group}]\n{name} = {value}\n"
