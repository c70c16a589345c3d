"""Why a serving edge gave no answer, or a refusal; each is one line and an exit code of its own."""

from typing import Final

from ...errors import EdgeError

UNREACHABLE: Final = 3
"""The exit code of a command that could not reach its edge."""


class UnreachableError(EdgeError):
    """No answer came from the edge: it is not there, not open to this user, too slow, or no edge at all."""


class AdminError(EdgeError):
    """The edge answered with an error.

    Attributes:
        status: the HTTP status.
        faults: of a snapshot or a body, each with its path; empty where the edge gave one line.
    """

    def __init__(self, message: str, status: int, faults: tuple[str, ...] = ()) -> None:
        self.status = status
        self.faults = faults
        super().__init__(message)
