"""The error of a connect, with the reason that a session ends with."""

from ..errors import EdgeError
from ..session.verdict import Reason


class UpstreamError(EdgeError):
    """No connection to the upstream.

    Attributes:
        reason: the :class:`Reason` with which the session ends.
        detail: the destination and the message of the system.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
