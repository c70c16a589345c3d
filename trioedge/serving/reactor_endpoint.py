"""Endpoints that carry plain sockets in the reactor."""

import socket
from typing import Protocol, runtime_checkable

from ..errors import quote
from ..relay.socket_relay import Ended
from ..session.session import Session
from ..session.verdict import Reject


@runtime_checkable
class ReactorEndpoint(Protocol):
    """A live endpoint that can carry plain sockets in the reactor, without a task."""

    def begin(self, session: Session, down: socket.SocketType, prefetched: bytes, ended: Ended, /) -> bool | Reject:
        """Begin to carry a session over the client's socket.

        If this raises, the edge cuts ``session.carrier``, or closes the socket if there is none yet.

        Args:
            session: the session; its service is final.
            down: the client's non-blocking socket.
            prefetched: bytes that were read from it.
            ended: to be called once, when the socket is closed.

        Returns:
            True if it is carried. False if the session needs a task, or a refusal: nothing has happened then, and the
            edge handles or closes the socket.
        """


def wrong_begin(begun: object) -> TypeError:
    """Make the exception for an endpoint whose ``begin()`` has returned something else."""
    return TypeError(f"the endpoint's begin() returned {quote(begun)}; it must return True, False or a Reject")
