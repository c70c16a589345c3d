"""The errors of a panel, and how their messages quote what it says."""

from typing import Final

import trioedge as te

QUOTED_LETTERS: Final = 100


class PanelError(te.EdgeError):
    """The panel gave no answer, or one that is of no use. The message never has the token.

    Attributes:
        status: of the answer; 0 if there was none, or a good one that is of no use.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


def shown(value: object) -> str:
    """Write a value of the panel's for a message: the first 100 letters of its `repr`."""
    text = repr(value[:QUOTED_LETTERS] if isinstance(value, str) else value)
    return text if len(text) <= QUOTED_LETTERS + 2 else f"{text[:QUOTED_LETTERS]}..."
