"""The error of a connect, with the reason that a session ends with."""

import errno
from typing import Final

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


_REASONS: Final = {
    errno.ECONNREFUSED: Reason.UPSTREAM_REFUSED,
    errno.EAGAIN: Reason.UPSTREAM_REFUSED,  # a local socket whose backlog is full
    errno.ETIMEDOUT: Reason.UPSTREAM_TIMEOUT,
    errno.EMFILE: Reason.OVERLOAD,
    errno.ENFILE: Reason.OVERLOAD,
    errno.ENOBUFS: Reason.OVERLOAD,
    errno.ENOMEM: Reason.OVERLOAD,
    errno.EADDRNOTAVAIL: Reason.OVERLOAD,  # no local port is left
}


def reason_of(code: int) -> Reason:
    """Give the reason of a connect that failed with this errno."""
    return _REASONS.get(code, Reason.UPSTREAM_UNREACHABLE)
