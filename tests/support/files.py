"""The ways in which a program changes a file that an edge reads."""

from pathlib import Path


def write(path: Path, text: str) -> None:
    """Write into the file that is there, or make one."""
    path.write_text(text)


def replace(path: Path, text: str) -> None:
    """Write as editors do: a new file under the old one's name."""
    new = path.with_name("new")
    new.write_text(text)
    new.rename(path)
