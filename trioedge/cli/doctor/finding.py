"""One result of the examination of a machine."""

from pathlib import Path
from typing import Literal, TypeAlias

import attrs

Mark: TypeAlias = Literal["ok", "note", "problem"]


@attrs.frozen
class Finding:
    """One result of the examination.

    Attributes:
        mark: ``ok``; ``note`` if it could be better; ``problem`` if no edge can run.
        subject: a part of the machine, such as ``open files``.
        text: the result, and how to improve it.
    """

    mark: Mark
    subject: str
    text: str


def read(path: Path) -> str:
    """Return the content of a file of the system, or nothing if it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
